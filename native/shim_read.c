// Reads without the kernel: pread and preadv, and read and readv (shim_position.c), copy straight
// out of the region, by the map that the daemon publishes (wire_files.h). Where that could change
// the result they go to the kernel as ever: a file that is not published, is being changed or has a
// time due; anything that is an error.
//
// A buffer that is not there is EFAULT and no signal (shim_copy.c). What is copied counts only if
// the file's generation is the same before and after: pages that were taken away meanwhile may have
// held anything. No lock is taken and nobody is told, so a reader that is stopped, killed or forked
// in between harms nobody (FilesForget() is for the child).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>

#include "shim_files.h"

enum {
  kPiecesMax = 16,  // of the region, in one read
  kTries = 3,
  kFetchBytes = 512,
  kLineBytes = 64,
};
#define DAY_NS (INT64_C(86400) * 1000000000)

static ssize_t (*next_pread)(int, void*, size_t, off64_t);
static ssize_t (*next_preadv)(int, const struct iovec*, int, off64_t);
static ssize_t (*next_pread_chk)(int, void*, size_t, off64_t, size_t);

// libc's calls end threads that are to be cancelled; a program may read before they are found.
__attribute__((constructor)) static void FindNext(void) {
  *(void**)&next_preadv = dlsym(RTLD_NEXT, "preadv64");
  *(void**)&next_pread_chk = dlsym(RTLD_NEXT, "__pread64_chk");
  *(void**)&next_pread = dlsym(RTLD_NEXT, "pread64");
}

// relatime, as FileMap::TouchAtime() has it: then the daemon is to see the read.
static bool IsAtimeDue(const struct wire_file* file) {
  if ((FilesLoad(&file->service) & WIRE_FILE_ATIME) == 0) return false;
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
  const uint8_t* const zeroes = shim_files.zeroes;
  const uint64_t count = FilesLoad(&file->extent_count);
  if (count > WIRE_FILE_EXTENTS_MAX) return false;
  for (uint64_t i = 0; i < count && offset < end; i++) {
    const struct wire_extent* extent = &file->extents[i];
    const uint64_t start = FilesLoad(&extent->file_page) * PAGE;
    const uint64_t length = FilesLoad(&extent->page_count) * PAGE;
    if (start + length <= offset) continue;
    if (start >= end) break;
    if (start > offset) {
      if (!AddPiece(all, zeroes, start - offset)) return false;
      offset = start;
    }
    const uint64_t from = FilesLoad(&extent->region_page) * PAGE + (offset - start);
    const uint64_t limit = start + length < end ? start + length : end;
    const uint64_t bytes = shim_files.region_bytes;
    const bool is_inside = from <= bytes && limit - offset <= bytes - from;
    if (!is_inside || !AddPiece(all, shim_files.region + from, limit - offset)) return false;
    offset = limit;
  }
  return offset == end || AddPiece(all, zeroes, end - offset);
}

// The bytes are wanted in a moment; meanwhile the kernel is asked which file it is.
static void Fetch(const struct iovec* piece) {
  const uint64_t length = piece->iov_len < kFetchBytes ? piece->iov_len : kFetchBytes;
  for (uint64_t at = 0; at < length; at += kLineBytes) {
    __builtin_prefetch((const char*)piece->iov_base + at);
  }
}

void FilesClean(const struct iovec* to, size_t to_count, ssize_t result, uint64_t end) {
  const uint64_t from = result > 0 ? (uint64_t)result : 0;
  if (end <= from) return;
  const struct iovec zero = {(void*)shim_files.zeroes, end - from};
  struct iovec left[kFilesVectorsMax];
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
  FilesCopyOut(left, count, &zero, 1, end - from);
}

// ---- the calls ----

bool FilesRead(int fd, const struct iovec* to, size_t to_count, uint64_t length, int64_t offset,
               struct shim_file* read, ssize_t* result, uint64_t* dirty) {
  if (length == 0 || length > FILES_BYTES_MAX || offset < 0) return false;
  if ((uint64_t)offset > (uint64_t)INT64_MAX - length) return false;
  for (int i = 0; i < kTries; i++) {
    struct shim_file file;
    if (!FilesGuess(fd, &file)) return false;
    const struct wire_file* slot = file.slot;
    if ((FilesLoad(&slot->service) & WIRE_FILE_READS) == 0) return false;
    if (FilesHasQueued(&file)) return false;
    const uint64_t size = FilesLoad(&slot->size_bytes);
    const uint64_t left = size > (uint64_t)offset ? size - (uint64_t)offset : 0;
    const uint64_t count = left < length ? left : length;
    struct pieces all;
    if (!FindPieces(slot, (uint64_t)offset, (uint64_t)offset + count, &all)) return false;
    if (all.count > 0) Fetch(&all.pieces[0]);
    const enum shim_confirmed confirmed = FilesConfirm(fd, &file);
    if (confirmed == kFileNone) return false;
    if (confirmed == kFileOther) continue;
    if ((file.flags & O_ACCMODE) == O_WRONLY) return false;
    if ((file.flags & O_NOATIME) == 0 && IsAtimeDue(slot)) return false;
    if (!FilesIsSame(&file)) continue;
    if (count > *dirty) *dirty = count;
    if (count > 0 && !FilesCopyOut(to, to_count, all.pieces, all.count, count)) return false;
    // A page that lost its bytes reads as an error.
    if (FilesLoad(&shim_files.table->poisoned_pages) != 0) return false;
    if (!FilesIsSame(&file)) continue;
    *read = file;
    *result = (ssize_t)count;
    return true;
  }
  return false;
}

static ssize_t ReadByKernel(int fd, void* buffer, size_t length, off64_t offset) {
  if (next_pread != NULL) return next_pread(fd, buffer, length, offset);
  return ShimResult(Sys4(SYS_pread64, fd, (long)buffer, (long)length, offset));
}

SHIM_PUBLIC ssize_t pread64(int fd, void* buffer, size_t length, off64_t offset) {
  if (!FilesEnter(fd)) return ReadByKernel(fd, buffer, length, offset);
  const struct iovec to = {buffer, length};
  struct shim_file file;
  ssize_t result;
  uint64_t dirty = 0;
  const bool is_done = FilesRead(fd, &to, 1, length, offset, &file, &result, &dirty);
  if (!is_done) {
    FilesForgetGuess(fd);
    result = ReadByKernel(fd, buffer, length, offset);
  }
  FilesClean(&to, 1, result, dirty);
  FilesLeave();
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

SHIM_PUBLIC ssize_t preadv64(int fd, const struct iovec* from, int count, off64_t offset) {
  if (!FilesEnter(fd)) return ReadVectorsByKernel(fd, from, count, offset);
  struct iovec to[kFilesVectorsMax];
  uint64_t length;
  if (!FilesTakeVectors(from, count, to, &length)) {
    FilesLeave();
    return ReadVectorsByKernel(fd, from, count, offset);
  }
  struct shim_file file;
  ssize_t result;
  uint64_t dirty = 0;
  const bool is_done = FilesRead(fd, to, (size_t)count, length, offset, &file, &result, &dirty);
  if (!is_done) {
    FilesForgetGuess(fd);
    result = ReadVectorsByKernel(fd, from, count, offset);
  }
  FilesClean(to, (size_t)count, result, dirty);
  FilesLeave();
  if (is_done) pthread_testcancel();
  return result;
}

SHIM_PUBLIC ssize_t preadv(int fd, const struct iovec* from, int count, off_t offset) {
  return preadv64(fd, from, count, offset);
}
