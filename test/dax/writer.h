/* Files whose writes are served in the process: for writer.c and writers.c. */
#ifndef FAUXDAX_TEST_WRITER_H_
#define FAUXDAX_TEST_WRITER_H_

#include "served.h"

/* Where the next write of 8 bytes at `offset` goes; -1 when it fails. Nothing is queued before. */
static inline int KernelServes(int fd, off_t offset) {
  const uint64_t word = 7;
  if (fsync(fd) != 0) return -1;
  const long before = KernelCalls("syscw: ");
  if (pwrite(fd, &word, 8, offset) != 8) return -1;
  return (int)(KernelCalls("syscw: ") - before);
}

/* Whether the process serves that by itself, once the daemon is done with the call before. */
static inline int IsServed(int fd, off_t offset) {
  for (int i = 0; i < (is_served ? 100 : 1); i++) {
    if (KernelServes(fd, offset) == 0) return 1;
    usleep(1000);
  }
  return 0;
}

/* The first file is served before any other is looked at. */
static inline int OpenServed(const char* name, uint64_t file, int flags) {
  const int fd = OpenWarm(name, file, flags);
  return fd >= 0 && IsServed(fd, 0) == is_served && WritePages(fd, file, 0, 1) == 0 ? fd : -1;
}

#endif
