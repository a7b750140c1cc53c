// Buffers that io_uring keeps: the kernel would go on writing to the pages that a mapping showed
// when they were registered, also when those have become another file's. A DAX filesystem refuses
// them (EOPNOTSUPP), and so does this, where a program registers through libc or through liburing
// as a shared library. What makes the system call by itself is not seen, see SPEC.md.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <sys/uio.h>

#include "shim.h"

// More than the kernel takes are refused by it.
enum { kBuffersMax = 1 << 14 };

static bool AnyOfOurs(const struct iovec* buffers, size_t count) {
  if (!ShimIsOn() || buffers == NULL || count > kBuffersMax) return false;
  for (size_t i = 0; i < count; i++) {
    const uint64_t start = (uint64_t)buffers[i].iov_base;
    const uint64_t end = start + buffers[i].iov_len;
    if (end > start && TableMayTouch(start, end)) return true;
  }
  return false;
}

bool PinsOurs(unsigned operation, const void* argument, size_t count) {
  if (operation == IORING_REGISTER_BUFFERS) return AnyOfOurs(argument, count);
  if (argument == NULL) return false;
  if (operation == IORING_REGISTER_BUFFERS2) {
    const struct io_uring_rsrc_register* made = argument;
    return AnyOfOurs((const struct iovec*)made->data, made->nr);
  }
  if (operation == IORING_REGISTER_BUFFERS_UPDATE) {
    const struct io_uring_rsrc_update2* made = argument;
    return AnyOfOurs((const struct iovec*)made->data, made->nr);
  }
  return false;
}

struct io_uring;

// liburing's own function, which who calls ours is linked with; negative errnos, as it has them.
#define OWN(name, type) ((type)(uintptr_t)dlsym(RTLD_NEXT, name))

SHIM_PUBLIC int io_uring_register_buffers(struct io_uring* ring, const struct iovec* buffers,
                                          unsigned count) {
  typedef int (*own)(struct io_uring*, const struct iovec*, unsigned);
  if (AnyOfOurs(buffers, count)) return -EOPNOTSUPP;
  return OWN("io_uring_register_buffers", own)(ring, buffers, count);
}

SHIM_PUBLIC int io_uring_register_buffers_tags(struct io_uring* ring, const struct iovec* buffers,
                                               const uint64_t* tags, unsigned count) {
  typedef int (*own)(struct io_uring*, const struct iovec*, const uint64_t*, unsigned);
  if (AnyOfOurs(buffers, count)) return -EOPNOTSUPP;
  return OWN("io_uring_register_buffers_tags", own)(ring, buffers, tags, count);
}

SHIM_PUBLIC int io_uring_register_buffers_update_tag(struct io_uring* ring, unsigned first,
                                                     const struct iovec* buffers,
                                                     const uint64_t* tags, unsigned count) {
  typedef int (*own)(struct io_uring*, unsigned, const struct iovec*, const uint64_t*, unsigned);
  if (AnyOfOurs(buffers, count)) return -EOPNOTSUPP;
  return OWN("io_uring_register_buffers_update_tag", own)(ring, first, buffers, tags, count);
}
