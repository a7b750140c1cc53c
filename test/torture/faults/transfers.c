// Reads and writes through the mount, also from and into mappings, and at positions.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "operations.h"
#include "random.h"

/** A descriptor with a position that is this thread's alone; a child of fork has one of its own. */
static int OwnDescriptor(int file) {
  static _Thread_local struct {
    int descriptor;
    pid_t pid;
  } own[kFiles];
  if (own[file].pid == getpid()) return own[file].descriptor;
  if (own[file].pid != 0) close(own[file].descriptor);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptors[file]);
  own[file].descriptor = open(path, O_RDWR | O_CLOEXEC);
  own[file].pid = getpid();
  if (own[file].descriptor < 0) Failed(file, 0, "open %s: %s", path, strerror(errno));
  return own[file].descriptor;
}

static ssize_t Transfer(bool writes, int file, void* bytes, size_t length, off_t offset) {
  if (Random(2) == 0) {
    return writes ? pwrite(descriptors[file], bytes, length, offset)
                  : pread(descriptors[file], bytes, length, offset);
  }
  const int own = OwnDescriptor(file);
  if (lseek(own, offset, SEEK_SET) != offset) return -1;
  const ssize_t done = writes ? write(own, bytes, length) : read(own, bytes, length);
  const off_t position = lseek(own, 0, SEEK_CUR);
  if (done >= 0 && position != offset + done) {
    Failed(file, 0, "%zd bytes at %lld end at %lld", done, (long long)offset, (long long)position);
  }
  return done;
}

void DoRead(int file) {
  uint64_t words[kLinesMax * kWords];
  uint64_t from = RandomLine(), count = SomeLines(from);
  Note("read", file, from, count);
  LockLines(file, from, count);
  bool is_sizing = IsSizing(file, from, count);
  ssize_t length = Transfer(false, file, words, count * kLine, Offset(from));
  if (length < 0) Failed(file, from, "read: %s", strerror(errno));
  uint64_t size = SizeOf(file), present = size <= from ? 0 : size - from;
  if (present > count) present = count;
  if (!is_sizing && (uint64_t)length != present * kLine)
    Failed(file, from, "read of %llu lines returns %zd bytes", (unsigned long long)count, length);
  for (uint64_t i = 0; i < (uint64_t)length / kLine; i++) {
    if (is_sizing)
      LineCheckWild(file, from + i, words + i * kWords, "read");
    else
      LineCheck(file, from + i, words + i * kWords, "read");
  }
  UnlockLines(file, from, count);
}

void WriteLines(int file, uint64_t from, uint64_t count) {
  uint64_t words[kLinesMax * kWords], stamps[kLinesMax];
  for (uint64_t i = 0; i < count; i++) {
    stamps[i] = NewStamp();
    LineWords(words + i * kWords, file, stamps[i]);
  }
  ssize_t length = Transfer(true, file, words, count * kLine, Offset(from));
  if (length != (ssize_t)(count * kLine))
    Failed(file, from, "write returns %zd: %s", length, strerror(errno));
  for (uint64_t i = 0; i < count; i++) LineStored(file, from + i, stamps[i]);
}

void DoWrite(int file) {
  uint64_t from = RandomLine(), count = SomeLines(from);
  Note("write", file, from, count);
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
  Note(by_write ? "pwrite from map" : "pread to map of", file, from, 1);
  Note(by_write ? "pwrite of map" : "pread into map", file, to, 1);
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
