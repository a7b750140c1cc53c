// How the addon starts its threads. Signals are for the threads of Node: it handles some of them in
// JavaScript. Only what a thread does to itself, a fault or an abort, it hears of, since a blocked
// fault ends the process without a handler: nothing would say why (last_words.h).
#ifndef FAUXDAX_OWN_THREAD_H_
#define FAUXDAX_OWN_THREAD_H_

#include <signal.h>

#include <thread>
#include <utility>

#include "last_words.h"

namespace fauxdax {

// Calls `run` in a thread of its own, which ends with it.
template <typename Run>
[[nodiscard]] std::thread StartThread(Run run) {
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  for (const int own : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS}) {
    sigdelset(&blocked, own);
  }
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  std::thread thread([run = std::move(run)]() mutable {
    const SignalStack stack;
    run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace fauxdax

#endif  // FAUXDAX_OWN_THREAD_H_
