#include "page_watch.h"

#include <algorithm>

namespace fauxdax {

void PageWatch::Add(uint64_t page, uint64_t page_count) {
  for (uint64_t end = page + page_count; page < end; page++) {
    auto& known = pages_[page];
    if (known) continue;
    known = std::make_unique_for_overwrite<uint8_t[]>(kPageBytes);
    std::memcpy(known.get(), base_ + (page << kPageShift), kPageBytes);
  }
}

void PageWatch::Forget(uint64_t page, uint64_t page_count) {
  pages_.erase(pages_.lower_bound(page), pages_.lower_bound(page + page_count));
}

uint64_t PageWatch::Look(uint64_t page, const uint8_t* before, uint8_t* after) const {
  const uint8_t* bytes = base_ + (page << kPageShift);
  if (std::memcmp(before, bytes, kPageBytes) == 0) return 0;
  uint64_t lines = 0;
  for (uint64_t line = 0; line < kLinesPerPage; line++) {
    const uint64_t at = line * kLineBytes;
    std::memcpy(after + at, bytes + at, kLineBytes);
    if (std::memcmp(before + at, after + at, kLineBytes) != 0) lines |= uint64_t{1} << line;
  }
  return lines;
}

void PageWatch::Know(uint64_t offset, uint64_t length_bytes) {
  const uint64_t end = offset + length_bytes;
  for (auto next = pages_.lower_bound(offset >> kPageShift); next != pages_.end(); ++next) {
    const uint64_t page_start = next->first << kPageShift;
    if (page_start >= end) return;
    const uint64_t from = std::max(offset, page_start);
    const uint64_t to = std::min(end, page_start + kPageBytes);
    std::memcpy(next->second.get() + (from - page_start), base_ + from, to - from);
  }
}

void PageWatch::KnowAll() {
  for (auto& [page, known] : pages_) {
    std::memcpy(known.get(), base_ + (page << kPageShift), kPageBytes);
  }
}

}  // namespace fauxdax
