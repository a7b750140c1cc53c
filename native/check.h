// CHECK(condition, reason): a bug, never an operating error. Stays on in every build, independent
// of NDEBUG; prints the place, the condition and the reason on standard error and ends the process,
// so that a broken invariant stops the mount and is never answered as EIO. Any thread.
#ifndef FAUXDAX_CHECK_H_
#define FAUXDAX_CHECK_H_

#include <cstdio>
#include <cstdlib>

namespace fauxdax {

[[noreturn, gnu::cold, gnu::noinline]] inline void CheckFailed(const char* file, int line,
                                                               const char* condition,
                                                               const char* reason) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s: %s\n", file, line, condition, reason);
  std::fflush(stderr);
  std::abort();
}

}  // namespace fauxdax

#define CHECK(condition, reason)                                        \
  do {                                                                  \
    if (!(condition)) [[unlikely]] {                                    \
      ::fauxdax::CheckFailed(__FILE__, __LINE__, #condition, (reason)); \
    }                                                                   \
  } while (0)

#endif  // FAUXDAX_CHECK_H_
