// A lock of one word over futexes, for threads of the program and of the shim alike. Whoever takes
// one has all signals blocked: no handler runs, and no cancellation ends the thread, in between.
#ifndef FAUXDAX_SHIM_LOCK_H_
#define FAUXDAX_SHIM_LOCK_H_

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>

#include "shim_syscall.h"

struct shim_lock {
  _Atomic uint32_t state;  // 0 free, 1 held, 2 held and waited for
};

// Sleeps while *word is `value`; may return for no reason.
static inline void FutexWait(_Atomic uint32_t* word, uint32_t value) {
  Sys4(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0);
}

static inline void FutexWake(_Atomic uint32_t* word, int count) {
  Sys3(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count);
}

static inline void Lock(struct shim_lock* lock) {
  uint32_t free = 0;
  if (atomic_compare_exchange_strong(&lock->state, &free, 1)) return;
  while (atomic_exchange(&lock->state, 2) != 0) FutexWait(&lock->state, 2);
}

static inline void Unlock(struct shim_lock* lock) {
  if (atomic_exchange(&lock->state, 0) == 2) FutexWake(&lock->state, 1);
}

// Blocks every signal, also the two that glibc keeps to itself; returns what was blocked before.
static inline uint64_t BlockSignals(void) {
  const uint64_t all = ~UINT64_C(0);
  uint64_t before = 0;
  Sys4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof(all));
  return before;
}

static inline void RestoreSignals(uint64_t before) {
  Sys4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof(before));
}

#endif  // FAUXDAX_SHIM_LOCK_H_
