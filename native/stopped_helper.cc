#include "stopped_helper.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cstdint>

#include "shim_syscall.h"

namespace fauxdax {

namespace {

constexpr size_t kStackBytes = 64 << 10;

// The tracer. Its thread-local storage is that of the thread that made it, so nothing of libc.
int Trace(void* argument) {
  const auto tid = reinterpret_cast<intptr_t>(argument);
  Sys3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
  // SEIZE stops nobody. A thread that is stopped already tells so, and goes on alone.
  if (Sys4(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0) != 0) return 0;
  int status = 0;
  while (Sys4(SYS_wait4, tid, reinterpret_cast<intptr_t>(&status), __WALL, 0) == tid) {
    if (!WIFSTOPPED(status)) return 0;
    const bool is_event = status >> 16 == PTRACE_EVENT_STOP;
    // The stop is over, for all threads. Ending lets go of the helper.
    if (is_event && WSTOPSIG(status) == SIGTRAP) return 0;
    const long signal = is_event ? 0 : WSTOPSIG(status);
    if (Sys4(SYS_ptrace, PTRACE_CONT, tid, 0, signal) != 0) return 0;
  }
  return 0;
}

}  // namespace

StoppedHelper::~StoppedHelper() {
  if (tracer_ == 0) return;
  kill(tracer_, SIGKILL);
  waitpid(tracer_, nullptr, __WALL);
}

bool StoppedHelper::IsTracing() {
  if (tracer_ != 0 && waitpid(tracer_, nullptr, __WALL | WNOHANG) != 0) tracer_ = 0;
  return tracer_ != 0;
}

void StoppedHelper::Run(pid_t tid) {
  if (IsTracing()) return;
  if (stack_ == nullptr) stack_ = std::make_unique<std::byte[]>(kStackBytes);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int tracer = clone(Trace, stack_.get() + kStackBytes, CLONE_VM | CLONE_FS | CLONE_FILES,
                           reinterpret_cast<void*>(intptr_t{tid}));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (tracer > 0) tracer_ = tracer;
}

}  // namespace fauxdax
