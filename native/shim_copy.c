// Copies between buffers of the program and memory of ours, for calls on files that need no kernel.
//
// A buffer that is not there is EFAULT, and no signal. So of a few pages the kernel is asked to
// touch each: by rt_sigprocmask, which stores or loads eight bytes and changes nothing, the
// cheapest call that does. Then they are copied here, at a third of what the kernel takes for that.
// Only where the program unmaps, protects or truncates a buffer while it is in use is the signal
// that its own access would get then. What is longer the kernel copies (process_vm_readv of this
// process).
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "shim_files.h"

enum {
  kTouchBytes = 8,
  // From there on touching costs more than it saves.
  kTouchedMax = 8 * 4096,
};

static bool Touch(uint64_t at, bool stores) {
  if (at == 0) return false;  // means to the kernel that nothing is asked for
  const long result = stores ? Sys4(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)at, kTouchBytes)
                             : Sys4(SYS_rt_sigprocmask, -1, (long)at, 0, kTouchBytes);
  return result == (stores ? 0 : -EINVAL);
}

// Whether all pages of the first `length` bytes are there. Stored to are only those bytes.
static bool TouchAll(const struct iovec* vectors, size_t count, uint64_t length, bool stores) {
  for (size_t i = 0; i < count && length > 0; i++) {
    const uint64_t bytes = vectors[i].iov_len < length ? vectors[i].iov_len : length;
    length -= bytes;
    if (bytes == 0) continue;
    if (bytes < kTouchBytes) return false;
    const uint64_t last = (uint64_t)vectors[i].iov_base + bytes - kTouchBytes;
    for (uint64_t at = (uint64_t)vectors[i].iov_base; at < last; at = (at & ~(PAGE - 1)) + PAGE) {
      if (!Touch(at, stores)) return false;
    }
    if (!Touch(last, stores)) return false;
  }
  return true;
}

// The vectors are as long together.
static void CopyHere(const struct iovec* to, const struct iovec* from, uint64_t length) {
  uint64_t to_offset = 0;
  uint64_t from_offset = 0;
  while (length > 0) {
    const uint64_t to_left = to->iov_len - to_offset;
    const uint64_t from_left = from->iov_len - from_offset;
    uint64_t bytes = to_left < from_left ? to_left : from_left;
    if (bytes > length) bytes = length;
    memcpy((char*)to->iov_base + to_offset, (const char*)from->iov_base + from_offset, bytes);
    length -= bytes;
    to_offset += bytes;
    from_offset += bytes;
    if (to_offset == to->iov_len) {
      to++;
      to_offset = 0;
    }
    if (from_offset == from->iov_len) {
      from++;
      from_offset = 0;
    }
  }
}

static bool CopyByKernel(long call, const struct iovec* own, size_t own_count,
                         const struct iovec* other, size_t other_count, uint64_t length) {
  const long pid = atomic_load_explicit(shim_files.owner, memory_order_relaxed);
  const long copied =
      Sys6(call, pid, (long)own, (long)own_count, (long)other, (long)other_count, 0);
  return copied == (long)length;
}

bool FilesCopyOut(const struct iovec* to, size_t to_count, const struct iovec* from,
                  size_t from_count, uint64_t length) {
  if (length > kTouchedMax || !TouchAll(to, to_count, length, true)) {
    return CopyByKernel(SYS_process_vm_readv, to, to_count, from, from_count, length);
  }
  CopyHere(to, from, length);
  return true;
}

bool FilesCopyIn(void* to, const struct iovec* from, size_t from_count, uint64_t length) {
  const struct iovec whole = {to, length};
  if (length > kTouchedMax || !TouchAll(from, from_count, length, false)) {
    return CopyByKernel(SYS_process_vm_writev, from, from_count, &whole, 1, length);
  }
  CopyHere(&whole, from, length);
  return true;
}
