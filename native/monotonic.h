// The clock of time limits and of a trace's times. Any thread.
#ifndef FAUXDAX_MONOTONIC_H_
#define FAUXDAX_MONOTONIC_H_

#include <time.h>

#include <cstdint>

namespace fauxdax {

inline int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace fauxdax

#endif  // FAUXDAX_MONOTONIC_H_
