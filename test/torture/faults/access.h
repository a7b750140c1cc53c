// Loads and stores of whole lines through mappings, checked against the shadow; SIGBUS is an
// answer.
#ifndef FAULTS_ACCESS_H_
#define FAULTS_ACCESS_H_

#include <stdbool.h>
#include <stdint.h>

/** Once a process, before the first access. */
void AccessBegin(void);

/** Loads or stores a line's words; false when that was SIGBUS. */
bool Access(volatile uint64_t* at, uint64_t* words, bool stores);

/** Of a shared mapping, or pages that are not a private one's own; `how` is for the report. */
void LoadShared(int file, uint64_t line, char* at, const char* how);
void StoreShared(int file, uint64_t line, char* at, const char* how);

#endif  // FAULTS_ACCESS_H_
