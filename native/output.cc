#include "output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace fauxdax {

namespace {

constexpr size_t kReadBytes = size_t{1} << 16;
// The most that anybody may ask for without privileges, as Linux is delivered.
constexpr int kCapacityBytes = 1 << 20;

}  // namespace

int Output::Open(const std::string& path, uint32_t stream, Output* out) {
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return errno;
  out->fd_ = fd;
  out->stream_ = stream;
  struct stat status;
  if (fstat(fd, &status) != 0) return errno;
  if (!S_ISFIFO(status.st_mode)) return EINVAL;
  // A smaller one only makes its writers wait more often.
  (void)fcntl(fd, F_SETPIPE_SZ, kCapacityBytes);
  const int capacity_bytes = fcntl(fd, F_GETPIPE_SZ);
  if (capacity_bytes < 0) return errno;
  out->capacity_bytes_ = capacity_bytes;
  return 0;
}

Output::~Output() {
  if (fd_ >= 0) close(fd_);
}

Output::Output(Output&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      stream_(other.stream_),
      capacity_bytes_(other.capacity_bytes_),
      rest_(std::move(other.rest_)) {}

bool Output::Read() {
  char bytes[kReadBytes];
  for (;;) {
    const ssize_t count = read(fd_, bytes, sizeof(bytes));
    if (count < 0 && errno == EINTR) continue;
    // Empty, or nobody has it open for writing: both are no news.
    if (count <= 0) return false;
    read_bytes_ = count;
    rest_.append(bytes, count);
    return true;
  }
}

bool Output::TakeLines(std::string* lines) {
  const size_t end = rest_.rfind('\n');
  if (end != std::string::npos) {
    lines->assign(rest_, 0, end);
    rest_.erase(0, end + 1);
    return true;
  }
  if (rest_.size() < kLineBytesMax) return false;
  lines->assign(rest_, 0, kLineBytesMax);
  rest_.erase(0, kLineBytesMax);
  return true;
}

bool Output::TakeRest(std::string* line) {
  if (rest_.empty()) return false;
  *line = std::exchange(rest_, {});
  return true;
}

}  // namespace fauxdax
