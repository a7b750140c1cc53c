// Stretches: while requests follow each other closely, the JavaScript thread waits for the next one
// in a blocking read(2) of /dev/fuse and not in its event loop, which costs several system calls a
// turn. What else the loop waits for is late by one stretch at most.
//
// The helper thread grants stretches and ends each one at its next tick, so that a stretch lasts a
// millisecond; others end it early with WantLoop(). To end one it takes the device's blocking mode
// away and then sends the JavaScript thread a signal: a read that begins afterwards returns, one
// that has begun is interrupted. Outside a stretch the device never blocks, so that others may read
// it.
#ifndef FAUXDAX_STRETCH_H_
#define FAUXDAX_STRETCH_H_

#include <pthread.h>

#include <atomic>
#include <mutex>

#include "device.h"

namespace fauxdax {

class Stretch {
 public:
  // On the JavaScript thread.
  explicit Stretch(Device* device);
  ~Stretch();
  Stretch(const Stretch&) = delete;
  Stretch& operator=(const Stretch&) = delete;

  // JavaScript thread. Reads block from here on until End(); false when no stretch is granted.
  [[nodiscard]] bool Begin();
  // JavaScript thread. Whether the helper wants it to end.
  bool over() const { return over_.load(std::memory_order_relaxed); }
  // JavaScript thread. Reads do not block, and no signal is under way. May be called at any time.
  void End();

  // Helper thread. Ends the stretch under way, and grants others until the next call or none.
  void Turn(bool granted);

  // Any thread. The event loop has something to do that no time-out says: ends the stretch under
  // way, and no other begins before LoopHadTurn().
  void WantLoop();
  // JavaScript thread.
  void LoopHadTurn();

 private:
  // With the mutex held.
  void Interrupt();

  Device* const device_;
  const pthread_t thread_;
  // The signal is ours, and the thread gets it.
  const bool usable_;

  // Protects the following, the device's mode, and the signal: sent only while `on_`.
  std::mutex mutex_;
  bool granted_ = false;
  bool loop_wanted_ = false;
  bool on_ = false;
  std::atomic<bool> over_{false};
};

}  // namespace fauxdax

#endif  // FAUXDAX_STRETCH_H_
