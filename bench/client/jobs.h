// The jobs of the client and what they are told; see data.c and names.c.

#ifndef BENCH_CLIENT_JOBS_H
#define BENCH_CLIENT_JOBS_H

#include <stdbool.h>

#include "measure.h"

struct settings {
  const char* job;
  uint64_t count;       // operations, of each thread
  uint64_t size_bytes;  // of the file `data`
  uint64_t block_bytes;
  int threads;
  // Instead of the file `mapped`, the same pages in the region of its mount; NULL: the file.
  const char* region;
  uint64_t region_offset;
};

// Each job runs in the mounted directory (the working directory) and prints one line.

/** Writes all of `data` with its pattern and fsyncs it. */
void JobPrepare(const struct settings* settings);
void JobReadRandom(const struct settings* settings);
void JobWriteRandom(const struct settings* settings);
void JobReadSequential(const struct settings* settings);
void JobWriteSequential(const struct settings* settings);

/** The same reads and writes without O_DIRECT, of 4 KiB at random places. */
void JobBufferedRead(const struct settings* settings);
void JobBufferedWrite(const struct settings* settings);
/** The same in order, by read(2) and write(2) at the descriptor's position; one thread. */
void JobPositionRead(const struct settings* settings);
void JobPositionWrite(const struct settings* settings);

/** Writes all of `mapped`, which the jobs of maps.c map, and fsyncs it. */
void JobPrepareMap(const struct settings* settings);
/** Loads from, or stores to, a mapping of all of it that has no fault left. */
void JobLoadSequential(const struct settings* settings);
void JobLoadRandom(const struct settings* settings);
void JobStoreSequential(const struct settings* settings);
void JobStoreRandom(const struct settings* settings);
/** The first store to each page after an msync, where 4 KiB or 2 MiB are mapped at once. */
void JobStoreFaults(const struct settings* settings);
void JobStoreFaultsHuge(const struct settings* settings);
/** The same with a handler of the client's own, which only lets the store through. */
void JobStoreFaultsBare(const struct settings* settings);
/** The first load of each page of a hole; of anonymous memory. */
void JobLoadHoles(const struct settings* settings);
void JobLoadAnonymous(const struct settings* settings);
/** fsync(2) after a store to one page of a file that is mapped and was stored to everywhere. */
void JobSyncMapped(const struct settings* settings);

/** statx(2) on a descriptor, forced to ask the filesystem. */
void JobGetAttributes(const struct settings* settings);
/** open(O_CREAT | O_EXCL), close, unlink, a new name each time; one operation is all three. */
void JobPairs(const struct settings* settings);
/** `count` files created with one block each, then all unlinked; one operation is one file. */
void JobSmallFiles(const struct settings* settings);
/** Makes `count` empty files for JobStatFiles. */
void JobMakeFiles(const struct settings* settings);
/** stat(2) of each of those files, with nothing about them cached in the kernel. */
void JobStatFiles(const struct settings* settings);
/** `count` files of one block each in directories of a thousand, left in place. */
void JobPopulate(const struct settings* settings);

#endif
