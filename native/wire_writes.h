// Writes that processes have made without the kernel and the daemon has not stored yet: a queue for
// each process, and counts that all of them share with the daemon. C, no library. Every field is
// read and written by the compiler's atomics, but for what a write holds before it is committed.
//
// A process looks at the file's slot (wire_files.h), fills a write of its queue, adds to `queued`
// of the slot, takes a sequence number, commits, sets `pending`, and then looks at `changes` of the
// slot once more, and at `is_over` of its queue. Unchanged and not over, the write is made: the
// daemon stores what is committed before it does anything else, and before it changes a map, which
// it announces in `changes` first; it looks once more at a queue that it has called over. Else the
// process takes the write back, unless the daemon has taken it.
//
// Whole pages may be written to the file's room, one after the other: who does so first moves
// `next` of the slot over them. What was claimed and never written reads as zeroes.
#ifndef FAUXDAX_WIRE_WRITES_H_
#define FAUXDAX_WIRE_WRITES_H_

#include <stdint.h>

#include "wire_files.h"

#define WIRE_QUEUE_WRITES 128u
#define WIRE_WRITE_BYTES_MAX 16384u
#define WIRE_NEXT_PAGE_BITS 40u

enum wire_write_state {
  WIRE_WRITE_FREE = 0,
  WIRE_WRITE_FILLING = 1,    // by a thread of the process
  WIRE_WRITE_COMMITTED = 2,  // with its sequence number
  WIRE_WRITE_TAKEN = 3,      // by the daemon, which frees it
};

struct wire_write {
  uint64_t state;    // sequence number << 2 | enum wire_write_state
  uint64_t slot;     // index of the file's slot in the table of files
  uint64_t ino;      // as it was in the slot
  uint64_t changes;  // as they were
  uint64_t offset;   // bytes
  uint64_t length;   // bytes
  int64_t time;      // of the write; nanoseconds since 1970
  uint64_t reserved;
};

struct wire_queue {
  uint64_t is_over;  // the daemon will not look at what is committed from now on
  uint64_t reserved[7];
  struct wire_write writes[WIRE_QUEUE_WRITES];
  uint8_t bytes[WIRE_QUEUE_WRITES][WIRE_WRITE_BYTES_MAX];
};

struct wire_counts {
  uint64_t sequence;  // of the next write
  uint64_t pending;   // 0: all that is committed has been stored, or is being stored
  uint64_t reserved[6];
  uint64_t queued[WIRE_FILE_SETS * WIRE_FILE_WAYS];  // writes begun for the files of each slot
  // Of each slot: the page after those that were claimed, of the room that was there when its
  // changes were so many; file page | changes << WIRE_NEXT_PAGE_BITS.
  uint64_t next[WIRE_FILE_SETS * WIRE_FILE_WAYS];
};

#endif  // FAUXDAX_WIRE_WRITES_H_
