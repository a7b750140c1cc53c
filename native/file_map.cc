#include "file_map.h"

#include <algorithm>

#include "check.h"
#include "interval_set.h"
#include "queued_writes.h"

namespace fauxdax {

namespace {

static_assert(kServeReads == WIRE_FILE_READS && kReadsTouchAtime == WIRE_FILE_ATIME);
static_assert(kServeWrites == WIRE_FILE_WRITES && kQueueWrites == WIRE_FILE_QUEUES);
static_assert(kQueueRoom == WIRE_FILE_QUEUES_ROOM);
static_assert(kNothingToKill == WIRE_FILE_NOTHING_TO_KILL);

constexpr int64_t kDayNsec = int64_t{24} * 60 * 60 * 1'000'000'000;

// The part of `extent` inside [file_page, end_page), which it overlaps.
MapExtent Clip(const MapExtent& extent, uint64_t file_page, uint64_t end_page) {
  const uint64_t start = std::max(extent.file_page, file_page);
  const uint64_t end = std::min(extent.end_page(), end_page);
  return {start, extent.region_page + (start - extent.file_page), end - start, extent.written};
}

// Adds `extent` behind the others, merged into the last one when it continues it.
void Append(std::vector<MapExtent>* extents, const MapExtent& extent) {
  if (!extents->empty()) {
    MapExtent& last = extents->back();
    if (last.end_page() == extent.file_page && last.written == extent.written &&
        last.region_page + last.page_count == extent.region_page) {
      last.page_count += extent.page_count;
      return;
    }
  }
  extents->push_back(extent);
}

void ShowExtent(wire_extent* shown, uint64_t file_page, uint64_t region_page, uint64_t page_count) {
  __atomic_store_n(&shown->file_page, file_page, __ATOMIC_RELAXED);
  __atomic_store_n(&shown->region_page, region_page, __ATOMIC_RELAXED);
  __atomic_store_n(&shown->page_count, page_count, __ATOMIC_RELAXED);
}

// Nothing without a slot.
template <typename Value>
void Show(wire_file* slot, Value wire_file::*field, Value value) {
  if (slot != nullptr) __atomic_store_n(&(slot->*field), value, __ATOMIC_RELAXED);
}

}  // namespace

void FileMap::Splice(uint64_t file_page, uint64_t end_page, const std::vector<MapExtent>& extents) {
  CHECK(file_page < end_page, "a splice covers at least one page");
  const Gate::Hold hold(&gate_);
  // Take one neighbour on each side along, so that what touches is merged.
  size_t first = FirstFrom(file_page);
  if (first > 0) first--;
  size_t last = first;
  while (last < extents_.size() && extents_[last].file_page <= end_page) last++;

  std::vector<MapExtent> changed;
  changed.reserve(last - first + extents.size() + 1);
  for (size_t i = first; i < last && extents_[i].file_page < file_page; i++) {
    Append(&changed, Clip(extents_[i], 0, file_page));
  }
  uint64_t filled_to = file_page;
  for (const MapExtent& extent : extents) {
    CHECK(extent.page_count > 0, "an extent has pages");
    CHECK(extent.file_page >= filled_to, "extents are sorted and apart");
    CHECK(extent.end_page() <= end_page, "extents lie inside the spliced range");
    filled_to = extent.end_page();
    Append(&changed, extent);
  }
  for (size_t i = first; i < last; i++) {
    if (extents_[i].end_page() > end_page) {
      Append(&changed, Clip(extents_[i], end_page, extents_[i].end_page()));
    }
  }

  // Overwrite in place, then insert or erase the difference: an append to a long map stays cheap.
  const size_t common = std::min(changed.size(), last - first);
  std::copy_n(changed.begin(), common, extents_.begin() + first);
  if (changed.size() > common) {
    extents_.insert(extents_.begin() + last, changed.begin() + common, changed.end());
  } else {
    extents_.erase(extents_.begin() + first + common, extents_.begin() + last);
  }
  ShowMap();
}

void FileMap::SetSize(uint64_t size_bytes) {
  const Gate::Hold hold(&gate_);
  size_bytes_ = size_bytes;
  ShowMap();
}

void FileMap::OfferRoom(const MapExtent& room) {
  const Gate::Hold hold(&gate_);
  CHECK(room.file_page <= (size_bytes_ + kPageBytes - 1) >> kPageShift, "no gap before the room");
  CHECK(!extents_.empty() && extents_.back().end_page() == room.file_page, "it is at the end");
  // Who grows the file allocates nothing.
  extents_.reserve(extents_.size() + 1);
  room_ = room;
  room_taken_ = 0;
  ShowMap();
}

uint64_t FileMap::EndRoom() {
  const Gate::Hold hold(&gate_);
  room_ = {};
  ShowMap();
  return room_taken_;
}

void FileMap::Grow(uint64_t page_count, uint64_t size_bytes) {
  CHECK(page_count <= room_.page_count && size_bytes >= size_bytes_, "it grows inside its room");
  if (page_count > 0) {
    room_taken_ += page_count;
    Append(&extents_, {room_.file_page, room_.region_page, page_count, true});
    room_.file_page += page_count;
    room_.region_page += page_count;
    room_.page_count -= page_count;
  }
  size_bytes_ = size_bytes;
  ShowMap();
}

void FileMap::SetService(uint32_t bits) {
  const Gate::Hold hold(&gate_);
  service_.store(bits, std::memory_order_relaxed);
  Show(slot_.load(), &wire_file::service, uint64_t{bits});
  // What was changed may be times: whether a read moves atime is asked anew.
  seen_atime_.store(kTimeNone, std::memory_order_relaxed);
  Show(slot_.load(), &wire_file::atime, kTimeNone);
}

void FileMap::ShowIn(wire_file* slot, QueuedWrites* queued) {
  const Gate::Hold hold(&gate_);
  HideKept();
  Show(slot_.exchange(nullptr), &wire_file::ino, uint64_t{0});
  queued_ = queued;
  gate_.ShowChanges(slot, queued == nullptr ? nullptr : this);
  Show(slot, &wire_file::ino, ino_);
  Show(slot, &wire_file::service, uint64_t{service()});
  Show(slot, &wire_file::atime, seen_atime_.load(std::memory_order_relaxed));
  Show(slot, &wire_file::mtime, seen_mtime_.load(std::memory_order_relaxed));
  slot_.store(slot);
  if (queued != nullptr) queued->Settle(slot);
  ShowMap();
}

void FileMap::GateClosed() { queued_->StoreClosed(this); }

void FileMap::ShowMap() {
  wire_file* const slot = slot_.load(std::memory_order_relaxed);
  if (slot == nullptr) return;
  Show(slot, &wire_file::size_bytes, size_bytes_);
  Show(slot, &wire_file::room_page, room_.page_count == 0 ? 0 : room_.file_page);
  Show(slot, &wire_file::room_end_page, room_.page_count == 0 ? 0 : room_.end_page());
  uint64_t count = 0;
  for (const MapExtent& extent : extents_) {
    if (!extent.written) continue;
    if (count == WIRE_FILE_EXTENTS_MAX) {
      count = WIRE_FILE_TOO_LONG;
      break;
    }
    ShowExtent(&slot->extents[count++], extent.file_page, extent.region_page, extent.page_count);
  }
  Show(slot, &wire_file::extent_count, count);
}

void FileMap::ShowKept(const IntervalSet& pages, uint64_t number) {
  wire_file* const slot = slot_.load(std::memory_order_relaxed);
  if (slot == nullptr) return;
  wire_kept& kept = slot->kept;
  uint64_t count = 0;
  bool is_whole = true;
  pages.ForEach([&](uint64_t page, uint64_t page_count) {
    uint64_t file_page = page;
    ForEachPiece(page << kPageShift, page_count << kPageShift,
                 [&](uint64_t region_offset, uint64_t length_bytes, bool written) {
                   const uint64_t piece_pages = length_bytes >> kPageShift;
                   is_whole = is_whole && count < WIRE_FILE_KEPT_MAX;
                   if (is_whole && written) {
                     ShowExtent(&kept.runs[count++], file_page, region_offset >> kPageShift,
                                piece_pages);
                   }
                   file_page += piece_pages;
                   return is_whole;
                 });
  });
  if (!is_whole) return;
  __atomic_store_n(&kept.run_count, count, __ATOMIC_RELAXED);
  __atomic_store_n(&kept.number, number, __ATOMIC_RELEASE);
}

void FileMap::HideKept() {
  wire_file* const slot = slot_.load(std::memory_order_relaxed);
  if (slot != nullptr) __atomic_store_n(&slot->kept.number, uint64_t{0}, __ATOMIC_SEQ_CST);
}

size_t FileMap::FirstFrom(uint64_t file_page) const {
  const auto found = std::upper_bound(
      extents_.begin(), extents_.end(), file_page,
      [](uint64_t page, const MapExtent& extent) { return page < extent.end_page(); });
  return found - extents_.begin();
}

bool FileMap::TouchMtime(FileClock* clock) {
  return MoveMtime(IsLookedAt() ? clock->Fine() : clock->CoarseAt(FileClock::Realtime()));
}

bool FileMap::TouchMtimeAt(FileClock* clock, int64_t time) {
  if (time <= seen_mtime_.load()) return IsToBeListed();
  return MoveMtime(IsLookedAt() ? clock->FineAt(time) : clock->CoarseAt(time));
}

bool FileMap::TouchMtimeFinely(FileClock* clock) { return MoveMtime(clock->Fine()); }

bool FileMap::MoveMtime(int64_t time) {
  int64_t seen = seen_mtime_.load();
  // A time that somebody else has just given is good for this write as well.
  while (time > seen || seen - time >= FileClock::kSetBackNs) {
    if (!seen_mtime_.compare_exchange_weak(seen, time)) continue;
    Show(slot_.load(std::memory_order_relaxed), &wire_file::mtime, time);
    break;
  }
  return IsToBeListed();
}

bool FileMap::TouchAtime(FileClock* clock) {
  const int64_t atime = seen_atime_.load();
  const bool due = atime == kTimeNone || atime <= seen_mtime_.load() ||
                   FileClock::Realtime() - atime >= kDayNsec;
  if (!due) return IsToBeListed();
  Look();
  const int64_t now = clock->Fine();
  seen_atime_.store(now);
  pending_atime_.store(now);
  Show(slot_.load(std::memory_order_relaxed), &wire_file::atime, now);
  return IsToBeListed();
}

void FileMap::TakeTimes(int64_t* atime, int64_t* mtime) {
  *atime = pending_atime_.exchange(kTimeNone);
  *mtime = seen_mtime_.load();
  if (taken_mtime_.exchange(*mtime) == *mtime) *mtime = kTimeNone;
}

}  // namespace fauxdax
