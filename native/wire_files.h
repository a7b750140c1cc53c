// What the daemon publishes of files for calls in the processes (shim_files.h): a table in shared
// memory that it alone writes, one slot for each file. C, no library. Every field is read and
// written whole, by the compiler's atomics; what belongs together is ordered by the generation.
//
// The generation is odd while map, size, inode or bytes may be changing, and never goes back. So
// what was read between two looks at the same even generation is the file, whatever the bytes
// looked at in between belonged to later.
#ifndef FAUXDAX_WIRE_FILES_H_
#define FAUXDAX_WIRE_FILES_H_

#include <stdint.h>

#define WIRE_FILE_EXTENTS_MAX 40u
#define WIRE_FILE_KEPT_MAX 64u
#define WIRE_FILE_SETS 2048u  // a power of two
#define WIRE_FILE_WAYS 4u

// How many extents a file has whose map is too long to be published.
#define WIRE_FILE_TOO_LONG UINT64_MAX

// A run of written pages; what is in none reads as zeroes.
struct wire_extent {
  uint64_t file_page;
  uint64_t region_page;
  uint64_t page_count;
};

// What an msync of the file has to flush, all of it, while `number` is not 0: nothing else was
// stored to, and nothing is to be committed. Before that changes `number` does, and never goes back
// to what it was.
struct wire_kept {
  uint64_t number;
  uint64_t run_count;
  struct wire_extent runs[WIRE_FILE_KEPT_MAX];  // sorted by file_page, apart
};

struct wire_file {
  uint64_t generation;
  uint64_t ino;  // 0: the slot is free
  uint64_t size_bytes;
  uint64_t service;  // enum Service of file_map.h
  int64_t atime;     // of the last read and write that were seen; nanoseconds since 1970
  int64_t mtime;
  uint64_t extent_count;
  uint64_t changes;  // of map, size, service and inode: counted before each. Bytes do not count
  uint64_t settled;  // of `queued` (wire_writes.h): fewer, and bytes are elsewhere still
  // File pages that nobody is shown, with storage but in no extent: from where the next of them is
  // taken to the end; both 0 where there are none.
  uint64_t room_page;
  uint64_t room_end_page;
  uint64_t reserved[5];
  struct wire_extent extents[WIRE_FILE_EXTENTS_MAX];  // sorted by file_page, apart
  struct wire_kept kept;
};

// The bits of `service` that a process needs to know.
#define WIRE_FILE_READS 1u
#define WIRE_FILE_WRITES 2u
#define WIRE_FILE_ATIME 4u
#define WIRE_FILE_NOTHING_TO_KILL 8u
#define WIRE_FILE_QUEUES 16u        // over pages that are there
#define WIRE_FILE_QUEUES_ROOM 128u  // into the room

// How this machine flushes a line.
enum wire_flush_instruction { WIRE_CLFLUSH = 1, WIRE_CLFLUSHOPT = 2, WIRE_CLWB = 3 };

struct wire_files {
  uint64_t poisoned_pages;     // of the whole region; while there are any, nothing is read here
  uint64_t flush_instruction;  // enum wire_flush_instruction
  uint64_t reserved[510];
  struct wire_file files[WIRE_FILE_SETS][WIRE_FILE_WAYS];
};

static inline uint64_t WireFileSet(uint64_t ino) {
  return ((ino * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (WIRE_FILE_SETS - 1);
}

#endif  // FAUXDAX_WIRE_FILES_H_
