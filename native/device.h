// The /dev/fuse descriptor: receives requests, sends answers and notifications. Stateless but for
// the descriptor and the first error that no answer should meet; either serving thread calls it.
//
// A request that the kernel gave up meanwhile makes an answer fail with ENOENT, an unmounted
// filesystem with ENODEV; both are normal, and the second shows at the next Receive().
#ifndef FAUXDAX_DEVICE_H_
#define FAUXDAX_DEVICE_H_

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fuse_protocol.h"
#include "units.h"

namespace fauxdax {

class Recorder;

// Most bytes of one READ or WRITE: what the kernel allows without a raised max_pages_limit.
constexpr uint32_t kTransferPagesMax = 256;
constexpr uint32_t kTransferBytesMax = kTransferPagesMax * kPageBytes;
constexpr size_t kRequestBytesMax = kTransferBytesMax + 2 * kPageBytes;
// Pieces of one answer: its header, and a piece for each page an unaligned transfer can touch.
constexpr size_t kAnswerPiecesMax = kTransferPagesMax + 2;

// One request in a RequestBuffer.
struct Request {
  const fuse_in_header* header;
  const uint8_t* body;  // behind the header
  size_t body_bytes;    // without extensions
};

// Room for one request, placed so that the data of a WRITE starts on a page.
class RequestBuffer {
 public:
  RequestBuffer();
  ~RequestBuffer();
  RequestBuffer(const RequestBuffer&) = delete;
  RequestBuffer& operator=(const RequestBuffer&) = delete;

  uint8_t* data() const { return data_; }
  static constexpr size_t size_bytes() { return kRequestBytesMax; }

  // The request of `length_bytes` at the start of the buffer.
  Request Parse(size_t length_bytes) const;

 private:
  uint8_t* mapping_;
  uint8_t* data_;
};

class Device {
 public:
  // Takes ownership of `fd`, which the event loop makes non-blocking.
  explicit Device(int fd) : fd_(fd) {}
  ~Device() { Close(); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int fd() const { return fd_; }

  // Returns are recorded before they are sent. Called before the first request; the recorder
  // outlives the device.
  void Record(Recorder* recorder) { recorder_ = recorder; }

  // 0 with a request of *length_bytes in the buffer; EAGAIN when none waits or a signal came;
  // ENODEV when unmounted; else what broke the connection.
  int Receive(const RequestBuffer& buffer, size_t* length_bytes);
  // Whether Receive() waits for a request, for whoever calls it.
  void SetBlocking(bool blocking);
  // Waits for a request at most `wait_ms`. True when one waits or the connection ended.
  bool Readable(int wait_ms) const;

  // Answers with a positive errno, or 0 and no bytes.
  void AnswerError(uint64_t unique, int error) { Answer(unique, error, nullptr, 0); }
  void Answer(uint64_t unique, int error, const void* bytes, size_t length_bytes);
  // Answers with `pieces`, the first of which is left free for the header.
  void AnswerPieces(uint64_t unique, iovec* pieces, size_t piece_count, size_t length_bytes);

  // Sends one notification of up to two parts. Blocks while the kernel writes back dirty pages,
  // that is until another thread answered those WRITEs. Returns a positive errno or 0.
  int Notify(int code, const void* head, size_t head_bytes, const void* tail, size_t tail_bytes);

  // The first error of an answer that was neither sent nor given up by the kernel; 0 when none.
  int broken() const { return broken_.load(std::memory_order_relaxed); }

  // Nobody else may use the device meanwhile or afterwards.
  void Close();

 private:
  void Send(const iovec* pieces, size_t piece_count);
  // After the system call that sent an answer, which left its errno.
  void Finish(ssize_t written_bytes);

  int fd_;
  Recorder* recorder_ = nullptr;
  std::atomic<int> broken_{0};
};

}  // namespace fauxdax

#endif  // FAUXDAX_DEVICE_H_
