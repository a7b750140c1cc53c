#include "stretch.h"

#include <signal.h>

#include "check.h"

namespace fauxdax {

namespace {

// Node has no name for real-time signals, so JavaScript cannot want this one.
int Signal() { return SIGRTMIN + 9; }

void Interrupt(int) {}

// How many stretches need the handler, which all threads share.
std::mutex handler_mutex;
int handler_users = 0;

// Installs the handler unless the signal is somebody else's.
bool Install() {
  const std::lock_guard lock(handler_mutex);
  struct sigaction present = {};
  CHECK(sigaction(Signal(), nullptr, &present) == 0, "a real-time signal exists");
  if (handler_users == 0) {
    if (present.sa_handler != SIG_DFL) return false;
    // Without SA_RESTART: the signal is there to end a read.
    struct sigaction ours = {};
    ours.sa_handler = Interrupt;
    CHECK(sigaction(Signal(), &ours, nullptr) == 0, "a real-time signal takes a handler");
  }
  handler_users++;
  return true;
}

void Uninstall() {
  const std::lock_guard lock(handler_mutex);
  if (--handler_users > 0) return;
  struct sigaction usual = {};
  usual.sa_handler = SIG_DFL;
  CHECK(sigaction(Signal(), &usual, nullptr) == 0, "a real-time signal loses its handler");
}

bool Blocked() {
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  return sigismember(&blocked, Signal()) != 0;
}

}  // namespace

Stretch::Stretch(Device* device)
    : device_(device), thread_(pthread_self()), usable_(!Blocked() && Install()) {}

Stretch::~Stretch() {
  CHECK(!on_, "a stretch ends before its session");
  if (usable_) Uninstall();
}

bool Stretch::Begin() {
  const std::lock_guard lock(mutex_);
  if (!granted_ || loop_wanted_ || !usable_) return false;
  CHECK(!on_, "one stretch at a time");
  on_ = true;
  over_.store(false, std::memory_order_relaxed);
  device_->SetBlocking(true);
  return true;
}

void Stretch::End() {
  const std::lock_guard lock(mutex_);
  if (!on_) return;
  on_ = false;
  // A signal sent before we had the lock is delivered on the way back from this system call at the
  // latest, so that it interrupts nothing else.
  device_->SetBlocking(false);
}

void Stretch::Turn(bool granted) {
  const std::lock_guard lock(mutex_);
  granted_ = granted;
  Interrupt();
}

void Stretch::WantLoop() {
  const std::lock_guard lock(mutex_);
  loop_wanted_ = true;
  Interrupt();
}

void Stretch::LoopHadTurn() {
  const std::lock_guard lock(mutex_);
  loop_wanted_ = false;
}

void Stretch::Interrupt() {
  if (!on_ || over_.load(std::memory_order_relaxed)) return;
  over_.store(true, std::memory_order_relaxed);
  device_->SetBlocking(false);
  CHECK(pthread_kill(thread_, Signal()) == 0, "the JavaScript thread lives during a stretch");
}

}  // namespace fauxdax
