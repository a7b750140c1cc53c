// The gate of one shared file: the invalidate lock between native reads and writes and the changes
// that TypeScript makes to the file's map. Reads pass it together; a write passes it alone, so that
// a read sees all of a write or nothing of it; a closed gate lets nobody in.
//
// Either serving thread enters and leaves; only the JavaScript thread closes and opens. What
// happens inside is a bounded copy that waits for nothing, so waiting here spins and yields.
//
// Processes that read by themselves (wire_files.h) do not pass it: they see in a generation whether
// anything may have changed meanwhile.
#ifndef FAUXDAX_GATE_H_
#define FAUXDAX_GATE_H_

#include <sched.h>

#include <atomic>
#include <cstdint>

#include "check.h"
#include "wire_files.h"

namespace fauxdax {

class GateWatch {
 public:
  virtual ~GateWatch() = default;
  // Closed just now, and nothing has changed yet. JavaScript thread.
  virtual void GateClosed() = 0;
};

class Gate {
 public:
  // False when the gate is closed.
  [[nodiscard]] bool EnterShared() {
    uint32_t state = state_.load(std::memory_order_relaxed);
    while (!(state & kClosed)) {
      if (state & kAlone) {
        sched_yield();
        state = state_.load(std::memory_order_relaxed);
      } else if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) {
        return true;
      }
    }
    return false;
  }

  void LeaveShared() { state_.fetch_sub(1, std::memory_order_release); }

  // False when the gate is closed.
  [[nodiscard]] bool EnterAlone() {
    uint32_t state = state_.load(std::memory_order_relaxed);
    while (!(state & kClosed)) {
      if (state != 0) {
        sched_yield();
        state = state_.load(std::memory_order_relaxed);
      } else if (state_.compare_exchange_weak(state, kAlone, std::memory_order_acquire)) {
        BeginChange();
        return true;
      }
    }
    return false;
  }

  void LeaveAlone() {
    EndChange();
    state_.fetch_and(~kAlone, std::memory_order_release);
  }

  // Waits until everyone inside has left. Not nested.
  void Close() {
    uint32_t before = state_.fetch_or(kClosed, std::memory_order_acquire);
    CHECK(!(before & kClosed), "a gate is closed once");
    while (state_.load(std::memory_order_acquire) != kClosed) sched_yield();
    BeginChange();
    if (watch_ == nullptr) return;
    // Whoever looked before has to look again; who does not see this is seen by the watch.
    __atomic_fetch_add(&slot_->changes, 1, __ATOMIC_SEQ_CST);
    watch_->GateClosed();
  }

  void Open() {
    CHECK(closed(), "only a closed gate is opened");
    EndChange();
    state_.fetch_and(~kClosed, std::memory_order_release);
  }

  // Closes the gate for a scope, unless it is closed already; JavaScript thread.
  class Hold {
   public:
    explicit Hold(Gate* gate) : gate_(gate->closed() ? nullptr : gate) {
      if (gate_ != nullptr) gate_->Close();
    }
    ~Hold() {
      if (gate_ != nullptr) gate_->Open();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Gate* const gate_;
  };

  bool closed() const { return state_.load(std::memory_order_relaxed) & kClosed; }

  // While closed. From here on the slot's generation is odd whenever the gate is closed or somebody
  // is alone inside, and its changes are counted; nullptr: that of the one before is left even.
  void ShowChanges(wire_file* slot, GateWatch* watch) {
    CHECK(closed(), "a slot comes while the gate is closed");
    EndChange();
    slot_ = slot;
    watch_ = slot == nullptr ? nullptr : watch;
    BeginChange();
  }

 private:
  // Odd is seen before any change, even after all of them: these are full barriers, for stores
  // past the cache too.
  void BeginChange() {
    if (slot_ != nullptr) __atomic_fetch_add(&slot_->generation, 1, __ATOMIC_SEQ_CST);
  }
  void EndChange() {
    if (slot_ != nullptr) __atomic_fetch_add(&slot_->generation, 1, __ATOMIC_SEQ_CST);
  }

  static constexpr uint32_t kClosed = uint32_t{1} << 31;
  static constexpr uint32_t kAlone = uint32_t{1} << 30;

  // Those inside together, or kAlone; and kClosed.
  std::atomic<uint32_t> state_{0};
  wire_file* slot_ = nullptr;  // changed while closed; used by who closed it or is alone
  GateWatch* watch_ = nullptr;
};

}  // namespace fauxdax

#endif  // FAUXDAX_GATE_H_
