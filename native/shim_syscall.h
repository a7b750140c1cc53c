// System calls of the shim, straight to the kernel. The shim's own threads have no thread-local
// storage (see shim_thread.c), so nothing here may touch errno; the program's calls that are
// passed on must not come back into the shim. All return the kernel's value: a negative errno on
// failure. x86-64.
#ifndef FAUXDAX_SHIM_SYSCALL_H_
#define FAUXDAX_SHIM_SYSCALL_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static inline long Sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static inline long Sys4(long number, long a, long b, long c, long d) {
  return Sys6(number, a, b, c, d, 0, 0);
}

static inline long Sys3(long number, long a, long b, long c) {
  return Sys6(number, a, b, c, 0, 0, 0);
}

static inline long SysClose(long fd) { return Sys3(SYS_close, fd, 0, 0); }

static inline long SysIoctl(long fd, unsigned long request, void* argument) {
  return Sys3(SYS_ioctl, fd, (long)request, (long)argument);
}

static inline long SysMmap(uint64_t address, uint64_t length, int prot, int flags, long fd,
                           uint64_t offset) {
  return Sys6(SYS_mmap, (long)address, (long)length, prot, flags, fd, (long)offset);
}

static inline long SysMunmap(uint64_t address, uint64_t length) {
  return Sys3(SYS_munmap, (long)address, (long)length, 0);
}

static inline long SysMprotect(uint64_t address, uint64_t length, int prot) {
  return Sys3(SYS_mprotect, (long)address, (long)length, prot);
}

static inline long SysMadvise(uint64_t address, uint64_t length, int advice) {
  return Sys3(SYS_madvise, (long)address, (long)length, advice);
}

static inline long SysMremap(uint64_t address, uint64_t old_length, uint64_t length, int flags,
                             uint64_t target) {
  return Sys6(SYS_mremap, (long)address, (long)old_length, (long)length, flags, (long)target, 0);
}

// mmap and mremap give addresses, which are never in the last page.
static inline int IsError(long result) { return (unsigned long)result >= (unsigned long)-4095; }

#endif  // FAUXDAX_SHIM_SYSCALL_H_
