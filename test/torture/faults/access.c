#include "access.h"

#include <setjmp.h>
#include <signal.h>

#include "files.h"
#include "shadow.h"

static __thread sigjmp_buf bus_return;
static __thread volatile sig_atomic_t bus_expected;

static void OnBus(int signal, siginfo_t* info, void* context) {
  (void)context;
  if (signal == SIGBUS && bus_expected != 0) siglongjmp(bus_return, 1);
  Failed(0, 0, "signal %d, code %d at %p", signal, info->si_code, info->si_addr);
}

void AccessBegin(void) {
  struct sigaction action = {.sa_sigaction = OnBus, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
}

bool Access(volatile uint64_t* at, uint64_t* words, bool stores) {
  bus_expected = 1;
  if (sigsetjmp(bus_return, 1) != 0) {
    bus_expected = 0;
    return false;
  }
  for (int i = 0; i < kWords; i++) {
    if (stores)
      at[i] = words[i];
    else
      words[i] = at[i];
  }
  bus_expected = 0;
  return true;
}

/** Whether SIGBUS, or its absence, is right; the line's lock is held. */
static void CheckBus(int file, uint64_t line, bool was_bus, const char* how) {
  if (LineOf(file, line)->sizing > 0) return;
  uint64_t pages = (SizeOf(file) + kPageLines - 1) / kPageLines;
  bool is_beyond = line / kPageLines >= pages;
  if (was_bus == is_beyond) return;
  Failed(file, line, was_bus ? "%s is SIGBUS" : "%s beyond end of file is not SIGBUS", how);
}

void LoadShared(int file, uint64_t line, char* at, const char* how) {
  uint64_t words[kWords];
  LineLock(file, line);
  bool done = Access((uint64_t*)at, words, false);
  CheckBus(file, line, !done, how);
  if (done && (line < SizeOf(file) || LineOf(file, line)->sizing > 0)) {
    // Behind end of file, what stores left in the last page: only that it is ours.
    if (LineOf(file, line)->sizing > 0)
      LineCheckWild(file, line, words, how);
    else
      LineCheck(file, line, words, how);
  }
  LineUnlock(file, line);
}

void StoreShared(int file, uint64_t line, char* at, const char* how) {
  uint64_t words[kWords], stamp = NewStamp();
  LineWords(words, file, stamp);
  LineLock(file, line);
  bool done = Access((uint64_t*)at, words, true);
  CheckBus(file, line, !done, how);
  bool counts = line < SizeOf(file) || LineOf(file, line)->sizing > 0;
  if (done && counts) LineStored(file, line, stamp);
  LineUnlock(file, line);
}
