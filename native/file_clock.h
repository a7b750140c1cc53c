// The times that files get, for native service and TypeScript alike: as Linux has it since 6.13
// (Documentation/filesystems/multigrain-ts.rst), fine where somebody may compare, coarse elsewhere.
// Nanoseconds since 1970. Any thread.
//
// Coarse times go by the tick of the kernel's coarse clock, so that of many changes in a row only
// the first of each tick is worth a commit. None lies before a fine time that was given earlier, so
// what came later never looks older.
#ifndef FAUXDAX_FILE_CLOCK_H_
#define FAUXDAX_FILE_CLOCK_H_

#include <atomic>
#include <cstdint>
#include <limits>

namespace fauxdax {

class FileClock {
 public:
  // Set back by more than this, a clock is followed; by less, times wait for it.
  static constexpr int64_t kSetBackNs = 1'000'000'000;

  // From here on every change has its own time, so that what is recorded of a program, and what a
  // power cut takes, does not depend on how fast it was. Before other threads ask.
  void GiveOnlyFine() { gives_coarse_ = false; }

  // The system's clock.
  static int64_t Realtime();

  // Now; later than all that was given before.
  int64_t Fine();
  // The same for a change that was made at `time`, which is not in the future.
  int64_t FineAt(int64_t time);
  // For a change made at `time` that nobody has to tell from others of its tick.
  int64_t CoarseAt(int64_t time) const;

 private:
  bool gives_coarse_ = true;
  // The latest fine time.
  std::atomic<int64_t> latest_{std::numeric_limits<int64_t>::min()};
};

}  // namespace fauxdax

#endif  // FAUXDAX_FILE_CLOCK_H_
