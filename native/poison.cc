#include "poison.h"

#include <bit>

#include "check.h"

namespace fauxdax {

namespace {
constexpr uint64_t kWordBits = 64;
}  // namespace

bool PoisonSet::Holds(uint64_t page) const {
  const uint64_t word = words_[page / kWordBits].load(std::memory_order_relaxed);
  return ((word >> (page % kWordBits)) & 1) != 0;
}

bool PoisonSet::AnyIn(uint64_t first_page, uint64_t end_page) const {
  CHECK(first_page <= end_page && end_page <= page_count_, "the pages are inside the region");
  if (count_.load(std::memory_order_acquire) == 0) return false;
  for (uint64_t page = first_page; page < end_page;) {
    if (page % kWordBits == 0 && end_page - page >= kWordBits) {
      if (words_[page / kWordBits].load(std::memory_order_relaxed) != 0) return true;
      page += kWordBits;
    } else {
      if (Holds(page)) return true;
      ++page;
    }
  }
  return false;
}

bool PoisonSet::Touches(uint64_t offset, uint64_t length_bytes) const {
  if (length_bytes == 0) return false;
  return AnyIn(offset >> kPageShift, ((offset + length_bytes - 1) >> kPageShift) + 1);
}

bool PoisonSet::TouchesInPart(uint64_t offset, uint64_t length_bytes) const {
  if (length_bytes == 0) return false;
  const uint64_t end = offset + length_bytes;
  const bool head = offset % kPageBytes != 0 && Touches(offset, 1);
  const bool tail = end % kPageBytes != 0 && Touches(end - 1, 1);
  return head || tail;
}

void PoisonSet::Set(uint64_t page) {
  CHECK(page < page_count_, "the page is inside the region");
  const std::lock_guard lock(change_mutex_);
  if (!words_) words_ = std::make_unique<Word[]>((page_count_ + kWordBits - 1) / kWordBits);
  if (Holds(page)) return;
  words_[page / kWordBits].fetch_or(uint64_t{1} << (page % kWordBits), std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_release);
  ShowCount();
}

void PoisonSet::Clear(uint64_t page) {
  CHECK(page < page_count_, "the page is inside the region");
  const std::lock_guard lock(change_mutex_);
  if (!words_ || !Holds(page)) return;
  words_[page / kWordBits].fetch_and(~(uint64_t{1} << (page % kWordBits)),
                                     std::memory_order_relaxed);
  count_.fetch_sub(1, std::memory_order_release);
  ShowCount();
}

void PoisonSet::Mirror(uint64_t* page_count) {
  const std::lock_guard lock(change_mutex_);
  mirror_ = page_count;
  ShowCount();
}

void PoisonSet::ShowCount() const {
  if (mirror_ == nullptr) return;
  __atomic_store_n(mirror_, count_.load(std::memory_order_relaxed), __ATOMIC_SEQ_CST);
}

void PoisonSet::ClearCovered(uint64_t offset, uint64_t length_bytes) {
  const uint64_t first = (offset + kPageBytes - 1) >> kPageShift;
  const uint64_t end = (offset + length_bytes) >> kPageShift;
  for (uint64_t page = first; page < end && Any(); ++page) Clear(page);
}

std::vector<uint64_t> PoisonSet::Pages() const {
  const std::lock_guard lock(change_mutex_);
  std::vector<uint64_t> pages;
  if (!words_) return pages;
  for (uint64_t index = 0; index < (page_count_ + kWordBits - 1) / kWordBits; ++index) {
    uint64_t word = words_[index].load(std::memory_order_relaxed);
    for (; word != 0; word &= word - 1) {
      pages.push_back(index * kWordBits + static_cast<uint64_t>(std::countr_zero(word)));
    }
  }
  CHECK(pages.size() == count_.load(std::memory_order_relaxed), "the count agrees with the bits");
  return pages;
}

}  // namespace fauxdax
