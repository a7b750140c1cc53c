// The shim: the library that `fauxdax run` preloads into programs, so that mmap of a file of the
// mount gives loads and stores straight to the region (native/wire.h). C17, no malloc, no library
// but libc. What the files of it say to each other.
//
// Two locks, in this order. *change*: held over every call of the program that adds, moves or
// removes our mappings, also while the daemon is asked; one MAP call is under way at a time.
// *table*: the table of parts and the address ranges themselves; held only over system calls that
// do not wait for the daemon, because the helper thread takes it to obey commands. The only thing
// the daemon is waited for under it is to read a message of the userfaultfd, which it always does.
//
// shim.c        what the environment says; messages to the user
// shim_table.c  mappings: parts and anchors
// shim_thread.c threads of our own; jobs for them; calls to the daemon
// shim_bells.c  calls without them
// shim_helper.c the helper thread: HELLO, commands, the daemon's end; shim_channel.c connections
// shim_show.c   what a part shows: commands; shim_memory.c how memory is made so
// shim_own.c    pages of a process's own, moved
// shim_map.c    mmap; shim_change.c munmap, mprotect, madvise; shim_remap.c mremap;
// shim_sync.c   msync; shim_flush.c flushes for it
// shim_file.c   calls on descriptors; shim_fork.c fork; shim_offer.c what children attach by
// shim_files.c  what the daemon publishes of files; shim_read.c reads, shim_write.c writes;
// shim_copy.c   copies for them; shim_position.c at a descriptor's position
// shim_pin.c    buffers that io_uring keeps; shim_sandbox.c seccomp
// shim_raw.c    calls by libc's syscall()
// shim_pmem.c   libpmem and libpmem2; shim_scan.c programs that flush by themselves;
// shim_decode.c lengths of instructions; shim_output.c what a program prints
#ifndef FAUXDAX_SHIM_H_
#define FAUXDAX_SHIM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim_lock.h"
#include "wire.h"

#define SHIM_PUBLIC __attribute__((visibility("default")))
#define PAGE UINT64_C(4096)
#define HUGE_PAGE (UINT64_C(2) << 20)

static inline uint64_t PageUp(uint64_t bytes) { return (bytes + PAGE - 1) & ~(PAGE - 1); }

// ---- shim.c ----

struct shim_settings {
  char socket_path[4096];  // absolute
  uint64_t device;         // st_dev of the mount
  uint32_t flags;          // WIRE_RUN_*
  bool is_valgrind;        // the program runs under valgrind
};

extern struct shim_settings shim_settings;

// Whether this program runs under `fauxdax run`. Any thread, at any time.
bool ShimIsOn(void);

// Whether `fd` is a regular file of the mount; its inode.
bool ShimIsOurs(int fd, uint64_t* ino);

// One line on the program's stderr, from any thread: the words, joined.
void ShimSay(const char* const words[], size_t count);

// What a C function returns: -1 and errno for a negative errno.
long ShimResult(long result);

// ---- shim_table.c ----

// What keeps a file open: one page of it, mapped without any access. Counted by the parts of the
// mapping it was made for.
struct shim_anchor {
  uint64_t address;
  uint64_t ino;
  uint64_t part_count;
  bool is_shared;
  bool is_sync;
  bool may_write;  // shared: the descriptor was open for writing
};

// Consecutive pages of one mapping with the same protection.
struct shim_part {
  uint64_t start;
  uint64_t end;
  uint64_t offset;  // in the file, of start; bytes
  uint64_t number;  // the daemon's; 0: it was not told yet
  uint32_t anchor;  // index
  int prot;
  bool dont_fork;
  bool is_shown;  // anything but a trap was shown: a private mapping may have pages of its own
};

extern struct shim_lock shim_change_lock;
extern struct shim_lock shim_table_lock;

// Whether [start, end) may hold a part, or addresses that MapVacate keeps; without a lock, two to
// four loads. False is certain for ranges that the caller has a right to.
bool TableMayTouch(uint64_t start, uint64_t end);
// The addresses that MapVacate keeps; an empty range when none. With the change lock held.
void TableVacant(uint64_t start, uint64_t end);

// The rest with the table lock held.
//
// TableReserve makes room for `count` more parts, so that what follows cannot fail: an insertion
// or a split takes one, a change or removal of a range two. 0 or ENOMEM.
int TableReserve(size_t count);
size_t TableCount(void);
struct shim_part* TablePart(size_t index);
// Index of the first part that ends after `address`; the count when there is none.
size_t TableFind(uint64_t address);
// The anchor counts one part more.
void TableInsert(const struct shim_part* part);
// Makes start and end limits of parts; returns the index of the first part from start on.
size_t TableCut(uint64_t start, uint64_t end);
// Whether there was anything in the range. Anchors without parts are left for AnchorsDrop.
bool TableRemove(uint64_t start, uint64_t end);

// Index of a new anchor without parts, or -1 without memory.
int AnchorAdd(const struct shim_anchor* anchor);
struct shim_anchor* AnchorAt(uint32_t index);
// Unmaps what has no parts. With the change lock held and the table lock not: it may let go of the
// last use of a file.
void AnchorsDrop(void);

// Waits until no MAP call is under way that could be the one that gave `number`; see HelperObey.
void TableAwaitNumber(uint64_t number);
void TablePending(void);
void TableNumbered(uint64_t number);

// ---- shim_thread.c ----

// Something to be done by a thread of ours, which has our descriptors and none of the program's.
struct shim_job {
  struct shim_job* next;
  int (*run)(struct shim_job* job, long channel);
  _Atomic uint32_t is_done;
  int error;
  struct wire_request request;
  struct wire_reply reply;
  uint64_t from;
  uint64_t length;
};

// First of all in a program, and in a child of fork.
void ThreadsPrepare(void);
// Whether threads that are started now would be of the process whose memory this is. Not those of a
// child of vfork: they would end with it.
bool ThreadsMayStart(void);

// Starts a thread without thread-local storage: what it runs must not touch errno, nor anything
// of libc that may. `has_own_files`: it begins with no descriptors, in a table of its own.
// 0 or an errno.
int ThreadStart(int (*run)(void*), void* argument, bool has_own_files);

// Whether the calling thread is one of those.
bool ThreadIsOurs(void);

// Starts the first thread that does jobs, with its channel to the daemon; called by the helper,
// whose descriptors they share.
int AgentsStart(long channel);

// Does a job in another thread and waits; all signals are blocked. Its error, or EIO when the
// daemon is gone, or our threads are, in a child that is made past fork's handlers.
int JobDo(struct shim_job* job);

// One call to the daemon: `request.call`, `flags` and `arguments` are set. 0 or the errno of the
// reply; EIO when the daemon is gone. Blocks signals itself. Not with the table lock held.
int ShimCall(struct shim_job* job);

// For a child of fork: no threads, no jobs.
void ThreadsForget(void);
// Whether they are in this process, and not only in one whose memory it was given a copy of.
bool ThreadsAreRunning(void);
// The daemon is gone: jobs that wait, and later ones, fail.
void JobsFail(void);

// ---- shim_bells.c ----

// One call to the daemon by this thread itself: `call` and the first two `arguments` are set. False
// when it has to be made by ShimCall(). Not with a lock held that the helper takes.
bool BellCall(const struct wire_request* request, int* error);
// For a child of fork.
void BellsForget(void);

// ---- shim_helper.c ----

struct shim_helper {
  _Atomic uint32_t state;  // enum shim_helper_state
  int error;               // why it failed; an errno
  long channel;            // these are in the table of our threads
  long uffd;
  long region;
  long empty;
  long pagemap;
  long memory;
  uint64_t mode;  // WIRE_MODE_*
  bool is_child;  // of fork: it attaches because its parent had mappings
  int offer;      // then: the program's descriptor where the parent's offer is (shim_offer.c)
};

enum shim_helper_state { kHelperNone, kHelperStarting, kHelperReady, kHelperFailed, kHelperGone };

extern struct shim_helper shim_helper;

// Attaches to the daemon, once. With the change lock held. 0, or why this process has no direct
// mappings, said once on stderr.
int HelperStart(void);

// ---- shim_channel.c ----

// A channel to the daemon's socket; a negative errno.
long ChannelConnect(void);
// Sends `request` (with `fd` unless -1) and waits for the reply, with `fd_count` descriptors, three
// at most, unless it is an error. 0 or an errno of the channel, not of the reply.
int ChannelCall(long channel, struct wire_request* request, long fd, struct wire_reply* reply,
                int* fds, size_t fd_count);

// The request of a job: 0 or an errno, of the reply too.
int ChannelAsk(long channel, struct shim_job* job);

// The same, for descriptors alone: `call` has no arguments. 0 or an errno, of the reply too.
int ChannelTake(long channel, uint32_t call, int* fds, size_t fd_count);

// ---- shim_offer.c ----

// What a process puts into its end of a connection before it forks, for the child to attach by: it
// may be another user, or in another root folder. In the program's thread; `end` is its descriptor.
void OfferMake(int end);

struct shim_offer {
  long channel;  // -1: there is none
  long device;   // /dev/userfaultfd, or -1
};

// For the child, in a thread of ours; `end` is the other end, the program's descriptor or -1.
struct shim_offer OfferTake(int end);

// ---- shim_show.c ----

// What a command met: pages of the process's own where the daemon believes none to be; that there
// is no huge page.
struct shim_met {
  bool own;
  bool small;
};

// One command, with the table lock held, in a thread of ours. 0 or an errno.
int ShowCommand(const struct wire_command* command, struct shim_met* met);
// Holds what a command needs when the process has as many areas as it may. With the table lock
// held, or before there is any command.
void ShowHoldSpare(void);
// Lets threads go on that wait for a fault in the range, whatever is there now.
void ShowWake(uint64_t address, uint64_t length);
// SIGBUS, by a file of no bytes that `empty` has open.
int ShowBus(const struct shim_part* part, uint64_t start, uint64_t length, long empty);

// Gives that back.
void ShowDropSpare(void);
// Job: `from`, `length`. In a private range nothing is left but pages of the process's own.
int KeepOwnJob(struct shim_job* job, long channel);

// ---- shim_map.c ----

// Memory for `length` bytes that nothing else has, at an address congruent to `offset` modulo
// 2 MiB when it is that long; `hint` is taken when it can be. `extra`: flags for mmap.
long MapReserve(uint64_t hint, uint64_t length, uint64_t offset, int prot, int extra);

// Takes a range, whatever is there, with the change lock held: what of ours was there goes.
// Accesses wait until the daemon is told of it. The address, or a negative errno.
long MapTake(uint64_t start, uint64_t length, int prot);

// Tells the daemon of [part->start, part->end), anonymous and in no part yet, and puts it into the
// table. With the change lock held. 0 or an errno: the range is as it was.
int MapTell(const struct shim_part* part);

// The same in two steps: between them, accesses to the range wait. `job.run` calls MapAsk, and may
// do more in that very thread: the helper obeys nothing for the mapping meanwhile, and calls that
// wait for the helper may have all the other threads. MapServe is called in any case.
struct shim_telling {
  struct shim_job job;
  const struct shim_part* part;
  uint64_t number;  // the daemon's; 0: it was not told
};
// The error of the job. When the daemon was told, the range stays in the table.
int MapBegin(struct shim_telling* telling);
int MapAsk(struct shim_telling* telling, long channel);
void MapServe(uint64_t number);

// The same for parts that are in the table already, consecutive ones of one mapping as one; they
// get the new number.
int MapTellAgain(const struct shim_part* part);
// Tells the daemon that the range is gone. With the change lock held.
void MapUntell(uint64_t start, uint64_t end);
// Takes away all memory of a range and keeps the addresses until MapLeave: while the daemon
// believes that a mapping lies there it would protect, and let stores through to, what the helper
// makes ready at that place. Who sees that the mapping is gone, and maps something else there, is
// kept waiting by the change lock, which is held until then. False, and nothing is changed, where
// that cannot be had.
bool MapVacate(uint64_t start, uint64_t length);
void MapLeave(uint64_t start, uint64_t length);

// ---- shim_own.c ----

// A private mapping goes from one range to another, of which the daemon is told (MapBegin).
struct shim_move {
  struct shim_telling telling;
  uint64_t old_start;
  uint64_t old_length;
  uint64_t start;
  uint64_t length;
  int prot;
  bool keeps_old;  // it stays a mapping, without pages of the process's own
  bool is_vacant;  // set by it: MapVacate has left the old range to be unmapped
};

// Tells, holds stores to the old range (WIRE_HOLD) for the caller to let go, and moves. 0, and the
// table is as the memory, or an errno and the mapping is where it was.
int OwnMoveJob(struct shim_job* job, long channel);

// ---- shim_change.c ----

// munmap without looking at the arguments; with the change lock held.
long ChangeUnmap(uint64_t start, uint64_t end);

struct shim_piece {
  uint64_t start;
  uint64_t end;
  bool is_ours;
  struct shim_part part;      // as it was when looked at
  struct shim_anchor anchor;  // the same
};

// The piece of [start, end) at start: of one part, or of what is not ours. Takes the table lock.
void PieceAt(uint64_t start, uint64_t end, struct shim_piece* piece);

// ---- shim_flush.c ----

// Pushes whole lines, readable, towards the persistence domain; `how`: enum wire_flush_instruction.
void FlushLines(uint64_t how, const uint8_t* start, uint64_t length);
// What this thread flushed before is durable.
void FlushFence(void);

// ---- shim_fork.c ----

// Registers the handlers of fork; before anybody else does.
void ForkPrepare(void);
// Memory of a mapping that a child made without these handlers is not to have: it would be shown
// pages that were freed since, and its stores would be noted by nobody.
void ForkHide(uint64_t start, uint64_t length);

// ---- shim_files.c ----

// For a child of fork: it attaches anew before it does without the kernel.
void FilesForget(void);
// The daemon is gone: nothing of the region is mapped here afterwards. No lock held.
void FilesBury(void);

// ---- shim_scan.c ----

// In a recording: ends this process, with the reason, when something that is loaded has flush
// instructions of its own. Cheap when nothing was loaded since the last look. No lock held.
void ScanObjects(void);

// ---- shim_output.c ----

// In a recording: what the program has stored so far is recorded. Keeps errno.
void OutputLook(void);

// ---- shim_raw.c ----

// What the functions of libc of these names do, and return, by the kernel's word: a negative errno.
long CallMmap(uint64_t address, uint64_t length, int prot, int flags, int fd, uint64_t offset);
long CallMunmap(uint64_t start, uint64_t length);
long CallMremap(uint64_t start, uint64_t old_length, uint64_t length, int flags, uint64_t target);
// `key`: as of pkey_mprotect(2); -1 for mprotect(2).
long CallMprotect(uint64_t start, uint64_t length, int prot, int key);
long CallMadvise(uint64_t start, uint64_t length, int advice);
long CallMsync(uint64_t start, uint64_t length, int flags);
long CallMlockall(int flags);
long CallFallocate(int fd, int mode, int64_t offset, int64_t length);
// Whether io_uring_register(2) would keep memory of ours.
bool PinsOurs(unsigned operation, const void* argument, size_t count);

// ---- for shim_pmem.c ----

// Whether barriers are to be told. False before this process has mapped a file of the mount.
bool ShimIsRecorded(void);

// A barrier of the calling thread, told only when the mount records: WIRE_FLUSH. With a length the
// lines of the range are flushed; with WIRE_FLUSH_DRAIN what this thread flushed is fenced.
void shim_barrier(const void* address, size_t length, uint32_t flags);

#endif  // FAUXDAX_SHIM_H_
