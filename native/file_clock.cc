#include "file_clock.h"

#include <time.h>

#include <algorithm>

namespace fauxdax {

namespace {

int64_t Read(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

int64_t FileClock::Realtime() { return Read(CLOCK_REALTIME); }

int64_t FileClock::Fine() {
  const int64_t now = Realtime();
  int64_t latest = latest_.load();
  int64_t time;
  do {
    const bool is_set_back = latest >= now && latest - now >= kSetBackNs;
    time = is_set_back ? now : std::max(now, latest + 1);
  } while (!latest_.compare_exchange_weak(latest, time));
  return time;
}

int64_t FileClock::FineAt(int64_t time) {
  int64_t latest = latest_.load();
  while (latest < time && !latest_.compare_exchange_weak(latest, time)) {
  }
  return time;
}

int64_t FileClock::CoarseAt(int64_t time) const {
  if (!gives_coarse_) return time;
  const int64_t tick = Read(CLOCK_REALTIME_COARSE);
  const int64_t latest = latest_.load();
  // A change of a tick that is over, or of before a time that was given since: only its own is
  // right.
  return tick > time || latest > time ? time : std::max(tick, latest);
}

}  // namespace fauxdax
