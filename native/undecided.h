// The lines of a region that are stored but not durable, and what each may hold after a power cut:
// its durable value, the value of its last flush that no fence has made durable yet, or its newest.
// A fence is for what its own thread flushed: the filesystem's are here, threads of programs have
// ThreadFlushes.
//
// Not thread safe: Region holds its mutex around every call. Offsets and lengths are bytes. A
// record covers one page; three 64-bit words say which of its lines are undecided, which are
// flushed with nothing stored since, and which have an older flushed value that a later store moved
// past.
//
// Order that matters: BeforeStore() comes before the bytes change (it saves what is about to be
// lost), AfterFlush() after they did. A change that was only found out is told by StoreFound(),
// before a flush of what was found.
#ifndef FAUXDAX_UNDECIDED_H_
#define FAUXDAX_UNDECIDED_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "persist.h"
#include "thread_flushes.h"
#include "units.h"

namespace fauxdax {

// What a power cut keeps of the undecided lines.
struct Keep {
  enum class Kind { kNone, kAll, kSeed };
  Kind kind;
  uint64_t seed;  // kSeed only
};

struct CrashCount {
  uint64_t undecided_lines;  // stored and not durable when the power went
  uint64_t kept_lines;       // of those, lines that kept a newer value than the durable one
};

// Monotonic counts.
struct UndecidedCounters {
  uint64_t limit_fences;     // fences made because a limit below was reached
  uint64_t limit_evictions;  // times a fence was not enough and unflushed lines were written back
};

class Undecided {
 public:
  // Beyond either limit the oldest freedom of the hardware is used up: flushed lines drain as if
  // fenced, then unflushed ones are written back as if evicted from the cache. Both may happen on a
  // real machine at any time; what is lost is only the chance to see the other outcome.
  static constexpr uint64_t kLinesMax = uint64_t{1} << 20;
  static constexpr uint64_t kPagesMax = uint64_t{1} << 16;

  // `base` is the mapped region of `page_count` pages; it and `persist` outlive this.
  Undecided(uint8_t* base, uint64_t page_count, const Persist& persist);
  ~Undecided();
  Undecided(const Undecided&) = delete;
  Undecided& operator=(const Undecided&) = delete;

  // The bytes of the range are about to change.
  void BeforeStore(uint64_t offset, uint64_t length_bytes);
  // These lines (a bit each) of a page were stored to, and were as in `before`, page-shaped.
  void StoreFound(uint64_t page, uint64_t lines, const uint8_t* before);
  // Every line of the range was flushed with its current value. `thread` 0: by the filesystem.
  void AfterFlush(uint64_t offset, uint64_t length_bytes, uint32_t thread = 0);
  // The values that the thread flushed become durable.
  void Fence(uint32_t thread = 0);
  // The current bytes of whole pages are declared durable.
  void Settle(uint64_t page, uint64_t page_count);
  // Gives every undecided line its value and forgets it. kSeed takes value number
  //   ((M(M(seed) + line) >> 32) * n) >> 32,   M the finaliser of splitmix64, line = offset / 64,
  // of the line's n values: 0 the durable one, 1 the newest, and, when a store moved past a flushed
  // value that no fence made durable, 2 that one. It depends on no order of lines or stores.
  CrashCount Crash(const Keep& keep);

  uint64_t line_count() const { return line_count_; }
  const UndecidedCounters& counters() const { return counters_; }

 private:
  struct PageRecord;

  PageRecord* Find(uint64_t page) const;
  PageRecord* FindOrMake(uint64_t page);
  // `bytes`: of the page, before the store.
  void SaveBeforeStore(PageRecord* record, uint64_t lines, const uint8_t* bytes);
  void FlushLines(PageRecord* record, uint64_t lines);
  void FlushLinesBy(uint32_t thread, const PageRecord& record, uint64_t lines);
  void Drain(PageRecord* record);
  void DrainThread(uint32_t thread);
  void Release(PageRecord* record);
  void KeepLimits();
  uint64_t CrashPage(PageRecord* record, const Keep& keep);

  uint8_t* const base_;
  const uint64_t page_count_;
  const Persist& persist_;
  uint32_t* slot_of_page_;  // 1 + index into records_, 0 when the page has no undecided line
  std::vector<std::unique_ptr<PageRecord>> records_;
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t>
      flushed_slots_;  // records that the filesystem's fence has something to do for
  ThreadFlushes threads_;
  uint64_t line_count_ = 0;
  uint64_t record_count_ = 0;
  UndecidedCounters counters_{};
};

}  // namespace fauxdax

#endif  // FAUXDAX_UNDECIDED_H_
