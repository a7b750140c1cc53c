// Writes that processes under `fauxdax run` queue in shared memory (wire_writes.h) instead of
// sending them through the kernel: the daemon's side.
//
// A write that has returned is seen by everybody, because what is queued is stored before anything
// else is done: before each request is served (Store), and when a gate was closed, before the map
// changes (StoreClosed). Nobody is waited for: a write that is not committed yet has not returned,
// and one that was looked up over an older map is taken back by its process. Writes are stored in
// the order of their numbers, so one that began after another had returned comes after it.
//
// Either serving thread stores; the fault server's adds and removes queues. Lock order: the table
// of files, this mutex, a gate.
#ifndef FAUXDAX_QUEUED_WRITES_H_
#define FAUXDAX_QUEUED_WRITES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "file_table.h"
#include "published_files.h"
#include "region.h"
#include "wire_writes.h"

namespace fauxdax {

class QueuedWrites {
 public:
  // All three outlive it. Errors: those of memfd_create(2), ftruncate(2), mmap(2).
  static int Make(FileTable* files, const PublishedFiles* published, Region* region,
                  std::unique_ptr<QueuedWrites>* out);
  ~QueuedWrites();
  QueuedWrites(const QueuedWrites&) = delete;
  QueuedWrites& operator=(const QueuedWrites&) = delete;

  // The counts that all processes share.
  int counts_fd() const { return counts_fd_; }
  // A queue for a process, which maps it by *fd; that is the caller's. The same errors; EEXIST when
  // it has one.
  [[nodiscard]] int AddQueue(uint64_t client, int* fd);
  // The process has ended. What it committed is stored still.
  void RemoveQueue(uint64_t client);

  // Stores what had returned when this was called. JavaScript thread, or inside the file table's
  // SharedLock(): there false when a closed gate was in the way, and the script has to do it.
  [[nodiscard]] bool Store();
  // The same for a file whose gate was closed just now; JavaScript thread.
  void StoreClosed(FileMap* file);
  // At ShowIn(): begun writes of whom the slot was before do not count.
  void Settle(wire_file* slot);

  uint64_t stored() const { return stored_.load(std::memory_order_relaxed); }

 private:
  struct Queue {
    uint64_t client;
    wire_queue* shared;
    bool is_over;
  };
  struct Committed {
    uint64_t sequence;
    uint64_t ino;
    wire_write* write;
    const uint8_t* bytes;
  };

  QueuedWrites(FileTable* files, const PublishedFiles* published, Region* region, int counts_fd,
               wire_counts* counts)
      : files_(files),
        published_(published),
        region_(region),
        counts_fd_(counts_fd),
        counts_(counts) {}

  // With the mutex held. Into `found_`, in order, what is committed with a number below `end`;
  // false when there is more.
  bool Find(uint64_t end);
  // Takes a write that was looked up when the file's changes were so many, and stores it.
  void Take(const Committed& committed, FileMap* file, uint64_t changes);
  uint64_t IndexOf(const wire_file* slot) const { return slot - &published_->table().files[0][0]; }
  // False when a closed gate was in the way.
  [[nodiscard]] bool DropQueuesThatAreOver();
  // Writes that a process had begun, and counted, when it ended: as if their files had changed,
  // nothing is awaited of them any more. The same.
  [[nodiscard]] bool SettleBegun(const Queue& queue);
  // After `changes` of the file was counted, with nobody else inside its gate.
  void StoreAnnounced(FileMap* file, wire_file* slot);

  FileTable* const files_;
  const PublishedFiles* const published_;
  Region* const region_;
  const int counts_fd_;
  wire_counts* const counts_;
  std::atomic<uint64_t> queue_count_{0};
  std::atomic<uint64_t> stored_{0};

  std::mutex mutex_;  // of all below
  std::vector<Queue> queues_;
  std::vector<Committed> found_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_QUEUED_WRITES_H_
