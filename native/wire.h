// What shims and the daemon of a mount say to each other: fixed-size messages over a Unix socket of
// type SOCK_SEQPACKET, one message a packet. C, no library: the shim includes it. Little-endian, as
// the machine; addresses, offsets and lengths are bytes and whole pages where they name mappings.
//
// A process has one helper channel (its helper thread's, which carries the userfaultfd and obeys
// commands) and any number of call channels (a program's thread asks, and waits for the reply).
#ifndef FAUXDAX_WIRE_H_
#define FAUXDAX_WIRE_H_

#include <stdint.h>

#define WIRE_MAGIC 0x58414446u  // "FDAX"
#define WIRE_VERSION 9u

// A byte of the region file that no page is at. From HELLO on an attached process has a lock of
// fcntl(2) on it, F_RDLCK, its helper's, until it has let go of all that it showed or mapped of the
// region: by that the next daemon finds who outlived the one before and has not heard of it yet.
#define WIRE_ATTACHED_AT (UINT64_C(1) << 62)

// The environment that `fauxdax run` gives a program.
#define WIRE_ENV_SOCKET "FAUXDAX_SOCKET"  // path of the daemon's socket
#define WIRE_ENV_DEVICE "FAUXDAX_DEVICE"  // st_dev of the mount, decimal
#define WIRE_ENV_FLAGS "FAUXDAX_FLAGS"    // WIRE_RUN_*, decimal
// pid of `fauxdax run` itself, decimal: its child, the program, ends when it is killed.
#define WIRE_ENV_PARENT "FAUXDAX_PARENT"

enum wire_run_flags {
  WIRE_RUN_NO_DATA = 1,      // reads and writes always go to the kernel
  WIRE_RUN_VERBOSE = 2,      // say on stderr which files are not mapped directly, and why
  WIRE_RUN_OWN_FLUSHES = 4,  // in a recording: programs with flush instructions of their own run
};

enum wire_call {
  // First on the helper channel, with the userfaultfd as its one descriptor. `flags`: 0.
  // Reply: values[0] WIRE_MODE_*; with three descriptors, the region (read-write), a file of no
  // bytes (a mapping of it is SIGBUS everywhere) and the first call channel.
  WIRE_HELLO = 1,
  // Reply: with one descriptor, a further call channel.
  WIRE_CHANNEL = 2,
  // The caller made an anonymous private mapping, as protected as the program asked, never touched,
  // at [0] address of [1] length; it is to show the file [2] ino from [3] offset on. `flags`:
  // WIRE_MAP_*. Reply: values[0] the mapping's number, higher than any before. From the reply on
  // faults in it are served.
  // EOPNOTSUPP: the file is not DAX (the caller maps it the kernel's way). ESTALE, EINVAL, ENOMEM.
  WIRE_MAP = 3,
  // [0] address, [1] length: the caller unmapped it, or mapped something else over it.
  WIRE_UNMAP = 4,
  // msync(2) MS_SYNC of [0] address, [1] length, which lies in mappings of the client. EIO.
  WIRE_SYNC = 5,
  // fallocate(2) of the file [0] ino: [1] mode, [2] offset, [3] length. For what the kernel's FUSE
  // refuses (COLLAPSE, INSERT), and MADV_REMOVE. The caller checked that it may write.
  WIRE_FALLOCATE = 6,
  // Only when WIRE_MODE_RECORDED. A barrier: stores so far are recorded; then with a length, the
  // lines of [0] address, [1] length are flushed by this thread; then, with WIRE_FLUSH_DRAIN, what
  // this thread flushed is fenced.
  WIRE_FLUSH = 7,
  // Reply: with one descriptor, the table of published files (wire_files.h), for reading only.
  // EOPNOTSUPP: every read is to be seen.
  WIRE_FILES = 8,
  // Once, after WIRE_FILES. Reply: with two descriptors, the counts of all writes and a queue for
  // the writes of this process (wire_writes.h). ENOMEM, EMFILE and the like.
  WIRE_WRITES = 9,
  // [0] address, [1] length: stores to protected pages of private mappings there wait, until the
  // next WIRE_HOLD of the process; of no length, none does.
  WIRE_HOLD = 10,
  // Once. [0] address of WIRE_BELL_COUNT pages, anonymous and private, readable, never touched:
  // the bells (wire_bells.h). Reply: with one descriptor, the requests. From then on they are
  // heard. EOPNOTSUPP where they save nothing, EEXIST, EINVAL, ENOMEM, EMFILE and the like.
  WIRE_BELLS = 11,
  // Reply: with one descriptor, a connection as one to the daemon's socket, for a child of fork,
  // which may be another user, or in another root folder. Who says HELLO there is the process.
  WIRE_CHILD = 12,
  // Reply: with one descriptor, /dev/userfaultfd. Errors: those of open(2).
  WIRE_USERFAULT = 13,
  // Reply: with two descriptors, pagemap and mem of the process in /proc, for reading. Errors:
  // those
  // of open(2); ESRCH.
  WIRE_PROC = 14,
};

enum wire_map_flags {
  WIRE_MAP_SHARED = 1,
  WIRE_MAP_SYNC = 2,
  WIRE_MAP_OWN = 4,  // a private mapping, where pages may be the process's own already
};

enum wire_flush_flags { WIRE_FLUSH_DRAIN = 1 };

enum wire_mode {
  WIRE_MODE_RECORDED = 1,  // flushes and fences are to be told
  WIRE_MODE_DATA = 2,      // files may be read and written in the process
};

struct wire_request {
  uint32_t magic;
  uint32_t version;
  uint32_t call;
  uint32_t flags;
  uint32_t tid;  // of the calling thread
  uint32_t reserved;
  uint64_t arguments[5];
};

struct wire_reply {
  int32_t error;  // 0 or a positive errno
  uint32_t reserved;
  uint64_t values[3];
};

// To the helper thread; up to WIRE_COMMANDS_MAX in a packet. Each is done wherever its range still
// belongs to the mapping, atomically for the program's other threads: no store of theirs is lost or
// goes unseen. The helper answers a packet with one wire_done, of its last number.
enum wire_command_kind {
  // Faults are told again, from now on. Pages that the program made its own by a store to a private
  // mapping stay, without WIRE_DROP_OWN.
  WIRE_TRAP = 1,
  // Reads as zeroes; a store is told.
  WIRE_ZERO = 2,
  // Shows the region from region_offset on. A store is told unless WIRE_STORABLE. In a private
  // mapping it is a private mapping of the region, where no store is told.
  WIRE_REGION = 3,
  // Any access is SIGBUS.
  WIRE_BUS = 4,
};

enum wire_command_flags {
  WIRE_DROP_OWN = 1,
  WIRE_STORABLE = 2,
  WIRE_POPULATE = 4,  // a hint: most of it will be used
  WIRE_HUGE = 8,      // one entry of 2 MiB: pages of the process's own there are a bug, and told
  // A hint: these 2 MiB of the region are worth a huge page, also when that takes a millisecond.
  WIRE_COLLAPSE = 16,
};

struct wire_command {
  uint64_t number;
  uint32_t kind;
  uint32_t flags;
  uint64_t mapping;
  uint64_t address;
  uint64_t length;
  uint64_t region_offset;
};

#define WIRE_COMMANDS_MAX 64

struct wire_done {
  uint64_t number;
  int32_t error;         // 0 or the first positive errno; the others were done
  uint32_t collisions;   // commands with WIRE_HUGE that met pages of the process's own, which stay
  uint32_t small_count;  // commands with WIRE_COLLAPSE for which there was no huge page
  uint32_t reserved;
};

#endif  // FAUXDAX_WIRE_H_
