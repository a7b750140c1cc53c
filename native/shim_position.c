// read, readv, write and writev without the kernel. The position belongs to the open description,
// which other threads and processes may have as well, and its lock to the kernel. What the kernel
// does at once for all of them is to add to it. So a call looks where it is, does its work as pread
// or pwrite would, and adds; where the sum is not as expected, somebody else came in between, and
// the bytes before the sum are its own: nobody else's calls get those. A write adds before the
// bytes are there to be seen, a read when it has them and looks once more whether they still are
// what the file holds.
//
// Who is killed between the two has moved the position and written nothing (SPEC.md).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "shim_files.h"

static ssize_t (*next_read)(int, void*, size_t);
static ssize_t (*next_readv)(int, const struct iovec*, int);
static ssize_t (*next_read_chk)(int, void*, size_t, size_t);
static ssize_t (*next_write)(int, const void*, size_t);
static ssize_t (*next_writev)(int, const struct iovec*, int);

// libc's calls end threads that are to be cancelled; a program may read before they are found.
__attribute__((constructor)) static void FindNext(void) {
  *(void**)&next_readv = dlsym(RTLD_NEXT, "readv");
  *(void**)&next_read_chk = dlsym(RTLD_NEXT, "__read_chk");
  *(void**)&next_writev = dlsym(RTLD_NEXT, "writev");
  *(void**)&next_write = dlsym(RTLD_NEXT, "write");
  *(void**)&next_read = dlsym(RTLD_NEXT, "read");
}

// For a position that was moved by `length`: of those, `result` bytes were read or written.
static void MoveBack(int fd, uint64_t length, ssize_t result) {
  const uint64_t done = result > 0 ? (uint64_t)result : 0;
  if (done < length) FilesSeek(fd, (int64_t)done - (int64_t)length);
}

// ---- Reads ----

// False when the kernel must read, and nothing has happened but that *dirty bytes may have been
// copied.
static bool Read(int fd, const struct iovec* to, size_t to_count, uint64_t length, ssize_t* result,
                 uint64_t* dirty) {
  struct shim_file file;
  if (!FilesGuess(fd, &file)) return false;
  const int64_t position = FilesSeek(fd, 0);
  if (position < 0) return false;
  if (!FilesRead(fd, to, to_count, length, position, &file, result, dirty)) return false;
  if (*result == 0) return true;
  const int64_t end = FilesSeek(fd, *result);
  if (end == position + *result && FilesIsSame(&file) && !FilesHasQueued(&file)) return true;
  const uint64_t moved = (uint64_t)*result;
  *result = preadv64(fd, to, (int)to_count, end - *result);
  // More than that is somebody else's.
  if (*result > (ssize_t)moved) *result = (ssize_t)moved;
  MoveBack(fd, moved, *result);
  return true;
}

static ssize_t ReadByKernel(int fd, void* buffer, size_t length) {
  if (next_read != NULL) return next_read(fd, buffer, length);
  return ShimResult(Sys3(SYS_read, fd, (long)buffer, (long)length));
}

SHIM_PUBLIC ssize_t read(int fd, void* buffer, size_t length) {
  if (!FilesEnter(fd)) return ReadByKernel(fd, buffer, length);
  pthread_testcancel();
  const struct iovec to = {buffer, length};
  ssize_t result;
  uint64_t dirty = 0;
  if (!Read(fd, &to, 1, length, &result, &dirty)) {
    FilesForgetGuess(fd);
    result = ReadByKernel(fd, buffer, length);
  }
  FilesClean(&to, 1, result, dirty);
  FilesLeave();
  return result;
}

// What programs call that are compiled with checks of their buffers.
ssize_t __read_chk(int fd, void* buffer, size_t length, size_t buffer_length);
SHIM_PUBLIC ssize_t __read_chk(int fd, void* buffer, size_t length, size_t buffer_length) {
  if (length > buffer_length && next_read_chk != NULL) {
    return next_read_chk(fd, buffer, length, buffer_length);
  }
  return read(fd, buffer, length);
}

static ssize_t ReadVectorsByKernel(int fd, const struct iovec* vectors, int count) {
  if (next_readv != NULL) return next_readv(fd, vectors, count);
  return ShimResult(Sys3(SYS_readv, fd, (long)vectors, count));
}

SHIM_PUBLIC ssize_t readv(int fd, const struct iovec* from, int count) {
  if (!FilesEnter(fd)) return ReadVectorsByKernel(fd, from, count);
  pthread_testcancel();
  struct iovec to[kFilesVectorsMax];
  uint64_t length;
  if (!FilesTakeVectors(from, count, to, &length)) {
    FilesLeave();
    return ReadVectorsByKernel(fd, from, count);
  }
  ssize_t result;
  uint64_t dirty = 0;
  if (!Read(fd, to, (size_t)count, length, &result, &dirty)) {
    FilesForgetGuess(fd);
    result = ReadVectorsByKernel(fd, from, count);
  }
  FilesClean(to, (size_t)count, result, dirty);
  FilesLeave();
  return result;
}

// ---- Writes ----

// False when the kernel must write, at its position.
static bool Write(int fd, const struct iovec* from, size_t from_count, uint64_t length,
                  ssize_t* result) {
  int64_t at = kFilesPosition;
  if (FilesWrite(fd, from, from_count, length, &at)) {
    *result = (ssize_t)length;
    return true;
  }
  FilesForgetGuess(fd);
  if (at == kFilesPosition) return false;
  *result = pwritev64(fd, from, (int)from_count, at);
  MoveBack(fd, length, *result);
  return true;
}

static ssize_t WriteByKernel(int fd, const void* buffer, size_t length) {
  if (next_write != NULL) return next_write(fd, buffer, length);
  return ShimResult(Sys3(SYS_write, fd, (long)buffer, (long)length));
}

SHIM_PUBLIC ssize_t write(int fd, const void* buffer, size_t length) {
  OutputLook();
  if (!FilesEnter(fd)) return WriteByKernel(fd, buffer, length);
  pthread_testcancel();
  const struct iovec from = {(void*)buffer, length};
  ssize_t result;
  const bool is_done = Write(fd, &from, 1, length, &result);
  FilesLeave();
  return is_done ? result : WriteByKernel(fd, buffer, length);
}

static ssize_t WriteVectorsByKernel(int fd, const struct iovec* vectors, int count) {
  if (next_writev != NULL) return next_writev(fd, vectors, count);
  return ShimResult(Sys3(SYS_writev, fd, (long)vectors, count));
}

SHIM_PUBLIC ssize_t writev(int fd, const struct iovec* vectors, int count) {
  OutputLook();
  if (!FilesEnter(fd)) return WriteVectorsByKernel(fd, vectors, count);
  pthread_testcancel();
  struct iovec from[kFilesVectorsMax];
  uint64_t length;
  ssize_t result;
  const bool is_done = FilesTakeVectors(vectors, count, from, &length) &&
                       Write(fd, from, (size_t)count, length, &result);
  FilesLeave();
  return is_done ? result : WriteVectorsByKernel(fd, vectors, count);
}
