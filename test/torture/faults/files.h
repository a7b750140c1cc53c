// The tortured files as one process has them: open, and each mapped whole. Lines count 64 bytes.
#ifndef FAULTS_FILES_H_
#define FAULTS_FILES_H_

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shadow.h"

enum { kLinesMax = 256 };

extern int descriptors[kFiles];
extern char* bases[kFiles];  // of the process: all pages, shared, never unmapped

/** Opens them in the directory; `maps`: and maps each. */
void FilesOpen(const char* directory, bool maps);

uint64_t SizeOf(int file);
off_t Offset(uint64_t line);

uint64_t RandomLine(void);
/** How many lines from `from` on, kLinesMax at most, that the file may have. */
uint64_t SomeLines(uint64_t from);

void LockLines(int file, uint64_t from, uint64_t count);
void UnlockLines(int file, uint64_t from, uint64_t count);
bool IsSizing(int file, uint64_t from, uint64_t count);

#endif  // FAULTS_FILES_H_
