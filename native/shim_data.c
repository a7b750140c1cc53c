// Reads of files of the mount without the kernel: pread and preadv copy straight out of the region,
// by the map that the daemon publishes (wire_files.h). Where that could change the result they go
// to the kernel as ever: read(2), whose position belongs to the kernel; a file that is not
// published, is being changed or has a time due; anything that is an error.
//
// Nothing of the program is believed to stay as it is. Which file a descriptor is, and how it was
// opened, the kernel is asked each time, between two looks at the generation: an open inode's
// number is no other file's. The copy is the kernel's too (process_vm_readv of this process), so a
// buffer that is not there is EFAULT and no signal. What is copied counts only if the file's
// generation is the same before and after: pages that were taken away meanwhile may have held
// anything. No lock is taken and nobody is told, so a reader that is stopped, killed or forked in
// between harms nobody.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>

#include "shim.h"
#include "wire_files.h"

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

enum {
  kPiecesMax = 16,       // of the region, in one read
  kVectorsMax = 16,      // of the program, in one preadv
  kReadsBefore = 32,     // a process that reads less than that is not attached for it
  kHintsMax = 1024,      // descriptors
  kOthersPerLook = 255,  // reads of a descriptor that was not ours until it is looked at again
  kTries = 3,
};
#define READ_BYTES_MAX (UINT64_C(1) << 20)
#define DAY_NS (INT64_C(86400) * 1000000000)

enum { kIdle, kStarting, kReady, kNever };

static _Atomic uint32_t state = kIdle;
static _Atomic uint32_t reads_seen;
static const struct wire_files* table;
static const uint8_t* region;
static uint64_t region_bytes;
static const uint8_t* zeroes;  // READ_BYTES_MAX of them
// The number of this process, in a page that is empty in a child however that was made: only who
// attached by itself hears of the daemon's end.
static _Atomic uint32_t* owner;
// What descriptors probably are still: of the inode, or of another filesystem for so many reads.
// Wrong, they cost time.
static _Atomic uint64_t inodes[kHintsMax];
static _Atomic uint8_t others[kHintsMax];

static ssize_t (*next_pread)(int, void*, size_t, off64_t);
static ssize_t (*next_preadv)(int, const struct iovec*, int, off64_t);
static ssize_t (*next_pread_chk)(int, void*, size_t, off64_t, size_t);

// libc's calls end threads that are to be cancelled; a program may read before they are found.
__attribute__((constructor)) static void FindNext(void) {
  *(void**)&next_preadv = dlsym(RTLD_NEXT, "preadv64");
  *(void**)&next_pread_chk = dlsym(RTLD_NEXT, "__pread64_chk");
  *(void**)&next_pread = dlsym(RTLD_NEXT, "pread64");
}

static long MapShared(long fd, uint64_t length) {
  const long address = SysMmap(0, length, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (!IsError(address)) SysMadvise((uint64_t)address, length, MADV_DONTDUMP);
  return address;
}

static void Unmap(const void* address, uint64_t length) {
  if (address != NULL) SysMunmap((uint64_t)address, length);
}

static void UnmapAll(void) {
  Unmap(table, sizeof(*table));
  Unmap(region, region_bytes);
  Unmap(zeroes, READ_BYTES_MAX);
  Unmap((const void*)owner, PAGE);
  table = NULL;
  region = NULL;
  zeroes = NULL;
  owner = NULL;
}

// By a thread of ours, which has the region open.
static int MapJob(struct shim_job* job, long channel) {
  if (channel < 0) return EIO;
  int fd;
  int error = ChannelCall(channel, &job->request, -1, &job->reply, &fd, 1);
  if (error != 0) return EIO;
  if (job->reply.error != 0) return job->reply.error;
  struct stat status;
  long mapped = MapShared(fd, sizeof(*table));
  SysClose(fd);
  if (!IsError(mapped)) {
    table = (const struct wire_files*)mapped;
    mapped = Sys3(SYS_fstat, shim_helper.region, (long)&status, 0);
  }
  if (!IsError(mapped)) {
    region_bytes = (uint64_t)status.st_size;
    mapped = MapShared(shim_helper.region, region_bytes);
  }
  if (!IsError(mapped)) {
    region = (const uint8_t*)mapped;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    mapped = SysMmap(0, READ_BYTES_MAX, PROT_READ, flags, -1, 0);
  }
  if (!IsError(mapped)) {
    zeroes = (const uint8_t*)mapped;
    mapped = SysMmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  if (!IsError(mapped)) {
    owner = (_Atomic uint32_t*)mapped;
    mapped = SysMadvise((uint64_t)mapped, PAGE, MADV_WIPEONFORK);
  }
  return IsError(mapped) ? (int)-mapped : 0;
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
    struct shim_job job = {.request = {.call = WIRE_FILES}, .run = MapJob};
    job.request.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
    error = JobDo(&job);
  }
  if (error == 0) atomic_store(owner, (uint32_t)Sys3(SYS_getpid, 0, 0, 0));
  if (error != 0) UnmapAll();
  atomic_store(&state, error == 0 ? kReady : kNever);
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
}

void DataForget(void) {
  if (atomic_load(&state) == kReady) UnmapAll();
  atomic_store(&reads_seen, 0);
  atomic_store(&state, kIdle);
}

// ---- which file ----

static bool HasHint(int fd) { return fd >= 0 && fd < kHintsMax; }

static bool IsProbablyOther(int fd) {
  if (!HasHint(fd)) return false;
  const uint8_t left = atomic_load_explicit(&others[fd], memory_order_relaxed);
  if (left == 0) return false;
  atomic_store_explicit(&others[fd], left - 1, memory_order_relaxed);
  return true;
}

// Whether the descriptor is of the mount, and of which inode. Attributes are not asked for: the
// daemon would be.
static bool IsOurs(int fd, uint64_t* ino) {
  struct statx status;
  const int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (Sys6(SYS_statx, fd, (long)"", flags, STATX_INO, (long)&status, 0) != 0) return false;
  *ino = status.stx_ino;
  const uint64_t device = makedev(status.stx_dev_major, status.stx_dev_minor);
  const bool is_ours = device == shim_settings.device;
  if (HasHint(fd)) {
    atomic_store_explicit(&inodes[fd], is_ours ? *ino : 0, memory_order_relaxed);
    atomic_store_explicit(&others[fd], is_ours ? 0 : kOthersPerLook, memory_order_relaxed);
  }
  return is_ours;
}

// The inode that the descriptor is of, as far as is known.
static bool GuessInode(int fd, uint64_t* ino) {
  *ino = HasHint(fd) ? atomic_load_explicit(&inodes[fd], memory_order_relaxed) : 0;
  return *ino != 0 || IsOurs(fd, ino);
}

static uint64_t Load(const uint64_t* field) { return __atomic_load_n(field, __ATOMIC_RELAXED); }

// The file's slot and an even generation in which it is that; NULL when it is not published, or
// changing right now.
static const struct wire_file* FindFile(uint64_t ino, uint64_t* generation) {
  const struct wire_file* set = table->files[WireFileSet(ino)];
  for (uint32_t way = 0; way < WIRE_FILE_WAYS; way++) {
    if (Load(&set[way].ino) != ino) continue;
    *generation = __atomic_load_n(&set[way].generation, __ATOMIC_ACQUIRE);
    if (*generation % 2 == 0 && Load(&set[way].ino) == ino) return &set[way];
  }
  return NULL;
}

static bool IsSame(const struct wire_file* file, uint64_t generation) {
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return __atomic_load_n(&file->generation, __ATOMIC_RELAXED) == generation;
}

// relatime, as FileMap::TouchAtime() has it: then the daemon is to see the read.
static bool IsAtimeDue(const struct wire_file* file) {
  if ((Load(&file->service) & WIRE_FILE_ATIME) == 0) return false;
  const int64_t atime = __atomic_load_n(&file->atime, __ATOMIC_RELAXED);
  const int64_t mtime = __atomic_load_n(&file->mtime, __ATOMIC_RELAXED);
  if (atime == INT64_MIN || atime <= mtime) return true;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - atime >= DAY_NS;
}

// ---- the copy ----

struct pieces {
  struct iovec pieces[kPiecesMax];
  size_t count;
};

static bool AddPiece(struct pieces* all, const uint8_t* bytes, uint64_t length) {
  if (all->count == kPiecesMax) return false;
  all->pieces[all->count++] = (struct iovec){(void*)bytes, length};
  return true;
}

// What lies behind [offset, end) of the file; false when it is too much, or was changing while it
// was looked at.
static bool FindPieces(const struct wire_file* file, uint64_t offset, uint64_t end,
                       struct pieces* all) {
  all->count = 0;
  const uint64_t count = Load(&file->extent_count);
  if (count > WIRE_FILE_EXTENTS_MAX) return false;
  for (uint64_t i = 0; i < count && offset < end; i++) {
    const struct wire_extent* extent = &file->extents[i];
    const uint64_t start = Load(&extent->file_page) * PAGE;
    const uint64_t length = Load(&extent->page_count) * PAGE;
    if (start + length <= offset) continue;
    if (start >= end) break;
    if (start > offset) {
      if (!AddPiece(all, zeroes, start - offset)) return false;
      offset = start;
    }
    const uint64_t from = Load(&extent->region_page) * PAGE + (offset - start);
    const uint64_t limit = start + length < end ? start + length : end;
    const bool is_inside = from <= region_bytes && limit - offset <= region_bytes - from;
    if (!is_inside || !AddPiece(all, region + from, limit - offset)) return false;
    offset = limit;
  }
  return offset == end || AddPiece(all, zeroes, end - offset);
}

// Copies memory of this process; false unless it copied all.
static bool Copy(const struct iovec* to, size_t to_count, const struct pieces* from,
                 uint64_t length) {
  const long pid = atomic_load_explicit(owner, memory_order_relaxed);
  const long copied = Sys6(SYS_process_vm_readv, pid, (long)to, (long)to_count, (long)from->pieces,
                           (long)from->count, 0);
  return copied == (long)length;
}

// Takes back what was copied beyond what was read.
static void Clean(const struct iovec* to, size_t to_count, ssize_t result, uint64_t end) {
  const uint64_t from = result > 0 ? (uint64_t)result : 0;
  if (end <= from) return;
  const struct pieces zero = {{{(void*)zeroes, end - from}}, 1};
  struct iovec left[kVectorsMax];
  size_t count = 0;
  uint64_t at = 0;
  for (size_t i = 0; i < to_count; i++) {
    const uint64_t next = at + to[i].iov_len;
    const uint64_t start = at > from ? at : from;
    if (next > start && start < end) {
      left[count++] = (struct iovec){(char*)to[i].iov_base + (start - at), next - start};
    }
    at = next;
  }
  Copy(left, count, &zero, end - from);
}

// ---- the calls ----

// Reads without the kernel; false when it must do it. Either way the first *dirty bytes of the
// buffer, but for those that were read in the end, may be of who knows which file.
static bool Read(int fd, const struct iovec* to, size_t to_count, uint64_t length, int64_t offset,
                 ssize_t* result, uint64_t* dirty) {
  if (length == 0 || length > READ_BYTES_MAX || offset < 0) return false;
  if ((uint64_t)offset > (uint64_t)INT64_MAX - length) return false;
  uint64_t ino;
  if (IsProbablyOther(fd) || !GuessInode(fd, &ino)) return false;
  for (int i = 0; i < kTries; i++) {
    uint64_t generation = 0;
    const struct wire_file* file = FindFile(ino, &generation);
    const uint64_t guess = ino;
    if (!IsOurs(fd, &ino)) return false;
    if (ino != guess) continue;
    if (file == NULL || (Load(&file->service) & WIRE_FILE_READS) == 0) return false;
    const long flags = Sys3(SYS_fcntl, fd, F_GETFL, 0);
    if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY) return false;
    if ((flags & O_NOATIME) == 0 && IsAtimeDue(file)) return false;
    const uint64_t size = Load(&file->size_bytes);
    const uint64_t left = size > (uint64_t)offset ? size - (uint64_t)offset : 0;
    const uint64_t count = left < length ? left : length;
    struct pieces pieces;
    if (!FindPieces(file, (uint64_t)offset, (uint64_t)offset + count, &pieces)) return false;
    if (!IsSame(file, generation)) continue;
    if (count > *dirty) *dirty = count;
    if (count > 0 && !Copy(to, to_count, &pieces, count)) return false;
    // A page that lost its bytes reads as an error.
    if (Load(&table->poisoned_pages) != 0) return false;
    if (!IsSame(file, generation)) continue;
    *result = (ssize_t)count;
    return true;
  }
  return false;
}

static bool IsReady(void) {
  if (!ShimIsOn() || (shim_settings.flags & WIRE_RUN_NO_DATA) != 0) return false;
  return atomic_load_explicit(&state, memory_order_acquire) == kReady &&
         atomic_load_explicit(&shim_helper.state, memory_order_acquire) == kHelperReady &&
         atomic_load_explicit(owner, memory_order_relaxed) != 0 &&
         Load(&table->poisoned_pages) == 0;
}

// Attaches the process once it reads much.
static void NoteRead(int fd) {
  if (atomic_load_explicit(&state, memory_order_relaxed) != kIdle || !ShimIsOn()) return;
  if ((shim_settings.flags & WIRE_RUN_NO_DATA) != 0) return;
  uint64_t ino;
  if (IsProbablyOther(fd) || !IsOurs(fd, &ino)) return;
  if (atomic_fetch_add(&reads_seen, 1) + 1 == kReadsBefore) Start();
}

static ssize_t ReadByKernel(int fd, void* buffer, size_t length, off64_t offset) {
  if (next_pread != NULL) return next_pread(fd, buffer, length, offset);
  return ShimResult(Sys4(SYS_pread64, fd, (long)buffer, (long)length, offset));
}

SHIM_PUBLIC ssize_t pread64(int fd, void* buffer, size_t length, off64_t offset) {
  if (!IsReady()) {
    NoteRead(fd);
    return ReadByKernel(fd, buffer, length, offset);
  }
  const struct iovec to = {buffer, length};
  ssize_t result;
  uint64_t dirty = 0;
  const bool is_done = Read(fd, &to, 1, length, offset, &result, &dirty);
  if (!is_done) result = ReadByKernel(fd, buffer, length, offset);
  Clean(&to, 1, result, dirty);
  if (is_done) pthread_testcancel();
  return result;
}

SHIM_PUBLIC ssize_t pread(int fd, void* buffer, size_t length, off_t offset) {
  return pread64(fd, buffer, length, offset);
}

// What programs call that are compiled with checks of their buffers.
SHIM_PUBLIC ssize_t __pread64_chk(int fd, void* buffer, size_t length, off64_t offset,
                                  size_t buffer_length) {
  if (length > buffer_length && next_pread_chk != NULL) {
    return next_pread_chk(fd, buffer, length, offset, buffer_length);
  }
  return pread64(fd, buffer, length, offset);
}

SHIM_PUBLIC ssize_t __pread_chk(int fd, void* buffer, size_t length, off_t offset,
                                size_t buffer_length) {
  return __pread64_chk(fd, buffer, length, offset, buffer_length);
}

static ssize_t ReadVectorsByKernel(int fd, const struct iovec* vectors, int count, off64_t offset) {
  if (next_preadv != NULL) return next_preadv(fd, vectors, count, offset);
  return ShimResult(Sys6(SYS_preadv, fd, (long)vectors, count, offset, 0, 0));
}

// The vectors, which may not be there, and how long they are together.
static bool TakeVectors(const struct iovec* from, int count, struct iovec* vectors,
                        uint64_t* length) {
  if (count <= 0 || count > kVectorsMax) return false;
  const uint64_t bytes = (uint64_t)count * sizeof(*vectors);
  const struct iovec to = {vectors, bytes};
  const struct pieces pieces = {{{(void*)from, bytes}}, 1};
  if (!Copy(&to, 1, &pieces, bytes)) return false;
  *length = 0;
  for (int i = 0; i < count; i++) {
    if (vectors[i].iov_len > READ_BYTES_MAX) return false;
    *length += vectors[i].iov_len;
  }
  return true;
}

SHIM_PUBLIC ssize_t preadv64(int fd, const struct iovec* from, int count, off64_t offset) {
  if (!IsReady()) {
    NoteRead(fd);
    return ReadVectorsByKernel(fd, from, count, offset);
  }
  struct iovec to[kVectorsMax];
  uint64_t length;
  if (!TakeVectors(from, count, to, &length)) {
    return ReadVectorsByKernel(fd, from, count, offset);
  }
  ssize_t result;
  uint64_t dirty = 0;
  const bool is_done = Read(fd, to, (size_t)count, length, offset, &result, &dirty);
  if (!is_done) result = ReadVectorsByKernel(fd, from, count, offset);
  Clean(to, (size_t)count, result, dirty);
  if (is_done) pthread_testcancel();
  return result;
}

SHIM_PUBLIC ssize_t preadv(int fd, const struct iovec* from, int count, off_t offset) {
  return preadv64(fd, from, count, offset);
}
