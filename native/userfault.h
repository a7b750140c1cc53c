// The userfaultfd of another process: its messages, and what can be done to its memory through it.
// Addresses and lengths are bytes, whole pages. Used by one thread at a time.
//
// While a thread of the process is inside mremap(2), the kernel refuses changes (EAGAIN) until the
// message about it has been read. So a change here reads ahead what there is, for Read() to give
// later, and tries again: it waits for the kernel in that process, never for its program.
#ifndef FAUXDAX_USERFAULT_H_
#define FAUXDAX_USERFAULT_H_

#include <linux/userfaultfd.h>

#include <chrono>
#include <cstdint>
#include <deque>

namespace fauxdax {

class Userfault {
 public:
  // Whether `fd` is a userfaultfd whose features have been agreed; makes it non-blocking. 0 or
  // EINVAL.
  static int Check(int fd);

  // Takes over a checked descriptor.
  explicit Userfault(int fd) : fd_(fd) {}
  ~Userfault();
  Userfault(const Userfault&) = delete;
  Userfault& operator=(const Userfault&) = delete;

  int fd() const { return fd_; }
  bool has_read_ahead() const { return !ahead_.empty(); }

  // 0; EAGAIN when there is none that poll(2) would not tell; ENODEV when there never will be.
  int Read(uffd_msg* message);

  // Faults of missing pages and stores to protected ones are told. Positive errnos of the ioctl.
  [[nodiscard]] int Register(uint64_t address, uint64_t length_bytes);
  // The next store to each page is told; memory in the range that is not registered is left alone.
  // 0; ESRCH when the process is gone; EAGAIN or ENOMEM when the kernel could not.
  [[nodiscard]] int Protect(uint64_t address, uint64_t length_bytes);
  // Stores go through, and threads that wait try again. The same errors.
  [[nodiscard]] int Unprotect(uint64_t address, uint64_t length_bytes);
  // Zeroes into a page where nothing is, and threads that wait for it go on; they do, too, where
  // there is something already, or nobody is told of faults any more. The same errors.
  [[nodiscard]] int Fill(uint64_t address);
  // Threads that wait for a fault in the range try again.
  void Wake(uint64_t address, uint64_t length_bytes);

 private:
  // Adds what the kernel has to `ahead_`, some at least; 0 or the errors of Read().
  int ReadKernel();
  int ProtectRange(uint64_t address, uint64_t length_bytes, bool on);
  // Whether a change that failed is to be tried again, having waited for what refused it.
  bool IsPassing(int error, std::chrono::steady_clock::time_point deadline);

  const int fd_;
  std::deque<uffd_msg> ahead_;
  bool drained_ = false;  // the last read took all there was
};

}  // namespace fauxdax

#endif  // FAUXDAX_USERFAULT_H_
