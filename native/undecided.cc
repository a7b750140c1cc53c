#include "undecided.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "check.h"

namespace fauxdax {

namespace {

// Empty records kept with their buffers for the next store; the rest is given back.
constexpr size_t kFreeRecordsMax = 4096;

// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// A number below `bound` that depends on the seed and the line alone, never on the order of a walk.
uint64_t PickForLine(uint64_t seed, uint64_t line, uint64_t bound) {
  return ((Mix(Mix(seed) + line) >> 32) * bound) >> 32;
}

// The bits of the lines of page `page` that hold a byte of [offset, end).
uint64_t LinesIn(uint64_t page, uint64_t offset, uint64_t end) {
  const uint64_t page_start = page << kPageShift;
  const uint64_t from = std::max(offset, page_start) - page_start;
  const uint64_t to = std::min(end, page_start + kPageBytes) - page_start;
  const uint64_t first = from / kLineBytes;
  const uint64_t count = (to + kLineBytes - 1) / kLineBytes - first;
  return (count == kLinesPerPage ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << first;
}

// Calls run(first_line, line_count) for each run of set bits, ascending.
template <typename Run>
void ForEachRun(uint64_t lines, Run run) {
  while (lines != 0) {
    const int first = std::countr_zero(lines);
    const int count = std::countr_one(lines >> first);
    run(static_cast<uint64_t>(first), static_cast<uint64_t>(count));
    if (first + count == 64) return;
    lines &= ~uint64_t{0} << (first + count);
  }
}

// Calls run(line) for each set bit, a line of the page, with its number in the region; ascending.
template <typename Run>
void ForEachLine(uint64_t page, uint64_t lines, Run run) {
  for (; lines != 0; lines &= lines - 1) {
    run(page * kLinesPerPage + static_cast<uint64_t>(std::countr_zero(lines)));
  }
}

uint64_t CountLines(uint64_t lines) { return static_cast<uint64_t>(std::popcount(lines)); }

}  // namespace

// The buffers are indexed as the page itself; bytes of lines without the bit are unspecified.
struct Undecided::PageRecord {
  uint64_t page = 0;
  uint64_t undecided = 0;        // lines with a value in `durable`
  uint64_t flushed_newest = 0;   // of those, lines whose newest value the filesystem flushed
  uint64_t flushed_earlier = 0;  // of the others, lines with a flushed value in `flushed`
  bool awaits_fence = false;     // listed in flushed_slots_
  uint32_t slot = 0;
  std::unique_ptr<uint8_t[]> durable = std::make_unique_for_overwrite<uint8_t[]>(kPageBytes);
  std::unique_ptr<uint8_t[]> flushed;  // made when first needed
};

Undecided::Undecided(uint8_t* base, uint64_t page_count, const Persist& persist)
    : base_(base), page_count_(page_count), persist_(persist) {
  CHECK(page_count <= kRegionPagesMax, "the region has at most kRegionPagesMax pages");
  // calloc, so that pages never stored to cost no memory.
  slot_of_page_ = static_cast<uint32_t*>(std::calloc(page_count, sizeof(uint32_t)));
  CHECK(slot_of_page_ != nullptr, "no memory for the page index");
}

Undecided::~Undecided() { std::free(slot_of_page_); }

void Undecided::BeforeStore(uint64_t offset, uint64_t length_bytes) {
  if (length_bytes == 0) return;
  KeepLimits();
  const uint64_t end = offset + length_bytes;
  CHECK(end >= offset && end <= page_count_ * kPageBytes, "the store is inside the region");
  for (uint64_t page = offset >> kPageShift; page << kPageShift < end; ++page) {
    SaveBeforeStore(FindOrMake(page), LinesIn(page, offset, end), base_ + (page << kPageShift));
  }
}

void Undecided::StoreFound(uint64_t page, uint64_t lines, const uint8_t* before) {
  CHECK(page < page_count_, "the store is inside the region");
  KeepLimits();
  SaveBeforeStore(FindOrMake(page), lines, before);
}

void Undecided::SaveBeforeStore(PageRecord* record, uint64_t lines, const uint8_t* bytes) {
  const uint64_t fresh = lines & ~record->undecided;
  ForEachRun(fresh, [&](uint64_t first, uint64_t count) {
    std::memcpy(record->durable.get() + first * kLineBytes, bytes + first * kLineBytes,
                count * kLineBytes);
  });
  const uint64_t moved_past = lines & record->flushed_newest;
  if (moved_past != 0 && !record->flushed) {
    record->flushed = std::make_unique_for_overwrite<uint8_t[]>(kPageBytes);
  }
  ForEachRun(moved_past, [&](uint64_t first, uint64_t count) {
    std::memcpy(record->flushed.get() + first * kLineBytes, bytes + first * kLineBytes,
                count * kLineBytes);
  });
  record->undecided |= fresh;
  record->flushed_newest &= ~moved_past;
  record->flushed_earlier |= moved_past;
  line_count_ += CountLines(fresh);
}

void Undecided::AfterFlush(uint64_t offset, uint64_t length_bytes, uint32_t thread) {
  if (length_bytes == 0) return;
  const uint64_t end = offset + length_bytes;
  CHECK(end >= offset && end <= page_count_ * kPageBytes, "the flush is inside the region");
  for (uint64_t page = offset >> kPageShift; page << kPageShift < end; ++page) {
    PageRecord* record = Find(page);
    if (record == nullptr) continue;
    const uint64_t lines = LinesIn(page, offset, end) & record->undecided;
    if (thread == 0) {
      FlushLines(record, lines);
    } else {
      FlushLinesBy(thread, *record, lines);
    }
  }
}

void Undecided::FlushLines(PageRecord* record, uint64_t lines) {
  if (lines == 0) return;
  record->flushed_newest |= lines;
  record->flushed_earlier &= ~lines;
  if (!threads_.empty()) {
    ForEachLine(record->page, lines, [&](uint64_t line) { threads_.FlushByFilesystem(line); });
  }
  if (record->awaits_fence) return;
  record->awaits_fence = true;
  flushed_slots_.push_back(record->slot);
}

void Undecided::FlushLinesBy(uint32_t thread, const PageRecord& record, uint64_t lines) {
  ForEachLine(record.page, lines,
              [&](uint64_t line) { threads_.Flush(thread, line, base_ + line * kLineBytes); });
}

void Undecided::Fence(uint32_t thread) {
  if (thread != 0) return DrainThread(thread);
  for (const uint32_t slot : flushed_slots_) {
    PageRecord* record = records_[slot].get();
    CHECK(record != nullptr && record->awaits_fence, "a listed record awaits a fence");
    record->awaits_fence = false;
    Drain(record);
    if (record->undecided == 0) Release(record);
  }
  flushed_slots_.clear();
}

void Undecided::Drain(PageRecord* record) {
  CHECK((record->flushed_newest & record->flushed_earlier) == 0, "one flushed value a line");
  uint64_t settled = record->flushed_newest;
  if (!threads_.empty()) {
    ForEachLine(record->page, record->flushed_newest | record->flushed_earlier,
                [&](uint64_t line) { threads_.FenceByFilesystem(line); });
  }
  const uint8_t* bytes = base_ + (record->page << kPageShift);
  for (uint64_t left = record->flushed_earlier; left != 0; left &= left - 1) {
    const uint64_t line = static_cast<uint64_t>(std::countr_zero(left));
    uint8_t* durable = record->durable.get() + line * kLineBytes;
    std::memcpy(durable, record->flushed.get() + line * kLineBytes, kLineBytes);
    // A later store that changed nothing leaves nothing open.
    if (std::memcmp(durable, bytes + line * kLineBytes, kLineBytes) == 0) {
      settled |= uint64_t{1} << line;
    }
  }
  record->flushed_newest = 0;
  record->flushed_earlier = 0;
  record->undecided &= ~settled;
  line_count_ -= CountLines(settled);
}

void Undecided::DrainThread(uint32_t thread) {
  for (const uint64_t line : threads_.TakeLines(thread)) {
    const auto fenced = threads_.Fence(thread, line);
    PageRecord* record = Find(line / kLinesPerPage);
    const uint64_t bit = uint64_t{1} << (line % kLinesPerPage);
    if (!fenced || record == nullptr || (record->undecided & bit) == 0) continue;
    uint8_t* durable = record->durable.get() + line % kLinesPerPage * kLineBytes;
    std::memcpy(durable, fenced->bytes.data(), kLineBytes);
    if (!fenced->is_before_filesystem) {
      record->flushed_newest &= ~bit;
      record->flushed_earlier &= ~bit;
    }
    const bool is_newest = std::memcmp(durable, base_ + line * kLineBytes, kLineBytes) == 0;
    if (!is_newest || (record->flushed_earlier & bit) != 0 || threads_.Has(line)) continue;
    record->flushed_newest &= ~bit;
    record->undecided &= ~bit;
    --line_count_;
    // A listed record is released by the fence that walks the list.
    if (record->undecided == 0 && !record->awaits_fence) Release(record);
  }
}

void Undecided::Settle(uint64_t page, uint64_t page_count) {
  for (uint64_t end = page + page_count; page < end; ++page) {
    PageRecord* record = Find(page);
    if (record == nullptr) continue;
    line_count_ -= CountLines(record->undecided);
    ForEachLine(page, record->undecided, [&](uint64_t line) { threads_.Forget(line); });
    record->undecided = record->flushed_newest = record->flushed_earlier = 0;
    // A listed record is released by the fence that walks the list.
    if (!record->awaits_fence) Release(record);
  }
}

void Undecided::KeepLimits() {
  if (line_count_ <= kLinesMax && record_count_ <= kPagesMax) return;
  ++counters_.limit_fences;
  Fence();
  // Half, so that a mount full of unflushed lines does not come back here at every store.
  if (line_count_ <= kLinesMax / 2 && record_count_ <= kPagesMax / 2) return;
  ++counters_.limit_evictions;
  for (const auto& record : records_) {
    if (record) FlushLines(record.get(), record->undecided);
  }
  Fence();
  threads_.Clear();
  CHECK(line_count_ == 0 && record_count_ == 0, "an eviction of everything leaves nothing");
}

CrashCount Undecided::Crash(const Keep& keep) {
  CrashCount count{line_count_, 0};
  uint64_t crashed_lines = 0;
  for (const auto& record : records_) {
    if (!record || slot_of_page_[record->page] != record->slot + 1) continue;
    crashed_lines += CountLines(record->undecided);
    count.kept_lines += CrashPage(record.get(), keep);
    record->awaits_fence = false;
    Release(record.get());
  }
  CHECK(crashed_lines == count.undecided_lines, "the line count agrees with the records");
  flushed_slots_.clear();
  threads_.Clear();
  line_count_ = 0;
  CHECK(record_count_ == 0, "nothing is undecided after a crash");
  return count;
}

// Gives the lines of one page their values; returns how many kept a newer one than the durable one.
uint64_t Undecided::CrashPage(PageRecord* record, const Keep& keep) {
  uint64_t kept = 0;
  uint8_t* bytes = base_ + (record->page << kPageShift);
  for (uint64_t left = record->undecided; left != 0; left &= left - 1) {
    const uint64_t line = static_cast<uint64_t>(std::countr_zero(left));
    const uint8_t* durable = record->durable.get() + line * kLineBytes;
    const bool earlier = ((record->flushed_earlier >> line) & 1) != 0;
    const uint8_t* newest = bytes + line * kLineBytes;
    const uint8_t* flushed = threads_.Last(record->page * kLinesPerPage + line);
    if (flushed != nullptr && std::memcmp(flushed, newest, kLineBytes) == 0) flushed = nullptr;
    if (earlier) flushed = record->flushed.get() + line * kLineBytes;
    // 0 the durable value, 1 the newest, 2 the one flushed before the newest was stored.
    uint64_t choice = keep.kind == Keep::Kind::kAll ? 1 : 0;
    if (keep.kind == Keep::Kind::kSeed) {
      choice =
          PickForLine(keep.seed, record->page * kLinesPerPage + line, flushed != nullptr ? 3 : 2);
    }
    if (choice != 0) ++kept;
    if (choice == 1) continue;
    const uint8_t* value = choice == 0 ? durable : flushed;
    persist_.CopyFlushed(bytes + line * kLineBytes, value, kLineBytes);
  }
  if (keep.kind != Keep::Kind::kNone) persist_.Flush(bytes, kPageBytes);
  return kept;
}

Undecided::PageRecord* Undecided::Find(uint64_t page) const {
  const uint32_t slot = slot_of_page_[page];
  return slot == 0 ? nullptr : records_[slot - 1].get();
}

Undecided::PageRecord* Undecided::FindOrMake(uint64_t page) {
  if (PageRecord* record = Find(page)) return record;
  uint32_t slot = static_cast<uint32_t>(records_.size());
  if (free_slots_.empty()) {
    records_.push_back(nullptr);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  if (!records_[slot]) records_[slot] = std::make_unique<PageRecord>();
  PageRecord* record = records_[slot].get();
  CHECK(record->undecided == 0 && !record->awaits_fence, "a free record is empty");
  record->page = page;
  record->slot = slot;
  slot_of_page_[page] = slot + 1;
  ++record_count_;
  return record;
}

void Undecided::Release(PageRecord* record) {
  CHECK(!record->awaits_fence, "no list names a free record");
  const uint32_t slot = record->slot;
  CHECK(slot_of_page_[record->page] == slot + 1, "a record is released once");
  slot_of_page_[record->page] = 0;
  record->undecided = record->flushed_newest = record->flushed_earlier = 0;
  --record_count_;
  if (free_slots_.size() >= kFreeRecordsMax) records_[slot].reset();
  free_slots_.push_back(slot);
}

}  // namespace fauxdax
