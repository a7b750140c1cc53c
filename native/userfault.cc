#include "userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "units.h"

namespace fauxdax {

namespace {

using std::chrono::steady_clock;

// How long the kernel may refuse a change because of an mremap(2) that does not end.
constexpr std::chrono::seconds kRefusalMax{2};
constexpr std::chrono::microseconds kRefusalPause{20};
constexpr size_t kMessagesMax = 16;

}  // namespace

int Userfault::Check(int fd) {
  char target[64];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), target, sizeof(target));
  if (length < 0 || std::string_view(target, length) != "anon_inode:[userfaultfd]") return EINVAL;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return EINVAL;
  // One whose features were never agreed polls as an error.
  pollfd state = {fd, POLLIN, 0};
  return poll(&state, 1, 0) >= 0 && !(state.revents & POLLERR) ? 0 : EINVAL;
}

Userfault::~Userfault() { close(fd_); }

int Userfault::Read(uffd_msg* message) {
  if (ahead_.empty()) {
    // What came since is told by poll(2): asking for it costs every single fault a system call.
    if (std::exchange(drained_, false)) return EAGAIN;
    const int error = ReadKernel();
    if (error != 0) return error;
  }
  *message = ahead_.front();
  ahead_.pop_front();
  return 0;
}

int Userfault::ReadKernel() {
  uffd_msg messages[kMessagesMax];
  for (;;) {
    // The process shares the descriptor's flags: not to wait is asked for with each read.
    iovec vector = {messages, sizeof(messages)};
    ssize_t count = preadv2(fd_, &vector, 1, -1, RWF_NOWAIT);
    if (count < 0 && errno == EOPNOTSUPP) count = read(fd_, messages, sizeof(messages));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return EAGAIN;
    if (count <= 0 || count % sizeof(uffd_msg) != 0) return ENODEV;
    const size_t message_count = count / sizeof(uffd_msg);
    ahead_.insert(ahead_.end(), messages, messages + message_count);
    drained_ = message_count < kMessagesMax;
    return 0;
  }
}

int Userfault::Register(uint64_t address, uint64_t length_bytes) {
  uffdio_register asked = {};
  asked.range = {address, length_bytes};
  asked.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
  return ioctl(fd_, UFFDIO_REGISTER, &asked) == 0 ? 0 : errno;
}

int Userfault::Protect(uint64_t address, uint64_t length_bytes) {
  return ProtectRange(address, length_bytes, true);
}

int Userfault::Unprotect(uint64_t address, uint64_t length_bytes) {
  uffdio_writeprotect asked = {};
  asked.range = {address, length_bytes};
  if (ioctl(fd_, UFFDIO_WRITEPROTECT, &asked) == 0) return 0;  // and has woken them
  const int error = ProtectRange(address, length_bytes, false);
  // Also where there was nothing to change.
  Wake(address, length_bytes);
  return error;
}

int Userfault::ProtectRange(uint64_t address, uint64_t length_bytes, bool on) {
  uffdio_writeprotect asked = {};
  asked.range = {address, length_bytes};
  asked.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  const auto deadline = steady_clock::now() + kRefusalMax;
  while (ioctl(fd_, UFFDIO_WRITEPROTECT, &asked) != 0) {
    const int error = errno;
    if (error == ENOENT) {
      // Something in it is not registered, and what follows was not reached.
      if (length_bytes <= kPageBytes) return 0;
      const uint64_t half_bytes = (length_bytes / kPageBytes / 2) * kPageBytes;
      const int first = ProtectRange(address, half_bytes, on);
      const int second = ProtectRange(address + half_bytes, length_bytes - half_bytes, on);
      return first != 0 ? first : second;
    }
    if (!IsPassing(error, deadline)) return error;
  }
  return 0;
}

bool Userfault::IsPassing(int error, steady_clock::time_point deadline) {
  if (error == EINTR) return true;
  if (error != EAGAIN || steady_clock::now() > deadline) return false;
  while (ReadKernel() == 0) {
  }
  drained_ = false;
  std::this_thread::sleep_for(kRefusalPause);
  return true;
}

int Userfault::Fill(uint64_t address) {
  uffdio_zeropage asked = {};
  asked.range = {address, kPageBytes};
  const auto deadline = steady_clock::now() + kRefusalMax;
  while (ioctl(fd_, UFFDIO_ZEROPAGE, &asked) != 0) {
    const int error = errno;
    if (IsPassing(error, deadline)) continue;
    Wake(address, kPageBytes);
    return error == EEXIST || error == ENOENT ? 0 : error;
  }
  return 0;
}

void Userfault::Wake(uint64_t address, uint64_t length_bytes) {
  uffdio_range range = {address, length_bytes};
  // Fails only for a process that is gone.
  (void)ioctl(fd_, UFFDIO_WAKE, &range);
}

}  // namespace fauxdax
