#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "random.h"

int descriptors[kFiles];
char* bases[kFiles];

void FilesOpen(const char* directory, bool maps) {
  for (int file = 0; file < kFiles; file++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/tortured-%d", directory, file);
    descriptors[file] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptors[file] < 0) Failed(file, 0, "open %s: %s", path, strerror(errno));
    if (!maps) continue;
    bases[file] = mmap(NULL, (size_t)Offset(shadow->file_lines), PROT_READ | PROT_WRITE, MAP_SHARED,
                       descriptors[file], 0);
    if (bases[file] == MAP_FAILED) Failed(file, 0, "mmap: %s", strerror(errno));
  }
}

uint64_t SizeOf(int file) { return shadow->files[file].size_lines; }
off_t Offset(uint64_t line) { return (off_t)(line * kLine); }

uint64_t RandomLine(void) {
  // Half of everything meets in a few pages.
  uint64_t all = shadow->file_lines;
  return Random(2) == 0 ? Random(all) : Random(8 * kPageLines) + (Random(2) == 0 ? all / 2 : 0);
}

void LockLines(int file, uint64_t from, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) LineLock(file, from + i);
}
void UnlockLines(int file, uint64_t from, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) LineUnlock(file, from + i);
}
bool IsSizing(int file, uint64_t from, uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    if (LineOf(file, from + i)->sizing > 0) return true;
  return false;
}
uint64_t SomeLines(uint64_t from) {
  uint64_t count = Random(8) == 0 ? kLinesMax : 1 + Random(2 * kPageLines);
  return from + count > shadow->file_lines ? shadow->file_lines - from : count;
}
