// What native service knows of one shared file: a copy of its extents, its size, what it may do,
// its gate, and the times that native reads and writes left behind. Pages count 4 KiB, times are
// nanoseconds since 1970.
//
// The JavaScript thread owns it and changes map and size with the gate closed; either serving
// thread reads them from inside the gate. Service bits and times are atomic and need no gate.
#ifndef FAUXDAX_FILE_MAP_H_
#define FAUXDAX_FILE_MAP_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "file_clock.h"
#include "gate.h"
#include "units.h"
#include "wire_files.h"

namespace fauxdax {

// A run of file pages on region pages. Unwritten pages read as zeros and are not written natively.
struct MapExtent {
  uint64_t file_page;
  uint64_t region_page;
  uint64_t page_count;
  bool written;

  uint64_t end_page() const { return file_page + page_count; }
};

// What native service may do with a file.
enum Service : uint32_t {
  kServeReads = 1 << 0,
  kServeWrites = 1 << 1,
  kReadsTouchAtime = 1 << 2,  // relatime; without it reads leave atime alone
  kNothingToKill = 1 << 3,    // no set-id bits: FUSE_WRITE_KILL_SUIDGID is moot
  kQueueWrites = 1 << 4,      // processes may queue writes in place, where the others allow them
  kTellCached = 1 << 5,       // a read into the page cache is left to the script
  kServeSyncs = 1 << 6,       // no process maps it, or has stored what is not written back
  kQueueRoom = 1 << 7,        // processes may queue writes into the room
  kServiceBits = (1 << 8) - 1,
};

constexpr int64_t kTimeNone = std::numeric_limits<int64_t>::min();

class IntervalSet;
class QueuedWrites;

class FileMap : private GateWatch {
 public:
  FileMap(uint64_t ino, uint64_t size_bytes) : ino_(ino), size_bytes_(size_bytes) {}

  uint64_t ino() const { return ino_; }
  Gate& gate() { return gate_; }

  // Inside the gate. Calls piece(region_offset, length_bytes, written) for the consecutive pieces
  // that back [offset, offset + length_bytes); a hole or an unwritten extent has written false and
  // region_offset 0. Stops, and returns false, when piece does.
  template <typename Piece>
  bool ForEachPiece(uint64_t offset, uint64_t length_bytes, Piece piece) const;

  // Inside the gate.
  uint64_t size_bytes() const { return size_bytes_; }

  // JavaScript thread; each closes the gate for itself when it is open. Extents are sorted, apart,
  // and inside [file_page, end_page).
  void Splice(uint64_t file_page, uint64_t end_page, const std::vector<MapExtent>& extents);
  void SetSize(uint64_t size_bytes);
  size_t extent_count() const { return extents_.size(); }

  // JavaScript thread. Region pages, nobody's, for the file pages behind the last extent, a hole or
  // beyond the end. Whoever writes there in order may take the first of them. Until EndRoom(),
  // which says how many were taken; the rest is JavaScript's again.
  void OfferRoom(const MapExtent& room);
  uint64_t EndRoom();
  // Inside the gate; no pages when there is none.
  const MapExtent& room() const { return room_; }
  // Alone inside the gate: the first pages of the room are the file's, which is no shorter now.
  void Grow(uint64_t page_count, uint64_t size_bytes);

  uint32_t service() const { return service_.load(std::memory_order_relaxed); }
  // JavaScript thread. Whether the next read moves atime is asked anew: times may have been set.
  void SetService(uint32_t bits);

  // JavaScript thread. What this file is and becomes is shown in a slot of its own from here on,
  // and writes to it may be queued. nullptr: they are stored, and the slot is left free; nobody
  // else has the file meanwhile.
  void ShowIn(wire_file* slot, QueuedWrites* queued);
  // For whoever has the file.
  wire_file* slot() const { return slot_.load(std::memory_order_relaxed); }
  bool is_shown() const { return slot_.load(std::memory_order_relaxed) != nullptr; }

  // Inside the gate: an msync of the file flushes these pages and nothing else, until HideKept();
  // processes see that when it is not too many runs. `number` was never given before.
  void ShowKept(const IntervalSet& pages, uint64_t number);
  // For whoever has the file, before anything of that changes. One thread at a time calls this or
  // ShowKept().
  void HideKept();

  // All four return true when the file has times to be taken and is not listed for that, whoever
  // touched it.
  //
  // Bytes were written just now. The time stays when it is of this very tick and nobody was shown
  // it, and is later than any that somebody was shown.
  bool TouchMtime(FileClock* clock);
  // The same for a queued write that was made at `time`, when nothing later was seen.
  bool TouchMtimeAt(FileClock* clock, int64_t time);
  // Somebody is about to store through a mapping: the time moves.
  bool TouchMtimeFinely(FileClock* clock);
  // Under the rule of relatime: when no read was seen yet, or none since the last write, or none
  // for a day. What the file's times were before it was shared is not known here. What is written
  // next is later.
  bool TouchAtime(FileClock* clock);
  // Somebody is about to be shown the times that TakeTimes() has given, or set others.
  void Look() { looked_mtime_.store(seen_mtime_.load()); }
  // JavaScript thread. The times that were not taken yet; kTimeNone for one that was.
  void TakeTimes(int64_t* atime, int64_t* mtime);
  // Of the table, with its mutex: true when the file was not listed yet.
  bool List() { return !is_listed_.exchange(true); }
  // JavaScript thread, before TakeTimes(), of a file whose list it has taken.
  void Unlist() { is_listed_.store(false); }

 private:
  void GateClosed() override;
  bool MoveMtime(int64_t time);
  bool IsToBeListed() const {
    return (seen_mtime_.load() != taken_mtime_.load() || pending_atime_.load() != kTimeNone) &&
           !is_listed_.load();
  }
  // Nothing was written since somebody was shown the times, or since the file was shared.
  bool IsLookedAt() const { return looked_mtime_.load() == seen_mtime_.load(); }
  // With the gate closed, or alone inside: map and size, into the slot.
  void ShowMap();
  // Index of the first extent that ends after `file_page`.
  size_t FirstFrom(uint64_t file_page) const;

  const uint64_t ino_;
  uint64_t size_bytes_;
  std::vector<MapExtent> extents_;  // sorted by file_page, apart, neighbours merged
  MapExtent room_ = {};
  uint64_t room_taken_ = 0;
  Gate gate_;
  std::atomic<uint32_t> service_{0};
  std::atomic<bool> is_listed_{false};
  std::atomic<int64_t> taken_mtime_{kTimeNone};
  std::atomic<int64_t> pending_atime_{kTimeNone};
  std::atomic<int64_t> seen_atime_{kTimeNone};
  std::atomic<int64_t> seen_mtime_{kTimeNone};
  // What it was when somebody looked last. A look that a write does not find here came after the
  // bytes were there.
  std::atomic<int64_t> looked_mtime_{kTimeNone};
  // Changed while the gate is closed; the times in it are for anybody who has the file.
  std::atomic<wire_file*> slot_{nullptr};
  QueuedWrites* queued_ = nullptr;  // JavaScript thread
};

template <typename Piece>
bool FileMap::ForEachPiece(uint64_t offset, uint64_t length_bytes, Piece piece) const {
  const uint64_t end = offset + length_bytes;
  size_t index = FirstFrom(offset >> kPageShift);
  while (offset < end) {
    uint64_t piece_end = end;
    uint64_t region_offset = 0;
    bool written = false;
    if (index < extents_.size()) {
      const MapExtent& extent = extents_[index];
      const uint64_t start = extent.file_page << kPageShift;
      if (start > offset) {
        piece_end = start;
      } else {
        piece_end = extent.end_page() << kPageShift;
        written = extent.written;
        if (written) region_offset = (extent.region_page << kPageShift) + (offset - start);
        index++;
      }
      if (piece_end > end) piece_end = end;
    }
    if (!piece(region_offset, piece_end - offset, written)) return false;
    offset = piece_end;
  }
  return true;
}

}  // namespace fauxdax

#endif  // FAUXDAX_FILE_MAP_H_
