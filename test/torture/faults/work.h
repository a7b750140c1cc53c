// One worker of the torture: a thread that does random things to the files and checks what it
// finds.
#ifndef FAULTS_WORK_H_
#define FAULTS_WORK_H_

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/** Opens the files of the directory, and maps each whole; once a process. */
void WorkOpen(const char* directory, bool maps);

/** Works as worker `number` until the shadow says it ends. `maps`: through mappings too. */
void Work(int number, bool maps);

/** Checks every line of every file, by read(2) and through a fresh mapping. Nobody else works. */
void CheckAll(bool maps);

/** Breaks lines behind the shadow's back, to see it found: flip, lost, stale or foreign bytes. */
void Plant(const char* kind);

/** What each worker is doing. */
void ShowDoing(FILE* out);

/** One line of counts by operation. */
void ShowCounts(FILE* out);

#endif  // FAULTS_WORK_H_
