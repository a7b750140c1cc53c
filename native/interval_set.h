// A set of page numbers, kept as runs that are apart. Not thread safe: whoever has one locks.
#ifndef FAUXDAX_INTERVAL_SET_H_
#define FAUXDAX_INTERVAL_SET_H_

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace fauxdax {

class IntervalSet {
 public:
  bool empty() const { return ends_.empty(); }
  size_t run_count() const { return ends_.size(); }
  uint64_t page_count() const {
    uint64_t count = 0;
    for (const auto& [page, end] : ends_) count += end - page;
    return count;
  }

  void Add(uint64_t page, uint64_t page_count) {
    if (page_count == 0) return;
    uint64_t end = page + page_count;
    auto next = ends_.upper_bound(page);
    if (next != ends_.begin() && std::prev(next)->second >= page) --next;
    while (next != ends_.end() && next->first <= end) {
      page = std::min(page, next->first);
      end = std::max(end, next->second);
      next = ends_.erase(next);
    }
    ends_.emplace(page, end);
  }

  void Remove(uint64_t page, uint64_t page_count) {
    const uint64_t end = page + page_count;
    auto next = ends_.upper_bound(page);
    if (next != ends_.begin() && std::prev(next)->second > page) --next;
    while (next != ends_.end() && next->first < end) {
      const auto [run_page, run_end] = *next;
      next = ends_.erase(next);
      if (run_page < page) ends_.emplace(run_page, page);
      if (run_end > end) ends_.emplace(end, run_end);
    }
  }

  // Whether all these pages are in it.
  bool Contains(uint64_t page, uint64_t page_count) const {
    auto next = ends_.upper_bound(page);
    return next != ends_.begin() && std::prev(next)->second >= page + page_count;
  }

  // Whether any of these pages is in it.
  bool Touches(uint64_t page, uint64_t page_count) const {
    const auto next = ends_.lower_bound(page + page_count);
    return next != ends_.begin() && std::prev(next)->second > page;
  }

  // Calls run(page, page_count), ascending.
  template <typename Run>
  void ForEach(Run run) const {
    for (const auto& [page, end] : ends_) run(page, end - page);
  }

  // The same for what of it lies in a range.
  template <typename Run>
  void ForEachIn(uint64_t page, uint64_t page_count, Run run) const {
    const uint64_t end = page + page_count;
    auto next = ends_.upper_bound(page);
    if (next != ends_.begin() && std::prev(next)->second > page) --next;
    for (; next != ends_.end() && next->first < end; ++next) {
      const uint64_t from = std::max(next->first, page);
      run(from, std::min(next->second, end) - from);
    }
  }

 private:
  std::map<uint64_t, uint64_t> ends_;  // by first page
};

}  // namespace fauxdax

#endif  // FAUXDAX_INTERVAL_SET_H_
