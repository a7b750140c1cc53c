#include "queued_writes.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "in_place.h"
#include "shared_memory.h"

namespace fauxdax {

namespace {

uint64_t Load(const uint64_t& field) { return __atomic_load_n(&field, __ATOMIC_SEQ_CST); }

}  // namespace

int QueuedWrites::Make(FileTable* files, const PublishedFiles* published, Region* region,
                       std::unique_ptr<QueuedWrites>* out) {
  int fd;
  void* counts;
  const int error = MakeShared("fauxdax-writes", sizeof(wire_counts), &fd, &counts);
  if (error != 0) return error;
  out->reset(new QueuedWrites(files, published, region, fd, static_cast<wire_counts*>(counts)));
  return 0;
}

QueuedWrites::~QueuedWrites() {
  for (const Queue& queue : queues_) munmap(queue.shared, sizeof(wire_queue));
  munmap(counts_, sizeof(wire_counts));
  close(counts_fd_);
}

int QueuedWrites::AddQueue(uint64_t client, int* fd) {
  const std::lock_guard lock(mutex_);
  for (const Queue& queue : queues_) {
    if (queue.client == client) return EEXIST;
  }
  void* shared;
  const int error = MakeShared("fauxdax-writes", sizeof(wire_queue), fd, &shared);
  if (error != 0) return error;
  queues_.push_back({client, static_cast<wire_queue*>(shared), false});
  queue_count_.store(queues_.size());
  return 0;
}

void QueuedWrites::RemoveQueue(uint64_t client) {
  const std::lock_guard lock(mutex_);
  for (Queue& queue : queues_) {
    if (queue.client != client) continue;
    queue.is_over = true;
    __atomic_store_n(&queue.shared->is_over, 1, __ATOMIC_SEQ_CST);
  }
  // Of all of it, so that somebody looks.
  __atomic_store_n(&counts_->pending, 1, __ATOMIC_SEQ_CST);
}

bool QueuedWrites::DropQueuesThatAreOver() {
  bool are_all = true;
  std::erase_if(queues_, [&](const Queue& queue) {
    if (!queue.is_over) return false;
    if (!SettleBegun(queue)) {
      are_all = false;
      return false;
    }
    munmap(queue.shared, sizeof(wire_queue));
    return true;
  });
  queue_count_.store(queues_.size());
  return are_all;
}

bool QueuedWrites::SettleBegun(const Queue& queue) {
  for (const wire_write& write : queue.shared->writes) {
    if ((Load(write.state) & 3) == WIRE_WRITE_FREE) continue;
    const uint64_t index = Load(write.slot);
    if (index >= uint64_t{WIRE_FILE_SETS} * WIRE_FILE_WAYS) continue;
    const wire_file* const begun = &published_->table().files[0][0] + index;
    FileMap* const file = files_->Find(Load(begun->ino));
    if (file == nullptr || file->slot() != begun) continue;
    if (!file->gate().EnterAlone()) return false;
    wire_file* const slot = file->slot();
    __atomic_fetch_add(&slot->changes, 1, __ATOMIC_SEQ_CST);
    StoreAnnounced(file, slot);
    file->gate().LeaveAlone();
  }
  return true;
}

bool QueuedWrites::Find(uint64_t end) {
  found_.clear();
  bool is_all = true;
  for (const Queue& queue : queues_) {
    for (uint32_t i = 0; i < WIRE_QUEUE_WRITES; i++) {
      wire_write* const write = &queue.shared->writes[i];
      const uint64_t state = Load(write->state);
      if ((state & 3) != WIRE_WRITE_COMMITTED) continue;
      if (state >> 2 < end) {
        found_.push_back({state >> 2, write->ino, write, queue.shared->bytes[i]});
      } else {
        is_all = false;
      }
    }
  }
  std::sort(found_.begin(), found_.end(), [](const Committed& one, const Committed& other) {
    return one.sequence < other.sequence;
  });
  return is_all;
}

bool QueuedWrites::Store() {
  if (queue_count_.load() == 0) return true;
  const std::lock_guard lock(mutex_);
  if (__atomic_exchange_n(&counts_->pending, 0, __ATOMIC_SEQ_CST) == 0) return true;
  // One that is committed while we look may have begun after one that we did not see.
  bool is_all = Find(Load(counts_->sequence));
  bool was_open = true;
  for (const Committed& committed : found_) {
    FileMap* const file = files_->Find(committed.ino);
    if (file == nullptr) continue;
    if (!file->gate().EnterAlone()) {
      was_open = false;
      break;
    }
    const wire_file* const slot = file->slot();
    if (slot != nullptr) Take(committed, file, Load(slot->changes));
    file->gate().LeaveAlone();
  }
  if (is_all && was_open) is_all = DropQueuesThatAreOver();
  if (!is_all || !was_open) __atomic_store_n(&counts_->pending, 1, __ATOMIC_SEQ_CST);
  return was_open;
}

void QueuedWrites::StoreClosed(FileMap* file) {
  wire_file* const slot = file->slot();
  if (slot == nullptr) return;
  const std::lock_guard lock(mutex_);
  StoreAnnounced(file, slot);
}

void QueuedWrites::StoreAnnounced(FileMap* file, wire_file* slot) {
  if (!queues_.empty()) {
    Find(Load(counts_->sequence));
    const uint64_t changes = Load(slot->changes) - 1;
    for (const Committed& committed : found_) {
      if (committed.ino == file->ino()) Take(committed, file, changes);
    }
  }
  Settle(slot);
}

void QueuedWrites::Settle(wire_file* slot) {
  // What began before and is not stored is taken back: its process sees that there was a change.
  const uint64_t queued = Load(counts_->queued[IndexOf(slot)]);
  __atomic_store_n(&slot->settled, queued, __ATOMIC_RELEASE);
}

void QueuedWrites::Take(const Committed& committed, FileMap* file, uint64_t changes) {
  wire_write* const write = committed.write;
  wire_file* const slot = file->slot();
  // Read once: the memory is the process's.
  const wire_write asked = *write;
  if (asked.ino != committed.ino || asked.changes != changes || asked.slot != IndexOf(slot)) return;
  uint64_t state = committed.sequence << 2 | WIRE_WRITE_COMMITTED;
  const uint64_t taken = committed.sequence << 2 | WIRE_WRITE_TAKEN;
  if (!__atomic_compare_exchange_n(&write->state, &state, taken, false, __ATOMIC_SEQ_CST,
                                   __ATOMIC_SEQ_CST)) {
    return;
  }
  const uint64_t length_bytes = std::min<uint64_t>(asked.length, WIRE_WRITE_BYTES_MAX);
  // A page that was poisoned since loses these bytes with the others.
  if (StoreInPlace(region_, *file, asked.offset, committed.bytes, length_bytes) == EAGAIN) {
    (void)StorePagesInRoom(region_, file, asked.offset, committed.bytes, length_bytes);
  }
  const int64_t time = std::min(asked.time, FileClock::Realtime());
  if (file->TouchMtimeAt(files_->clock(), time)) files_->NoteTouched(file);
  __atomic_fetch_add(&slot->settled, 1, __ATOMIC_RELEASE);
  __atomic_store_n(&write->state, WIRE_WRITE_FREE, __ATOMIC_RELEASE);
  stored_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace fauxdax
