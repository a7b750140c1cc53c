// Calls on descriptors, and on the whole address space, that the kernel would not do as a DAX
// filesystem does.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim.h"

// The kernel appends where it last knew the end of a file to be, and did not see it move. An append
// of another thread or process that comes before this may still go to the old place.
static void LearnSize(int fd) {
  struct statx status;
  const int flags = AT_EMPTY_PATH | AT_STATX_FORCE_SYNC;
  Sys6(SYS_statx, fd, (long)"", flags, STATX_SIZE, (long)&status, 0);
}

// The kernel's FUSE knows neither COLLAPSE_RANGE nor INSERT_RANGE.
long CallFallocate(int fd, int mode, int64_t offset, int64_t length) {
  uint64_t ino;
  const bool is_refused = (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0;
  if (!is_refused || !ShimIsOurs(fd, &ino)) {
    return Sys4(SYS_fallocate, fd, mode, offset, length);
  }
  if (offset < 0 || length <= 0) return -EINVAL;
  const long flags = Sys3(SYS_fcntl, fd, F_GETFL, 0);
  if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  const int error = HelperStart();
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
  if (error != 0) return -error;
  struct shim_job job = {.request = {.call = WIRE_FALLOCATE}};
  job.request.arguments[0] = ino;
  job.request.arguments[1] = (uint64_t)mode;
  job.request.arguments[2] = (uint64_t)offset;
  job.request.arguments[3] = (uint64_t)length;
  const int refused = ShimCall(&job);
  if (refused == 0) LearnSize(fd);
  return -refused;
}

SHIM_PUBLIC int fallocate(int fd, int mode, off_t offset, off_t length) {
  return (int)ShimResult(CallFallocate(fd, mode, offset, length));
}

SHIM_PUBLIC int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  return fallocate(fd, mode, offset, length);
}

// Locked memory is there from the start, which for memory that is to be told of on its first use
// would be too early.
long CallMlockall(int flags) {
  if (ShimIsOn()) flags |= MCL_ONFAULT;
  return Sys3(SYS_mlockall, flags, 0, 0);
}

SHIM_PUBLIC int mlockall(int flags) { return (int)ShimResult(CallMlockall(flags)); }
