// Attaching a process to what the daemon publishes of files, and which file a descriptor is.
#define _GNU_SOURCE
#include "shim_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "shim_sandbox.h"

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

enum {
  kCallsBefore = 32,    // a process that makes fewer is not attached for it
  kHintsMax = 1024,     // descriptors
  kOthersPerLook = 31,  // calls on a descriptor that was not ours until it is looked at again
};

enum { kIdle, kStarting, kReady, kNever };

struct shim_files shim_files;
static _Atomic uint32_t state = kIdle;
static _Atomic uint32_t calls_seen;
// What descriptors probably are still: of the inode, or of another filesystem for so many calls.
// Wrong, they cost time.
static _Atomic uint64_t inodes[kHintsMax];
static _Atomic uint8_t others[kHintsMax];
// Calls that this thread is inside of. Who left one by a jump out of a handler is inside for ever,
// which only makes its children slower.
static __thread uint32_t inside __attribute__((tls_model("initial-exec")));

static long MapShared(long fd, uint64_t length, int prot) {
  const long address = SysMmap(0, length, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (!IsError(address)) SysMadvise((uint64_t)address, length, MADV_DONTDUMP);
  return address;
}

// What this process alone may write to.
static long MapOwn(long fd, uint64_t length) {
  const long address = MapShared(fd, length, PROT_READ | PROT_WRITE);
  if (!IsError(address)) SysMadvise((uint64_t)address, length, MADV_DONTFORK);
  return address;
}

static void Unmap(const void* address, uint64_t length) {
  if (address != NULL) SysMunmap((uint64_t)address, length);
}

// But for the queue: of a child it is not, and a parent that has attached keeps it.
static void UnmapAll(void) {
  Unmap(shim_files.table, sizeof(*shim_files.table));
  Unmap(shim_files.region, shim_files.region_bytes);
  Unmap(shim_files.zeroes, FILES_BYTES_MAX);
  Unmap((const void*)shim_files.owner, PAGE);
  shim_files = (struct shim_files){0};
}

static int MapQueue(long channel) {
  int fds[2];
  const int error = ChannelTake(channel, WIRE_WRITES, fds, 2);
  if (error != 0) return error;
  const long counts = MapOwn(fds[0], sizeof(*shim_files.counts));
  const long queue = MapOwn(fds[1], sizeof(*shim_files.queue));
  SysClose(fds[0]);
  SysClose(fds[1]);
  if (IsError(counts) || IsError(queue)) {
    if (!IsError(counts)) SysMunmap((uint64_t)counts, sizeof(*shim_files.counts));
    if (!IsError(queue)) SysMunmap((uint64_t)queue, sizeof(*shim_files.queue));
    return ENOMEM;
  }
  shim_files.counts = (struct wire_counts*)counts;
  shim_files.queue = (struct wire_queue*)queue;
  return 0;
}

// By a thread of ours, which has the region open.
static int MapJob(struct shim_job* job, long channel) {
  (void)job;
  int fd;
  const int error = ChannelTake(channel, WIRE_FILES, &fd, 1);
  if (error != 0) return error;
  struct stat status;
  long mapped = MapShared(fd, sizeof(*shim_files.table), PROT_READ);
  SysClose(fd);
  if (!IsError(mapped)) {
    shim_files.table = (const struct wire_files*)mapped;
    mapped = Sys3(SYS_fstat, shim_helper.region, (long)&status, 0);
  }
  if (!IsError(mapped)) {
    shim_files.region_bytes = (uint64_t)status.st_size;
    mapped = MapShared(shim_helper.region, shim_files.region_bytes, PROT_READ);
    if (!IsError(mapped)) SysMadvise((uint64_t)mapped, shim_files.region_bytes, MADV_DONTFORK);
  }
  if (!IsError(mapped)) {
    shim_files.region = (const uint8_t*)mapped;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    mapped = SysMmap(0, FILES_BYTES_MAX, PROT_READ, flags, -1, 0);
  }
  if (!IsError(mapped)) {
    shim_files.zeroes = (const uint8_t*)mapped;
    mapped = SysMmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  if (!IsError(mapped)) {
    shim_files.owner = (_Atomic uint32_t*)mapped;
    mapped = SysMadvise((uint64_t)mapped, PAGE, MADV_WIPEONFORK);
  }
  return IsError(mapped) ? (int)-mapped : MapQueue(channel);
}

// The region is mapped whole: where address space is counted, it is the program's.
static bool IsAddressSpaceCounted(void) {
  struct rlimit64 limit;
  const long result = Sys4(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)&limit);
  return result != 0 || limit.rlim_cur != RLIM64_INFINITY;
}

static void Start(void) {
  uint32_t idle = kIdle;
  if (!atomic_compare_exchange_strong(&state, &idle, kStarting)) return;
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  int error = IsAddressSpaceCounted() ? EOPNOTSUPP : HelperStart();
  if (error == 0 && (shim_helper.mode & WIRE_MODE_DATA) == 0) error = EOPNOTSUPP;
  if (error == 0) {
    struct shim_job job = {.run = MapJob};
    error = JobDo(&job);
  }
  if (error == 0) atomic_store(shim_files.owner, (uint32_t)Sys3(SYS_getpid, 0, 0, 0));
  if (error != 0) UnmapAll();
  atomic_store(&state, error == 0 ? kReady : kNever);
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
}

// Memory of nobody in place of what was mapped there.
static void Hollow(const void* address, uint64_t length, int prot) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  SysMmap((uint64_t)address, length, prot, flags, -1, 0);
}

void FilesBury(void) {
  // Whoever is under way may wait for nothing of ours any more.
  Lock(&shim_change_lock);
  if (shim_files.region != NULL) Hollow(shim_files.region, shim_files.region_bytes, PROT_READ);
  Unlock(&shim_change_lock);
}

// A handler forked in the middle of a call, which goes on in the child, too. There it finds no file
// any more and a queue that is over, and goes to the kernel or the daemon.
static void HollowAll(void) {
  Hollow(shim_files.table, sizeof(*shim_files.table), PROT_READ);
  Hollow(shim_files.region, shim_files.region_bytes, PROT_READ);
  Hollow(shim_files.counts, sizeof(*shim_files.counts), PROT_READ | PROT_WRITE);
  Hollow(shim_files.queue, sizeof(*shim_files.queue), PROT_READ | PROT_WRITE);
  shim_files.queue->is_over = 1;
}

void FilesForget(void) {
  const bool was_ready = atomic_load(&state) == kReady;
  const bool is_inside = was_ready && inside > 0;
  if (is_inside) {
    HollowAll();
  } else if (was_ready) {
    UnmapAll();
  }
  atomic_store(&calls_seen, 0);
  atomic_store(&state, is_inside ? kNever : kIdle);
}

static bool HasHint(int fd) { return fd >= 0 && fd < kHintsMax; }

static bool IsProbablyOther(int fd) {
  if (!HasHint(fd)) return false;
  const uint8_t left = atomic_load_explicit(&others[fd], memory_order_relaxed);
  if (left == 0) return false;
  atomic_store_explicit(&others[fd], left - 1, memory_order_relaxed);
  return true;
}

// Attributes are not asked for: the daemon would be.
static bool IsOurs(int fd, uint64_t* ino) {
  struct statx status;
  const int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  long error = Sys6(SYS_statx, fd, 0, flags, STATX_INO, (long)&status, 0);
  // Before 6.11 a path has to be there.
  if (error == -EFAULT) {
    error = Sys6(SYS_statx, fd, (long)"", flags, STATX_INO, (long)&status, 0);
  }
  if (error != 0) return false;
  *ino = status.stx_ino;
  const uint64_t device = makedev(status.stx_dev_major, status.stx_dev_minor);
  const bool is_ours = device == shim_settings.device;
  if (HasHint(fd)) {
    atomic_store_explicit(&inodes[fd], is_ours ? *ino : 0, memory_order_relaxed);
    atomic_store_explicit(&others[fd], is_ours ? 0 : kOthersPerLook, memory_order_relaxed);
  }
  return is_ours;
}

bool FilesFind(struct shim_file* file) {
  const struct wire_file* set = shim_files.table->files[WireFileSet(file->ino)];
  for (uint32_t way = 0; way < WIRE_FILE_WAYS; way++) {
    if (FilesLoad(&set[way].ino) != file->ino) continue;
    file->slot = &set[way];
    file->generation = __atomic_load_n(&set[way].generation, __ATOMIC_ACQUIRE);
    if (file->generation % 2 == 0 && FilesLoad(&set[way].ino) == file->ino) return true;
  }
  return false;
}

bool FilesGuess(int fd, struct shim_file* file) {
  if (IsProbablyOther(fd)) return false;
  file->ino = HasHint(fd) ? atomic_load_explicit(&inodes[fd], memory_order_relaxed) : 0;
  return (file->ino != 0 || IsOurs(fd, &file->ino)) && FilesFind(file);
}

void FilesForgetGuess(int fd) {
  if (HasHint(fd)) atomic_store_explicit(&inodes[fd], 0, memory_order_relaxed);
}

enum shim_confirmed FilesConfirm(int fd, struct shim_file* file) {
  uint64_t ino;
  if (!IsOurs(fd, &ino)) return kFileNone;
  if (ino != file->ino) return kFileOther;
  const long flags = Sys3(SYS_fcntl, fd, F_GETFL, 0);
  if (flags < 0 || (flags & O_PATH)) return kFileNone;
  file->flags = (int)flags;
  return kFileConfirmed;
}

bool FilesIsSame(const struct shim_file* file) {
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return FilesLoad(&file->slot->generation) == file->generation && FilesAreServed();
}

bool FilesAreServed(void) {
  return atomic_load_explicit(&shim_helper.state, memory_order_acquire) == kHelperReady;
}

bool FilesHasQueued(const struct shim_file* file) {
  // In this order: what is counted as settled was counted as queued before.
  const uint64_t settled = __atomic_load_n(&file->slot->settled, __ATOMIC_ACQUIRE);
  const uint64_t* queued = &shim_files.counts->queued[FilesIndex(file)];
  return settled != __atomic_load_n(queued, __ATOMIC_ACQUIRE);
}

bool FilesTakeVectors(const struct iovec* from, int count, struct iovec* vectors,
                      uint64_t* length) {
  if (count <= 0 || count > kFilesVectorsMax) return false;
  const uint64_t bytes = (uint64_t)count * sizeof(*vectors);
  if (TableMayTouch((uint64_t)from, (uint64_t)from + bytes)) return false;
  const struct iovec source = {(void*)from, bytes};
  if (!FilesCopyIn(vectors, &source, 1, bytes)) return false;
  *length = 0;
  for (int i = 0; i < count; i++) {
    if (vectors[i].iov_len > FILES_BYTES_MAX) return false;
    *length += vectors[i].iov_len;
  }
  return true;
}

static bool MayBeServed(void) {
  return ShimIsOn() && (shim_settings.flags & WIRE_RUN_NO_DATA) == 0 && !SandboxIsEntered();
}

// Attaches the process once it makes many calls.
static void NoteCall(void) {
  if (atomic_fetch_add(&calls_seen, 1) + 1 >= kCallsBefore && ThreadsMayStart()) Start();
}

static bool IsAttached(void) {
  return atomic_load_explicit(&state, memory_order_acquire) == kReady && FilesAreServed() &&
         atomic_load_explicit(shim_files.owner, memory_order_relaxed) != 0 &&
         FilesLoad(&shim_files.table->poisoned_pages) == 0;
}

static bool Enter(void) {
  // First: who forks after it was found attached is inside.
  inside++;
  atomic_signal_fence(memory_order_seq_cst);
  if (IsAttached()) return true;
  FilesLeave();
  return false;
}

bool FilesEnter(int fd) {
  if (!MayBeServed()) return false;
  uint64_t ino;
  const bool is_idle = atomic_load_explicit(&state, memory_order_relaxed) == kIdle;
  if (is_idle && !IsProbablyOther(fd) && IsOurs(fd, &ino)) NoteCall();
  return Enter();
}

bool FilesEnterToSync(void) {
  if (!MayBeServed()) return false;
  if (atomic_load_explicit(&state, memory_order_relaxed) == kIdle) NoteCall();
  return Enter();
}

void FilesLeave(void) {
  atomic_signal_fence(memory_order_seq_cst);
  inside--;
}
