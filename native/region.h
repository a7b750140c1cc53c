// The mapped region: page 0 is the superblock, pages 1 .. page_count-1 are data. Owns the mapping,
// the poisoned pages, the canary pattern and, in a crashable mount, the undecided lines.
//
// Any thread may call anything but Open() and the destructor. Offsets and lengths are bytes. Stores
// by two threads to the same bytes land in some order, byte by byte, as on the machine itself; who
// may store where is the business of the file maps and their gates. Without TrackUndecided(),
// Record() and poisoned pages no call takes a lock. Operating errors are positive errnos, 0 is
// success; a range outside the region or a store to a read-only region is a bug and ends the
// process.
//
// Order that matters: a store is durable only after a flush of its lines and then a Fence(). Every
// change to the bytes goes through Change() or FillCanaryPages() and every flush and fence through
// Flush() and Fence(): whoever must see all of them hooks in there. Stores by other processes are
// seen when watched pages are looked at. Lock order: the recorder's, then that of the undecided
// lines and the watched pages.
#ifndef FAUXDAX_REGION_H_
#define FAUXDAX_REGION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "page_watch.h"
#include "persist.h"
#include "poison.h"
#include "recorder.h"
#include "undecided.h"
#include "units.h"

namespace fauxdax {

class Region {
 public:
  // Maps `page_count` pages of the file or DAX device at `path`. A writable file gets its host
  // blocks allocated first, so that no later store meets a full host disk as SIGBUS. Errors: those
  // of open(2), fallocate(2) and mmap(2); EINVAL when the file is shorter than page_count pages or
  // is neither a file nor a character device. *out is set only on 0.
  static int Open(const char* path, uint64_t page_count, bool read_only,
                  std::unique_ptr<Region>* out);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  uint64_t page_count() const { return page_count_; }
  uint64_t size_bytes() const { return page_count_ * kPageBytes; }
  bool read_only() const { return read_only_; }
  // True when the mapping is MAP_SYNC: real persistent memory.
  bool synchronous() const { return synchronous_; }
  const std::string& path() const { return path_; }
  FlushInstruction flush_instruction() const { return persist_.flush_instruction(); }

  // The mapped bytes from `offset` to the end of the region. Ask Poisoned() before reading.
  const uint8_t* At(uint64_t offset) const { return base_ + offset; }

  // True when the range touches a poisoned page. One relaxed load when no page is poisoned.
  bool Poisoned(uint64_t offset, uint64_t length_bytes) const {
    return poison_.Any() && poison_.Touches(offset, length_bytes);
  }

  // Copies out. EIO, with nothing copied, when the range touches a poisoned page.
  [[nodiscard]] int Read(uint64_t offset, void* target, uint64_t length_bytes) const;

  // Plain stores: in the cache, undecided until flushed and fenced. EIO on a poisoned page.
  [[nodiscard]] int Store(uint64_t offset, const void* source, uint64_t length_bytes);
  // Stores and flushes: durable after the next Fence(). A poisoned page that the range wholly
  // covers is healed, as by the kernel's DAX recovery write; one covered in part is EIO, nothing
  // stored.
  [[nodiscard]] int StoreFlushed(uint64_t offset, const void* source, uint64_t length_bytes);
  // Zeroes and flushes. EIO, with nothing changed, when the range touches a poisoned page.
  [[nodiscard]] int ZeroFlushed(uint64_t offset, uint64_t length_bytes);
  // Copies inside the region and flushes; the ranges may overlap. EIO, with nothing changed, when
  // the source is poisoned or the target covers a part of a poisoned page; whole pages are healed.
  [[nodiscard]] int CopyFlushed(uint64_t from_offset, uint64_t to_offset, uint64_t length_bytes);

  // Pushes the lines that hold the range towards the persistence domain. `thread`: whose flush or
  // fence it is, of the filesystem or a program's thread.
  void Flush(uint64_t offset, uint64_t length_bytes, uint32_t thread = Recorder::kFilesystem);
  // Every line flushed before this call, by any thread, is durable when it returns. (The machine's
  // sfence orders only the calling thread; one persistence domain is our stated simplification.)
  // A recording is stricter: there a fence is its own thread's only.
  void Fence(uint32_t thread = Recorder::kFilesystem);

  // Fills pages with the canary (canary.h). The canary stands in for what the last owner left
  // behind, so it counts as durable at once and is never undecided. Poisoned pages keep their
  // poison.
  void FillCanary(uint64_t page, uint64_t page_count, uint64_t owner_ino);

  void Poison(uint64_t page);
  void Heal(uint64_t page);
  std::vector<uint64_t> PoisonedPages() const { return poison_.Pages(); }
  // How many those are is kept there too from here on, for other processes; nullptr: no more.
  void MirrorPoison(uint64_t* page_count) { poison_.Mirror(page_count); }

  // From here on the durable value of each undecided line is kept, for Crash(). What is in the
  // region now counts as durable. Called before other threads store; a second call does nothing.
  void TrackUndecided();
  bool tracks_undecided() const { return tracking_.load(std::memory_order_acquire); }
  uint64_t UndecidedLineCount() const;
  UndecidedCounters undecided_counters() const;

  // Processes that map these pages may store to them from here on: such stores are found by
  // looking, and count, and are recorded, as plain stores made then. Does nothing when nobody
  // sees_changes(). A store that is made after this call is never missed.
  void WatchPages(uint64_t page, uint64_t page_count);
  // Looks at watched pages now; `forget`: for the last time. A flush looks at its own, and
  // whoever changes bytes at those it changes.
  void Sweep();
  void SweepPages(uint64_t page, uint64_t page_count, bool forget);

  // Cuts the power: every undecided line takes the value `keep` gives it, and nothing is undecided
  // afterwards. Needs TrackUndecided(). A store another thread is making in that moment falls
  // before or after the crash, at 1 MiB granularity.
  CrashCount Crash(const Keep& keep);

  // From here on every change of bytes, flush and fence is recorded, in the order in which they
  // happen. Called once, before other threads store.
  void Record(std::shared_ptr<Recorder> recorder);
  bool records() const { return recorder_ != nullptr; }
  // Changes are recorded, or undecided lines tracked: who stores, flushes and fences must say so.
  bool sees_changes() const { return seen_.load(std::memory_order_acquire); }

  // msync(2) of the whole mapping: host durability. Errors: EIO, ENOSPC, as msync(2).
  [[nodiscard]] int SyncHost();

 private:
  // What happens to the lines of a Change() after their bytes changed.
  enum class After { kStored, kFlushed };

  Region(std::string path, uint8_t* base, uint64_t page_count, bool read_only, bool synchronous);
  void CheckRange(uint64_t offset, uint64_t length_bytes) const;
  void MoveFlushed(uint64_t from_offset, uint64_t to_offset, uint64_t length_bytes);
  // Changes bytes: write(offset, length_bytes) is called for consecutive pieces. `bytes` are what
  // the range holds afterwards, nullptr for zeros.
  template <typename Write>
  void Change(uint64_t offset, uint64_t length_bytes, const uint8_t* bytes, After after,
              Write write);
  // The same where somebody must see it.
  template <typename Write>
  void ChangeSeen(uint64_t offset, uint64_t length_bytes, const uint8_t* bytes, After after,
                  Write write);
  void FillCanaryPages(uint64_t page, uint64_t page_count, uint64_t owner_ino);
  // Notes what processes stored to watched pages. With the recorder's order and seen_mutex_ held.
  void FindStores(uint64_t page, uint64_t page_count);
  void FindStoresTo(uint64_t offset, uint64_t length_bytes);
  // The recorder's order while it is held; nothing when nobody records.
  std::unique_lock<std::mutex> RecordedOrder() const;

  const std::string path_;
  uint8_t* const base_;
  const uint64_t page_count_;
  const bool read_only_;
  const bool synchronous_;
  const Persist persist_;
  PoisonSet poison_;

  // Undecided lines are tracked, or changes recorded: the slow way.
  std::atomic<bool> seen_{false};
  std::atomic<bool> tracking_{false};
  mutable std::mutex seen_mutex_;         // of the next two
  std::unique_ptr<Undecided> undecided_;  // set once, before tracking_
  PageWatch watch_;
  std::shared_ptr<Recorder> recorder_;  // set once, before seen_
};

}  // namespace fauxdax

#endif  // FAUXDAX_REGION_H_
