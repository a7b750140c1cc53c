#include "fault_mapping.h"

#include <algorithm>
#include <iterator>

namespace fauxdax {

ShownRun Clip(const ShownRun& run, uint64_t file_page, uint64_t end_page) {
  const uint64_t first = std::max(run.file_page, file_page);
  const uint64_t end = std::min(run.file_page + run.page_count, end_page);
  return {first, end - first, run.region_page + (first - run.file_page)};
}

ShownRuns::Runs::const_iterator ShownRuns::From(uint64_t file_page) const {
  auto next = runs_.upper_bound(file_page);
  if (next == runs_.begin()) return next;
  const auto before = std::prev(next);
  return before->first + before->second.page_count > file_page ? before : next;
}

void ShownRuns::Set(const ShownRun& run) {
  Clear(run.file_page, run.page_count);
  ShownRun merged = run;
  auto next = runs_.lower_bound(run.file_page);
  if (next != runs_.end() && next->first == run.file_page + run.page_count &&
      next->second.region_page == run.region_page + run.page_count) {
    merged.page_count += next->second.page_count;
    next = runs_.erase(next);
  }
  if (next != runs_.begin()) {
    ShownRun& before = std::prev(next)->second;
    if (before.file_page + before.page_count == merged.file_page &&
        before.region_page + before.page_count == merged.region_page) {
      before.page_count += merged.page_count;
      return;
    }
  }
  runs_.emplace(merged.file_page, merged);
}

void ShownRuns::Clear(uint64_t file_page, uint64_t page_count) {
  const uint64_t end_page = file_page + page_count;
  auto next = From(file_page);
  while (next != runs_.end() && next->first < end_page) {
    const ShownRun run = next->second;
    next = runs_.erase(next);
    const uint64_t run_end = run.file_page + run.page_count;
    if (run.file_page < file_page) runs_.emplace(run.file_page, Clip(run, 0, file_page));
    if (run_end > end_page) runs_.emplace(end_page, Clip(run, end_page, run_end));
  }
}

bool ShownRuns::Find(uint64_t file_page, ShownRun* run) const {
  const auto found = From(file_page);
  if (found == runs_.end() || found->first > file_page) return false;
  *run = found->second;
  return true;
}

}  // namespace fauxdax
