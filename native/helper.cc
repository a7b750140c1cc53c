#include "helper.h"

#include <pthread.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "check.h"
#include "own_thread.h"

namespace fauxdax {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{1};
constexpr milliseconds kIdleTick{20};
// Ticks without a request after which the longer tick is enough.
constexpr int kQuietTicksMax = 50;
// Signs of life in a tick that make the next one worth a stretch.
constexpr uint64_t kHotProgress = 16;
// How long the helper waits for one more request before it believes that none is coming.
constexpr int kQuietWaitsMax = 5;
// Requests waiting for JavaScript; beyond that they wait in the kernel.
constexpr size_t kPickedBytesMax = size_t{64} << 20;

}  // namespace

Helper::Helper(Device* device, DataService* data, Stretch* stretch, Recorder* recorder, Wake wake,
               void* owner)
    : device_(device),
      data_(data),
      stretch_(stretch),
      recorder_(recorder),
      wake_(wake),
      owner_(owner) {
  thread_ = StartThread([this] { Run(); });
}

Helper::~Helper() {
  RequestStop();
  thread_.join();
}

void Helper::Run() {
  pthread_setname_np(pthread_self(), "fauxdax-helper");
  int quiet_ticks = 0;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const bool dozes = quiet_ticks >= kQuietTicksMax;
    dozes_ = dozes;
    wanted_.wait_for(lock, dozes ? kIdleTick : kTick,
                     [&] { return stop_ || !notifications_.empty() || dozes_ != dozes; });
    const uint64_t progress = progress_.load(std::memory_order_relaxed);
    // A notification may take long, and who takes over must not block: no stretch meanwhile.
    stretch_->Turn(notifications_.empty() && !stop_ && progress >= seen_progress_ + kHotProgress);
    Notify(&lock);
    if (progress != seen_progress_) {
      seen_progress_ = progress;
      quiet_ticks = 0;
      continue;
    }
    lock.unlock();
    if (!stop_ && device_->Readable(0)) {
      TakeOver();
      quiet_ticks = 0;
    } else if (quiet_ticks < kQuietTicksMax) {
      quiet_ticks++;
    }
    lock.lock();
  }
  finished_ = true;
}

void Helper::Notify(std::unique_lock<std::mutex>* lock) {
  while (!notifications_.empty() && !stop_) {
    const Notification notification = std::move(notifications_.front());
    notifications_.pop_front();
    notification_waits_ = !notifications_.empty();
    lock->unlock();
    Send(notification);
    notifications_done_.fetch_add(1);
    wake_(owner_);
    lock->lock();
  }
}

void Helper::Send(const Notification& notification) {
  int error;
  if (notification.name.empty()) {
    const fuse_notify_inval_inode_out out = {notification.ino, notification.offset,
                                             notification.length_bytes};
    error = device_->Notify(FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out), nullptr, 0);
  } else {
    // The kernel wants the final zero byte, and does not count it.
    fuse_notify_inval_entry_out out = {};
    out.parent = notification.ino;
    out.namelen = static_cast<uint32_t>(notification.name.size());
    error = device_->Notify(FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof(out), notification.name.c_str(),
                            notification.name.size() + 1);
  }
  // ENOENT: not cached, or never looked up. ENOTDIR: the parent's number means another file by now.
  // ENODEV: unmounted, or INIT has not come yet and nothing is cached.
  CHECK(error != EINVAL && error != EFAULT && error != EBADF, "the kernel takes our notifications");
}

void Helper::TakeOver() {
  int quiet_waits = 0;
  while (!stop_ && !notification_waits_ && quiet_waits < kQuietWaitsMax) {
    const uint64_t progress = progress_.load(std::memory_order_relaxed);
    if (progress != seen_progress_) {
      seen_progress_ = progress;
      return;
    }
    if (device_->Readable(1)) {
      quiet_waits = 0;
      ServeOne();
    } else {
      quiet_waits++;
    }
  }
}

void Helper::ServeOne() {
  if (picked_bytes_.load(std::memory_order_relaxed) >= kPickedBytesMax) {
    std::this_thread::sleep_for(kTick);
    return;
  }
  size_t length_bytes = 0;
  if (device_->Receive(buffer_, &length_bytes) != 0) {
    // Nothing left, or the connection ended, which the JavaScript thread will see for itself.
    std::this_thread::sleep_for(kTick);
    return;
  }
  requests_.fetch_add(1, std::memory_order_relaxed);
  const Request request = buffer_.Parse(length_bytes);
  const Recorder::Serving serving(recorder_, request, false);
  if (data_->Serve(request, ServingThread::kHelper)) {
    answered_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    picked_.emplace_back(buffer_.data(), buffer_.data() + length_bytes);
    picked_bytes_ += length_bytes;
  }
  wake_(owner_);
}

bool Helper::TakePicked(const RequestBuffer& buffer, size_t* length_bytes) {
  if (picked_bytes_.load(std::memory_order_acquire) == 0) return false;
  std::lock_guard lock(mutex_);
  if (picked_.empty()) return false;
  const std::vector<uint8_t>& bytes = picked_.front();
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  *length_bytes = bytes.size();
  picked_bytes_ -= bytes.size();
  picked_.pop_front();
  return true;
}

void Helper::InvalidateInode(uint64_t ino, int64_t offset, int64_t length_bytes) {
  Queue({ino, offset, length_bytes, {}});
}

void Helper::InvalidateEntry(uint64_t parent_ino, std::string name) {
  CHECK(!name.empty(), "an entry has a name");
  Queue({parent_ino, 0, 0, std::move(name)});
}

void Helper::Queue(Notification notification) {
  notifications_queued_++;
  std::lock_guard lock(mutex_);
  notifications_.push_back(std::move(notification));
  notification_waits_ = true;
  wanted_.notify_one();
}

void Helper::Stir() {
  if (!dozes_.load(std::memory_order_relaxed)) return;
  std::lock_guard lock(mutex_);
  dozes_ = false;
  wanted_.notify_one();
}

void Helper::RequestStop() {
  std::lock_guard lock(mutex_);
  stop_ = true;
  wanted_.notify_one();
}

}  // namespace fauxdax
