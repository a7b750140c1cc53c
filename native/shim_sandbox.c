// Programs that take system calls away from themselves (seccomp). What is served in the process
// asks the kernel about descriptors by calls that the program does not make, and could be killed
// for; so from then on its reads and writes are just those.
#define _GNU_SOURCE
#include "shim_sandbox.h"

#include <stdarg.h>
#include <sys/prctl.h>

#include "shim.h"
#include "shim_syscall.h"

static _Atomic bool is_entered;

bool SandboxIsEntered(void) { return atomic_load_explicit(&is_entered, memory_order_relaxed); }

void SandboxNote(long number, long first) {
  if (number == SYS_seccomp || (number == SYS_prctl && first == PR_SET_SECCOMP)) {
    atomic_store(&is_entered, true);
  }
}

SHIM_PUBLIC int prctl(int option, ...) {
  long words[4];
  va_list rest;
  va_start(rest, option);
  for (size_t i = 0; i < 4; i++) words[i] = va_arg(rest, long);
  va_end(rest);
  SandboxNote(SYS_prctl, option);
  return (int)ShimResult(Sys6(SYS_prctl, option, words[0], words[1], words[2], words[3], 0));
}
