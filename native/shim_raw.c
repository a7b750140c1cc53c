// Calls that a program makes by libc's syscall(), and not by the function that libc has for each:
// they do the same. What makes the system call by itself is not seen.
//
// Not by way of those functions: a program may have one of its own, an allocator's mmap say, which
// comes here in its turn.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "shim.h"
#include "shim_sandbox.h"

static long Call(long number, const long* words) {
  const uint64_t start = (uint64_t)words[0];
  const uint64_t length = (uint64_t)words[1];
  switch (number) {
    case SYS_mmap:
      return CallMmap(start, length, (int)words[2], (int)words[3], (int)words[4],
                      (uint64_t)words[5]);
    case SYS_munmap:
      return CallMunmap(start, length);
    case SYS_mremap:
      return CallMremap(start, length, (uint64_t)words[2], (int)words[3], (uint64_t)words[4]);
    case SYS_mprotect:
      return CallMprotect(start, length, (int)words[2], -1);
    case SYS_pkey_mprotect:
      return CallMprotect(start, length, (int)words[2], (int)words[3]);
    case SYS_madvise:
      return CallMadvise(start, length, (int)words[2]);
    case SYS_msync:
      return CallMsync(start, length, (int)words[2]);
    case SYS_mlockall:
      return CallMlockall((int)words[0]);
    case SYS_fallocate:
      return CallFallocate((int)words[0], (int)words[1], words[2], words[3]);
    case SYS_io_uring_register:
      if (PinsOurs((unsigned)words[1], (const void*)words[2], (size_t)words[3])) return -EOPNOTSUPP;
      break;
    default:
      SandboxNote(number, words[0]);
  }
  return Sys6(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

SHIM_PUBLIC long syscall(long number, ...) {
  long words[6];
  va_list rest;
  va_start(rest, number);
  for (size_t i = 0; i < 6; i++) words[i] = va_arg(rest, long);
  va_end(rest);
  return ShimResult(Call(number, words));
}
