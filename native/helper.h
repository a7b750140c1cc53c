// The helper thread of a session. It answers READs and WRITEs while JavaScript is busy elsewhere,
// and it alone sends notifications: a notification blocks while the kernel writes back dirty pages,
// and those WRITEs need a serving thread that is not the one that notifies.
//
// It wakes each millisecond (each 20 when nothing goes on), and takes over when a request waits
// although JavaScript has made no progress since the last tick; at the first progress it lets go.
// Requests that it took and may not answer are handed to the JavaScript thread through Picked().
// Each tick ends the stretch under way (stretch.h), and grants another one after a tick with many
// requests.
//
// The JavaScript thread makes, asks and stops it. Requests and notifications handed over are owned
// by the mutex. `wake` is called on the helper thread, without the mutex.
#ifndef FAUXDAX_HELPER_H_
#define FAUXDAX_HELPER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data_service.h"
#include "device.h"
#include "recorder.h"
#include "stretch.h"

namespace fauxdax {

class Helper {
 public:
  using Wake = void (*)(void* owner);

  // Starts the thread. All pointers outlive it; wake(owner) is called when something was picked or
  // a notification is done. Without `recorder` nothing is recorded.
  Helper(Device* device, DataService* data, Stretch* stretch, Recorder* recorder, Wake wake,
         void* owner);
  ~Helper();
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  // JavaScript thread: one more sign of life.
  void NoteProgress() { progress_.fetch_add(1, std::memory_order_relaxed); }
  // JavaScript thread: much goes on, so the long tick ends. Cheap when it is the short one.
  void Stir();

  // JavaScript thread. The next request to serve in the helper's place; false when there is none.
  // The bytes replace those of `buffer`.
  bool TakePicked(const RequestBuffer& buffer, size_t* length_bytes);

  // JavaScript thread. Queued in this order; sent soon. length 0 is to the end, offset -1
  // attributes only. What the kernel does not know (any more) is no error.
  void InvalidateInode(uint64_t ino, int64_t offset, int64_t length_bytes);
  void InvalidateEntry(uint64_t parent_ino, std::string name);
  // How many were queued, and how many of them are carried out.
  uint64_t notifications_queued() const { return notifications_queued_; }
  uint64_t notifications_done() const { return notifications_done_.load(); }

  // How many it took, and how many of them it answered; the others were picked.
  uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  uint64_t answered() const { return answered_.load(std::memory_order_relaxed); }

  // JavaScript thread. Asks the thread to end; notifications not yet begun are dropped. It ends
  // once the one under way is through, which may need answers: serve until finished(), then
  // destroy.
  void RequestStop();
  bool finished() const { return finished_.load(); }

 private:
  struct Notification {
    uint64_t ino;  // the parent's when there is a name
    int64_t offset;
    int64_t length_bytes;
    std::string name;
  };

  void Run();
  void Queue(Notification notification);
  // Sends what is queued, one after the other.
  void Notify(std::unique_lock<std::mutex>* lock);
  void Send(const Notification& notification);
  // Serves until JavaScript makes progress, or has nothing to do.
  void TakeOver();
  void ServeOne();

  Device* const device_;
  DataService* const data_;
  Stretch* const stretch_;
  Recorder* const recorder_;
  const Wake wake_;
  void* const owner_;
  RequestBuffer buffer_;

  std::atomic<uint64_t> progress_{0};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> answered_{0};
  std::atomic<uint64_t> notifications_done_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> finished_{false};
  uint64_t notifications_queued_ = 0;  // JavaScript thread only

  std::mutex mutex_;
  std::condition_variable wanted_;  // with mutex_: a notification or the stop
  std::deque<Notification> notifications_;
  std::deque<std::vector<uint8_t>> picked_;
  std::atomic<bool> notification_waits_{false};
  std::atomic<bool> dozes_{false};       // in the long tick; changed with the mutex held
  std::atomic<size_t> picked_bytes_{0};  // changed with the mutex held

  uint64_t seen_progress_ = 0;  // helper thread only

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace fauxdax

#endif  // FAUXDAX_HELPER_H_
