// Pages of the region that processes may store to without telling anybody: what each held when it
// was last looked at. What differs since then was stored by one of them. Pages count 4 KiB.
//
// Not thread safe: Region holds its mutex around every call. Other processes store at any moment:
// each line is read once, and what was read is what was found.
#ifndef FAUXDAX_PAGE_WATCH_H_
#define FAUXDAX_PAGE_WATCH_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>

#include "units.h"

namespace fauxdax {

class PageWatch {
 public:
  // `base` is the mapped region, and outlives this.
  explicit PageWatch(const uint8_t* base) : base_(base) {}

  // Watches pages from what they hold now; a page that is watched already goes on as it was.
  void Add(uint64_t page, uint64_t page_count);
  void Forget(uint64_t page, uint64_t page_count);

  // Calls found(page, lines, before, after) for each page with changed lines, ascending: a bit for
  // each line, and page-shaped bytes, where only those of these lines mean something in `after`.
  // They are known from then on.
  template <typename Found>
  void Sweep(uint64_t page, uint64_t page_count, Found found);

  // These bytes were changed by the daemon itself: they are known.
  void Know(uint64_t offset, uint64_t length_bytes);
  void KnowAll();

 private:
  using Pages = std::map<uint64_t, std::unique_ptr<uint8_t[]>>;

  // The changed lines of a page, copied to `after`.
  uint64_t Look(uint64_t page, const uint8_t* before, uint8_t* after) const;

  const uint8_t* const base_;
  Pages pages_;  // what each is known to hold
};

template <typename Found>
void PageWatch::Sweep(uint64_t page, uint64_t page_count, Found found) {
  alignas(kLineBytes) uint8_t after[kPageBytes];
  for (auto next = pages_.lower_bound(page);
       next != pages_.end() && next->first - page < page_count; ++next) {
    uint8_t* before = next->second.get();
    const uint64_t lines = Look(next->first, before, after);
    if (lines == 0) continue;
    found(next->first, lines, before, after);
    for (uint64_t line = 0; line < kLinesPerPage; line++) {
      if (!((lines >> line) & 1)) continue;
      std::memcpy(before + line * kLineBytes, after + line * kLineBytes, kLineBytes);
    }
  }
}

}  // namespace fauxdax

#endif  // FAUXDAX_PAGE_WATCH_H_
