// One mapping of a file in a process under `fauxdax run`, and which region pages it shows. Pages
// count 4 KiB. Not thread safe: the fault server's mutex is held around every call.
#ifndef FAUXDAX_FAULT_MAPPING_H_
#define FAUXDAX_FAULT_MAPPING_H_

#include <cstdint>
#include <map>

#include "units.h"

namespace fauxdax {

class FaultClient;

// File pages that show consecutive region pages.
struct ShownRun {
  uint64_t file_page;
  uint64_t page_count;
  uint64_t region_page;
};

// What of a mapping shows the region; everything else traps, or shows zeroes or an error.
class ShownRuns {
 public:
  void Set(const ShownRun& run);
  void Clear(uint64_t file_page, uint64_t page_count);
  // The run that holds a page; false when it does not show the region.
  bool Find(uint64_t file_page, ShownRun* run) const;
  // Calls take(const ShownRun&) for what lies inside the range, clipped to it, ascending.
  template <typename Take>
  void ForEach(uint64_t file_page, uint64_t page_count, Take take) const;

 private:
  using Runs = std::map<uint64_t, ShownRun>;

  // The first run that ends after `file_page`.
  Runs::const_iterator From(uint64_t file_page) const;

  Runs runs_;  // by first page, apart, neighbours merged
};

// Cuts a run to a range that it touches.
ShownRun Clip(const ShownRun& run, uint64_t file_page, uint64_t end_page);

struct FaultMapping {
  uint64_t number;
  FaultClient* client;
  uint64_t ino;
  uint64_t address;  // of its first page, bytes
  uint64_t file_page;
  uint64_t page_count;
  bool is_shared;
  bool is_sync;
  ShownRuns shown;

  uint64_t AddressOf(uint64_t page) const { return address + ((page - file_page) << kPageShift); }
  uint64_t PageAt(uint64_t at) const { return file_page + ((at - address) >> kPageShift); }
  bool Covers(uint64_t page, uint64_t count) const {
    return page >= file_page && count <= page_count && page - file_page <= page_count - count;
  }
};

template <typename Take>
void ShownRuns::ForEach(uint64_t file_page, uint64_t page_count, Take take) const {
  const uint64_t end_page = file_page + page_count;
  for (auto next = From(file_page); next != runs_.end() && next->first < end_page; ++next) {
    take(Clip(next->second, file_page, end_page));
  }
}

}  // namespace fauxdax

#endif  // FAUXDAX_FAULT_MAPPING_H_
