// Reads and writes through the mount, also from and into mappings.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "operations.h"
#include "random.h"

void DoRead(int file) {
  uint64_t words[kLinesMax * kWords];
  uint64_t from = RandomLine(), count = SomeLines(from);
  Note("pread", file, from, count);
  LockLines(file, from, count);
  bool is_sizing = IsSizing(file, from, count);
  ssize_t length = pread(descriptors[file], words, count * kLine, Offset(from));
  if (length < 0) Failed(file, from, "pread: %s", strerror(errno));
  uint64_t size = SizeOf(file), present = size <= from ? 0 : size - from;
  if (present > count) present = count;
  if (!is_sizing && (uint64_t)length != present * kLine)
    Failed(file, from, "pread of %llu lines returns %zd bytes", (unsigned long long)count, length);
  for (uint64_t i = 0; i < (uint64_t)length / kLine; i++) {
    if (is_sizing)
      LineCheckWild(file, from + i, words + i * kWords, "pread");
    else
      LineCheck(file, from + i, words + i * kWords, "pread");
  }
  UnlockLines(file, from, count);
}

void WriteLines(int file, uint64_t from, uint64_t count) {
  uint64_t words[kLinesMax * kWords], stamps[kLinesMax];
  for (uint64_t i = 0; i < count; i++) {
    stamps[i] = NewStamp();
    LineWords(words + i * kWords, file, stamps[i]);
  }
  ssize_t length = pwrite(descriptors[file], words, count * kLine, Offset(from));
  if (length != (ssize_t)(count * kLine))
    Failed(file, from, "pwrite returns %zd: %s", length, strerror(errno));
  for (uint64_t i = 0; i < count; i++) LineStored(file, from + i, stamps[i]);
}

void DoWrite(int file) {
  uint64_t from = RandomLine(), count = SomeLines(from);
  Note("pwrite", file, from, count);
  LockLines(file, from, count);
  // Only where that does not change the size.
  if (!IsSizing(file, from, count) && from + count <= SizeOf(file)) WriteLines(file, from, count);
  UnlockLines(file, from, count);
}

/** A line from one place to another: the kernel loads from, or stores to, the mapping. */
void DoCopy(int file) {
  uint64_t from = RandomLine(), to = RandomLine();
  if (from == to) return;
  bool by_write = Random(2) == 0;
  Note(by_write ? "pwrite of map" : "pread into map", file, from < to ? from : to, 1);
  LineLock(file, from < to ? from : to);
  LineLock(file, from < to ? to : from);
  struct line* source = LineOf(file, from);
  struct line* target = LineOf(file, to);
  if (source->flux + target->flux == 0 && from < SizeOf(file) && to < SizeOf(file)) {
    char* base = bases[file];
    ssize_t length = by_write ? pwrite(descriptors[file], base + Offset(from), kLine, Offset(to))
                              : pread(descriptors[file], base + Offset(to), kLine, Offset(from));
    if (length != kLine)
      Failed(file, to, "copy of a line returns %zd: %s", length, strerror(errno));
    target->stamp = source->stamp;
    target->mask = source->mask;
    target->is_loose = source->is_loose;
    // Two loose lines would be settled apart, and are the same.
    if (source->is_loose) {
      LineCheck(file, from, (uint64_t*)(base + Offset(from)), "load");
      LineCheck(file, to, (uint64_t*)(base + Offset(to)), "load");
    }
  }
  LineUnlock(file, from);
  LineUnlock(file, to);
}
