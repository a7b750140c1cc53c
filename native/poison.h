// The poisoned pages of a region: media errors by page, as real persistent memory reports them. Any
// thread; queries take no lock. A query that runs beside Set() or Clear() sees either.
#ifndef FAUXDAX_POISON_H_
#define FAUXDAX_POISON_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "units.h"

namespace fauxdax {

class PoisonSet {
 public:
  explicit PoisonSet(uint64_t page_count) : page_count_(page_count) {}

  // One relaxed load.
  bool Any() const { return count_.load(std::memory_order_relaxed) != 0; }
  // True when the byte range touches a poisoned page.
  bool Touches(uint64_t offset, uint64_t length_bytes) const;
  // True when the byte range covers a part, but not all, of a poisoned page.
  bool TouchesInPart(uint64_t offset, uint64_t length_bytes) const;

  void Set(uint64_t page);
  void Clear(uint64_t page);
  // Clears every page that the byte range wholly covers.
  void ClearCovered(uint64_t offset, uint64_t length_bytes);
  // The count is kept there too from here on, for other processes; nullptr: no more.
  void Mirror(uint64_t* page_count);
  // Ascending.
  std::vector<uint64_t> Pages() const;

 private:
  using Word = std::atomic<uint64_t>;

  bool Holds(uint64_t page) const;
  bool AnyIn(uint64_t first_page, uint64_t end_page) const;
  void ShowCount() const;

  const uint64_t page_count_;
  // Published before count_ first leaves 0, and kept from then on.
  std::atomic<uint64_t> count_{0};
  mutable std::mutex change_mutex_;
  std::unique_ptr<Word[]> words_;
  uint64_t* mirror_ = nullptr;  // owned by change_mutex_
};

}  // namespace fauxdax

#endif  // FAUXDAX_POISON_H_
