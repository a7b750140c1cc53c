#include "device.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "check.h"
#include "recorder.h"

namespace fauxdax {

namespace {

constexpr size_t kWriteDataAt = sizeof(fuse_in_header) + sizeof(fuse_write_in);
constexpr size_t kMappingBytes = kRequestBytesMax + kPageBytes;

// An answer in one piece on one page, which the kernel looks up once: any structure fits.
struct alignas(512) SmallAnswer {
  fuse_out_header header;
  uint8_t bytes[512 - sizeof(fuse_out_header)];
};

static_assert(sizeof(SmallAnswer) == alignof(SmallAnswer));
static_assert(kWriteDataAt < kPageBytes);
static_assert(kRequestBytesMax >= kWriteDataAt + kTransferBytesMax, "the kernel insists on it");
static_assert(kRequestBytesMax >= FUSE_MIN_READ_BUFFER);

}  // namespace

RequestBuffer::RequestBuffer() {
  void* mapping =
      mmap(nullptr, kMappingBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mapping != MAP_FAILED, "no memory for a request buffer");
  mapping_ = static_cast<uint8_t*>(mapping);
  data_ = mapping_ + kPageBytes - kWriteDataAt;
}

RequestBuffer::~RequestBuffer() { munmap(mapping_, kMappingBytes); }

Request RequestBuffer::Parse(size_t length_bytes) const {
  const auto* header = reinterpret_cast<const fuse_in_header*>(data_);
  CHECK(length_bytes >= sizeof(fuse_in_header), "a request has a header");
  CHECK(header->len == length_bytes, "a request is read whole");
  const size_t extension_bytes = size_t{header->total_extlen} * 8;
  const size_t body_bytes = length_bytes - sizeof(fuse_in_header);
  CHECK(extension_bytes <= body_bytes, "extensions lie inside their request");
  return {header, data_ + sizeof(fuse_in_header), body_bytes - extension_bytes};
}

int Device::Receive(const RequestBuffer& buffer, size_t* length_bytes) {
  for (;;) {
    const ssize_t length = read(fd_, buffer.data(), RequestBuffer::size_bytes());
    if (length >= 0) {
      *length_bytes = length;
      return 0;
    }
    if (errno == EINTR) return EAGAIN;
    // ENOENT: the request was interrupted while it was being copied.
    if (errno != ENOENT) return errno;
  }
}

void Device::SetBlocking(bool blocking) {
  CHECK(fcntl(fd_, F_SETFL, O_RDWR | (blocking ? 0 : O_NONBLOCK)) == 0, "a device has a mode");
}

bool Device::Readable(int wait_ms) const {
  pollfd waiting = {fd_, POLLIN, 0};
  return poll(&waiting, 1, wait_ms) > 0;
}

void Device::Answer(uint64_t unique, int error, const void* bytes, size_t length_bytes) {
  CHECK(error == 0 || length_bytes == 0, "an error carries no bytes");
  CHECK(error >= 0 && error < 512, "an errno is one the kernel takes");
  fuse_out_header header = {static_cast<uint32_t>(sizeof(header) + length_bytes), -error, unique};
  if (recorder_ != nullptr) recorder_->Return(unique, error);
  if (length_bytes > sizeof(SmallAnswer::bytes)) {
    const iovec pieces[2] = {{&header, sizeof(header)}, {const_cast<void*>(bytes), length_bytes}};
    return Send(pieces, 2);
  }
  SmallAnswer answer;
  answer.header = header;
  if (length_bytes > 0) std::memcpy(answer.bytes, bytes, length_bytes);
  Finish(write(fd_, &answer, header.len));
}

void Device::AnswerPieces(uint64_t unique, iovec* pieces, size_t piece_count, size_t length_bytes) {
  CHECK(piece_count >= 1 && piece_count <= kAnswerPiecesMax, "an answer has its header");
  fuse_out_header header = {static_cast<uint32_t>(sizeof(header) + length_bytes), 0, unique};
  pieces[0] = {&header, sizeof(header)};
  if (recorder_ != nullptr) recorder_->Return(unique, 0);
  Send(pieces, piece_count);
}

void Device::Send(const iovec* pieces, size_t piece_count) {
  Finish(writev(fd_, pieces, piece_count));
}

void Device::Finish(ssize_t written_bytes) {
  if (written_bytes >= 0) return;
  if (errno == ENOENT || errno == ENODEV || errno == ENOTCONN || errno == ECONNABORTED) return;
  int none = 0;
  broken_.compare_exchange_strong(none, errno);
}

int Device::Notify(int code, const void* head, size_t head_bytes, const void* tail,
                   size_t tail_bytes) {
  fuse_out_header header = {static_cast<uint32_t>(sizeof(header) + head_bytes + tail_bytes), code,
                            0};
  const iovec pieces[3] = {{&header, sizeof(header)},
                           {const_cast<void*>(head), head_bytes},
                           {const_cast<void*>(tail), tail_bytes}};
  return writev(fd_, pieces, tail_bytes == 0 ? 2 : 3) < 0 ? errno : 0;
}

void Device::Close() {
  if (fd_ < 0) return;
  close(fd_);
  fd_ = -1;
}

}  // namespace fauxdax
