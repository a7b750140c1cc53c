// What threads of programs flushed of undecided lines and have not fenced: their fence makes
// durable what they flushed themselves, and nobody else's does. Of a line the flushes are kept in
// their order, those of the filesystem among them where one of a thread waits: its values are
// Undecided's.
//
// Not thread safe, as Undecided, which owns it. A line is its offset in the region / 64.
#ifndef FAUXDAX_THREAD_FLUSHES_H_
#define FAUXDAX_THREAD_FLUSHES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "units.h"

namespace fauxdax {

class ThreadFlushes {
 public:
  using Bytes = std::array<uint8_t, kLineBytes>;

  struct Fenced {
    Bytes bytes;
    // The filesystem flushed the line since, and has not fenced.
    bool is_before_filesystem;
  };

  bool empty() const { return lines_.empty(); }
  // Some flush of the line waits for its fence.
  bool Has(uint64_t line) const { return lines_.contains(line); }
  // The value of its last flush; nullptr when there is none.
  const uint8_t* Last(uint64_t line) const;

  void Flush(uint32_t thread, uint64_t line, const uint8_t* bytes);
  // Lines that the thread flushed since its last fence, and perhaps some that were forgotten since.
  std::unordered_set<uint64_t> TakeLines(uint32_t thread);
  // The thread's flush of a line is fenced: it and all before it wait no more.
  std::optional<Fenced> Fence(uint32_t thread, uint64_t line);

  void FlushByFilesystem(uint64_t line);
  void FenceByFilesystem(uint64_t line);

  void Forget(uint64_t line) { lines_.erase(line); }
  void Clear();

 private:
  struct Flushed {
    uint32_t thread;  // 0: the filesystem; no bytes
    Bytes bytes;
  };
  using Order = std::vector<Flushed>;

  static Order::iterator Find(Order* order, uint32_t thread);
  // Everything up to the flush goes; the line, when no flush of a thread is left.
  void EraseUpTo(uint64_t line, Order* order, Order::iterator last);

  std::unordered_map<uint64_t, Order> lines_;
  std::unordered_map<uint32_t, std::unordered_set<uint64_t>> lines_of_thread_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_THREAD_FLUSHES_H_
