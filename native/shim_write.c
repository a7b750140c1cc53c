// Writes without the kernel: pwrite and pwritev, and write and writev (shim_position.c), put the
// bytes into the process's queue, and the daemon stores them before it does anything else
// (wire_writes.h). That is for bytes that the file
// has already: written pages, inside its size, that no process has mapped; and for whole pages
// that fill a hole in order, where the daemon has set storage aside. All else goes to the
// kernel as ever: what would append, grow, allocate, take set-id bits away, is to be durable at
// once, meets a limit, is larger than a place of the queue, or finds none free.
//
// A buffer that is not there is EFAULT and no signal (shim_copy.c). A write that is committed is
// made whole, whatever becomes of the thread; one that is not never was, and nobody waits for it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "shim_files.h"

enum {
  kTries = 3,
  kServices = WIRE_FILE_WRITES | WIRE_FILE_NOTHING_TO_KILL | WIRE_FILE_READS,
};

static ssize_t (*next_pwrite)(int, const void*, size_t, off64_t);
static ssize_t (*next_pwritev)(int, const struct iovec*, int, off64_t);
static _Atomic uint32_t next_place;  // where one may be free

// libc's calls end threads that are to be cancelled; a program may write before they are found.
__attribute__((constructor)) static void FindNext(void) {
  *(void**)&next_pwritev = dlsym(RTLD_NEXT, "pwritev64");
  *(void**)&next_pwrite = dlsym(RTLD_NEXT, "pwrite64");
}

// Whether all of [offset, end) lies on written pages inside the file's size; anything when the file
// was changing while it was looked at.
static bool IsInPlace(const struct wire_file* file, uint64_t offset, uint64_t end) {
  if (end > FilesLoad(&file->size_bytes)) return false;
  const uint64_t count = FilesLoad(&file->extent_count);
  if (count > WIRE_FILE_EXTENTS_MAX) return false;
  for (uint64_t i = 0; i < count && offset < end; i++) {
    const struct wire_extent* extent = &file->extents[i];
    const uint64_t start = FilesLoad(&extent->file_page) * PAGE;
    const uint64_t limit = start + FilesLoad(&extent->page_count) * PAGE;
    if (limit <= offset) continue;
    if (start > offset) return false;
    offset = limit;
  }
  return offset >= end;
}

// Of the pages of the file's room, while its changes are so many: those that are claimed already,
// and the storage of the next. An order is kept so that a hole is not filled with zeroes.
static bool IsNextInRoom(const struct shim_file* file, uint64_t changes, uint64_t offset,
                         uint64_t end, uint64_t* next) {
  const struct wire_file* slot = file->slot;
  const uint64_t room_page = FilesLoad(&slot->room_page);
  if ((offset | end) % PAGE != 0 || end > FilesLoad(&slot->size_bytes)) return false;
  if (offset / PAGE < room_page || end / PAGE > FilesLoad(&slot->room_end_page)) return false;
  // What a poisoned page does to a write, the daemon says.
  if (FilesLoad(&shim_files.table->poisoned_pages) != 0) return false;
  *next = __atomic_load_n(&shim_files.counts->next[FilesIndex(file)], __ATOMIC_SEQ_CST);
  const uint64_t claimed = *next - (changes << WIRE_NEXT_PAGE_BITS);
  const bool is_claimed = claimed < UINT64_C(1) << WIRE_NEXT_PAGE_BITS && claimed > room_page;
  return offset / PAGE == (is_claimed ? claimed : room_page);
}

// Nobody else writes these pages of the room by the queue from here on.
static bool ClaimInRoom(const struct shim_file* file, uint64_t changes, uint64_t offset,
                        uint64_t end) {
  uint64_t next;
  if (!IsNextInRoom(file, changes, offset, end, &next)) return false;
  return __atomic_compare_exchange_n(&shim_files.counts->next[FilesIndex(file)], &next,
                                     (changes << WIRE_NEXT_PAGE_BITS) + end / PAGE, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

// Beyond it the kernel sends SIGXFSZ, also for bytes that are there.
static bool IsFileSizeLimited(void) {
  struct rlimit64 limit;
  const long result = Sys4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit);
  return result != 0 || limit.rlim_cur != RLIM64_INFINITY;
}

// A free place in the queue, which is the caller's; -1 when there is none.
static int TakePlace(void) {
  const uint32_t first = atomic_load_explicit(&next_place, memory_order_relaxed);
  for (uint32_t i = 0; i < WIRE_QUEUE_WRITES; i++) {
    const uint32_t place = (first + i) % WIRE_QUEUE_WRITES;
    uint64_t* state = &shim_files.queue->writes[place].state;
    uint64_t is_free = WIRE_WRITE_FREE;
    if (__atomic_load_n(state, __ATOMIC_RELAXED) != WIRE_WRITE_FREE) continue;
    if (__atomic_compare_exchange_n(state, &is_free, WIRE_WRITE_FILLING, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
      atomic_store_explicit(&next_place, place + 1, memory_order_relaxed);
      return (int)place;
    }
  }
  return -1;
}

static void LeavePlace(int place) {
  __atomic_store_n(&shim_files.queue->writes[place].state, WIRE_WRITE_FREE, __ATOMIC_RELEASE);
}

// Commits what is in the place, as a write to the file as it was when its changes were so many.
// False when there was a change, or nobody takes it any more, and nothing is written.
static bool Commit(int place, const struct shim_file* file, uint64_t changes, uint64_t offset,
                   uint64_t length) {
  struct wire_counts* counts = shim_files.counts;
  struct wire_write* write = &shim_files.queue->writes[place];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  write->slot = FilesIndex(file);
  write->ino = file->ino;
  write->changes = changes;
  write->offset = offset;
  write->length = length;
  write->time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  // Readers first: from here on they ask the daemon.
  __atomic_fetch_add(&counts->queued[FilesIndex(file)], 1, __ATOMIC_SEQ_CST);
  const uint64_t sequence = __atomic_fetch_add(&counts->sequence, 1, __ATOMIC_SEQ_CST);
  uint64_t committed = sequence << 2 | WIRE_WRITE_COMMITTED;
  __atomic_store_n(&write->state, committed, __ATOMIC_SEQ_CST);
  __atomic_store_n(&counts->pending, 1, __ATOMIC_SEQ_CST);
  // A change that is not seen here has not begun, and will find the write; so will the last look at
  // a queue that is not over.
  if (__atomic_load_n(&file->slot->changes, __ATOMIC_SEQ_CST) == changes &&
      __atomic_load_n(&shim_files.queue->is_over, __ATOMIC_SEQ_CST) == 0 && FilesAreServed()) {
    return true;
  }
  return !__atomic_compare_exchange_n(&write->state, &committed, WIRE_WRITE_FREE, false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool FilesWrite(int fd, const struct iovec* from, size_t from_count, uint64_t length, int64_t* at) {
  if (length == 0 || length > WIRE_WRITE_BYTES_MAX) return false;
  for (int i = 0; i < kTries; i++) {
    struct shim_file file;
    if (!FilesGuess(fd, &file)) return false;
    const int64_t offset = *at == kFilesPosition ? FilesSeek(fd, 0) : *at;
    if (offset < 0 || (uint64_t)offset > (uint64_t)INT64_MAX - length) return false;
    const uint64_t start = (uint64_t)offset;
    const uint64_t changes = __atomic_load_n(&file.slot->changes, __ATOMIC_ACQUIRE);
    const uint64_t service = FilesLoad(&file.slot->service);
    if ((service & kServices) != kServices) return false;
    const bool is_in_place =
        (service & WIRE_FILE_QUEUES) != 0 && IsInPlace(file.slot, start, start + length);
    uint64_t next;
    if (!is_in_place && ((service & WIRE_FILE_QUEUES_ROOM) == 0 ||
                         !IsNextInRoom(&file, changes, start, start + length, &next))) {
      return false;
    }
    const enum shim_confirmed confirmed = FilesConfirm(fd, &file);
    if (confirmed == kFileNone) return false;
    if (confirmed == kFileOther) continue;
    if ((file.flags & O_ACCMODE) == O_RDONLY) return false;
    if ((file.flags & (O_APPEND | O_SYNC | O_DSYNC)) != 0 || IsFileSizeLimited()) return false;
    if (!FilesIsSame(&file)) continue;
    const int place = TakePlace();
    if (place < 0) return false;
    if (!FilesCopyIn(shim_files.queue->bytes[place], from, from_count, length)) {
      LeavePlace(place);
      return false;
    }
    // A handler that does not return (siglongjmp) finds both, the position moved and the bytes
    // there, or neither.
    const bool is_moved = *at == kFilesPosition;
    const uint64_t signals = is_moved ? BlockSignals() : 0;
    if (is_moved) {
      const int64_t end = FilesSeek(fd, (int64_t)length);
      if (end >= (int64_t)length) *at = end - (int64_t)length;
    }
    // Otherwise somebody else was here in between, and this is another place.
    const bool is_free =
        *at == offset && (is_in_place || ClaimInRoom(&file, changes, start, start + length));
    if (!is_free) LeavePlace(place);
    const bool is_done = is_free && Commit(place, &file, changes, start, length);
    if (is_moved) RestoreSignals(signals);
    if (is_done) return true;
  }
  return false;
}

static ssize_t WriteByKernel(int fd, const void* buffer, size_t length, off64_t offset) {
  if (next_pwrite != NULL) return next_pwrite(fd, buffer, length, offset);
  return ShimResult(Sys4(SYS_pwrite64, fd, (long)buffer, (long)length, offset));
}

SHIM_PUBLIC ssize_t pwrite64(int fd, const void* buffer, size_t length, off64_t offset) {
  if (!FilesEnter(fd)) return WriteByKernel(fd, buffer, length, offset);
  const struct iovec from = {(void*)buffer, length};
  int64_t at = offset;
  const bool is_done = offset >= 0 && FilesWrite(fd, &from, 1, length, &at);
  FilesLeave();
  if (!is_done) {
    FilesForgetGuess(fd);
    return WriteByKernel(fd, buffer, length, offset);
  }
  pthread_testcancel();
  return (ssize_t)length;
}

SHIM_PUBLIC ssize_t pwrite(int fd, const void* buffer, size_t length, off_t offset) {
  return pwrite64(fd, buffer, length, offset);
}

static ssize_t WriteVectorsByKernel(int fd, const struct iovec* vectors, int count,
                                    off64_t offset) {
  if (next_pwritev != NULL) return next_pwritev(fd, vectors, count, offset);
  return ShimResult(Sys6(SYS_pwritev, fd, (long)vectors, count, offset, 0, 0));
}

SHIM_PUBLIC ssize_t pwritev64(int fd, const struct iovec* vectors, int count, off64_t offset) {
  if (!FilesEnter(fd)) return WriteVectorsByKernel(fd, vectors, count, offset);
  struct iovec from[kFilesVectorsMax];
  uint64_t length;
  int64_t at = offset;
  const bool is_done = offset >= 0 && FilesTakeVectors(vectors, count, from, &length) &&
                       FilesWrite(fd, from, (size_t)count, length, &at);
  FilesLeave();
  if (!is_done) {
    FilesForgetGuess(fd);
    return WriteVectorsByKernel(fd, vectors, count, offset);
  }
  pthread_testcancel();
  return (ssize_t)length;
}

SHIM_PUBLIC ssize_t pwritev(int fd, const struct iovec* vectors, int count, off_t offset) {
  return pwritev64(fd, vectors, count, offset);
}
