#include "trace_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "check.h"
#include "crc32.h"
#include "own_thread.h"

namespace fauxdax {

namespace {

constexpr size_t kFileHeaderBytes = 64;
constexpr size_t kChunkHeaderBytes = 32;
constexpr char kFileMagic[8] = {'F', 'D', 'X', 'T', 'R', 'A', 'C', 'E'};
constexpr uint32_t kChunkMagic = 0x4b4e4843;
constexpr uint32_t kVersion = 2;
constexpr uint32_t kEventsKind = 4;
constexpr uint32_t kEndKind = 5;
constexpr size_t kEndBytes = 16;
constexpr size_t kPayloadBytesMax = size_t{4} << 20;

static_assert(TraceFile::kChunkBytes + TraceFile::kRecordBytesMax <= kPayloadBytesMax);

// As it lies in the file.
struct ChunkHeader {
  uint32_t magic;
  uint32_t kind;
  uint64_t sequence;
  uint32_t payload_bytes;
  uint32_t payload_crc;
  uint32_t zero;
  uint32_t header_crc;
};
static_assert(sizeof(ChunkHeader) == kChunkHeaderBytes);

uint32_t HeaderCrc(const ChunkHeader& header) {
  return Crc32(reinterpret_cast<const uint8_t*>(&header), kChunkHeaderBytes - sizeof(uint32_t));
}

// All bytes or an errno; EBADMSG when the file ends before.
int ReadAt(int fd, void* target, size_t length_bytes, uint64_t offset) {
  auto* bytes = static_cast<uint8_t*>(target);
  while (length_bytes > 0) {
    const ssize_t count = pread(fd, bytes, length_bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? errno : EBADMSG;
    bytes += count;
    offset += count;
    length_bytes -= count;
  }
  return 0;
}

int WriteAll(int fd, const uint8_t* bytes, size_t length_bytes) {
  while (length_bytes > 0) {
    const ssize_t count = write(fd, bytes, length_bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    bytes += count;
    length_bytes -= count;
  }
  return 0;
}

// Walks the chunks' headers to the end; *next_sequence is that of the chunk to come.
int Survey(int fd, uint64_t* next_sequence, std::string* reason) {
  uint8_t head[kFileHeaderBytes];
  int error = ReadAt(fd, head, sizeof(head), 0);
  uint32_t version = 0;
  std::memcpy(&version, head + sizeof(kFileMagic), sizeof(version));
  if (error != 0 || std::memcmp(head, kFileMagic, sizeof(kFileMagic)) != 0) {
    *reason = "it is no trace";
    return error == 0 ? EBADMSG : error;
  }
  if (version != kVersion) {
    *reason = "it is a trace of version " + std::to_string(version);
    return EBADMSG;
  }
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0) return errno;
  uint64_t offset = kFileHeaderBytes;
  for (*next_sequence = 0; offset != static_cast<uint64_t>(end); ++*next_sequence) {
    ChunkHeader header;
    error = ReadAt(fd, &header, sizeof(header), offset);
    const uint64_t next = offset + sizeof(header) + header.payload_bytes;
    if (error != 0 || header.magic != kChunkMagic || header.header_crc != HeaderCrc(header) ||
        header.sequence != *next_sequence || next > static_cast<uint64_t>(end)) {
      *reason = "its chunk at byte " + std::to_string(offset) + " is damaged";
      return error == 0 ? EBADMSG : error;
    }
    if (header.kind == kEndKind) {
      *reason = "it is finished";
      return EEXIST;
    }
    offset = next;
  }
  return 0;
}

}  // namespace

int TraceFile::Open(const std::string& path, std::unique_ptr<TraceFile>* out, std::string* reason) {
  const int fd = open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    *reason = std::strerror(error);
    return error;
  }
  uint64_t next_sequence = 0;
  const int error = Survey(fd, &next_sequence, reason);
  if (error != 0) {
    if (reason->empty()) *reason = std::strerror(error);
    close(fd);
    return error;
  }
  out->reset(new TraceFile(path, fd, next_sequence));
  return 0;
}

TraceFile::TraceFile(std::string path, int fd, uint64_t next_sequence)
    : path_(std::move(path)), fd_(fd), next_sequence_(next_sequence), buffers_(kBufferCount) {
  for (Buffer& buffer : buffers_) {
    buffer.bytes = std::make_unique_for_overwrite<uint8_t[]>(kChunkHeaderBytes + kChunkBytes +
                                                             kRecordBytesMax);
    free_.push_back(&buffer);
  }
  thread_ = StartThread([this] { Run(); });
}

TraceFile::~TraceFile() {
  if (current_ != nullptr) HandOver();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    wanted_.notify_one();
  }
  thread_.join();
  close(fd_);
}

TraceFile::Buffer* TraceFile::Current() {
  if (current_ != nullptr) return current_;
  std::unique_lock lock(mutex_);
  written_.wait(lock, [this] { return !free_.empty(); });
  current_ = free_.back();
  free_.pop_back();
  current_->used_bytes = 0;
  return current_;
}

uint8_t* TraceFile::Append(size_t length_bytes) {
  CHECK(!finished_, "nothing is recorded after the end");
  CHECK(length_bytes <= kRecordBytesMax, "a record fits a chunk");
  if (current_ != nullptr && current_->used_bytes >= kChunkBytes) HandOver();
  Buffer* buffer = Current();
  uint8_t* room = buffer->bytes.get() + kChunkHeaderBytes + buffer->used_bytes;
  buffer->used_bytes += length_bytes;
  event_count_++;
  return room;
}

void TraceFile::HandOver() {
  if (current_ == nullptr) return;
  chunk_count_++;
  Queue(std::exchange(current_, nullptr), kEventsKind);
}

void TraceFile::Queue(Buffer* buffer, uint32_t kind) {
  buffer->kind = kind;
  const std::lock_guard lock(mutex_);
  full_.push_back(buffer);
  wanted_.notify_one();
}

int TraceFile::Sync() {
  HandOver();
  std::unique_lock lock(mutex_);
  written_.wait(lock, [this] { return free_.size() == kBufferCount; });
  return error();
}

int TraceFile::Finish() {
  HandOver();
  Buffer* buffer = Current();
  const uint64_t counts[2] = {event_count_, chunk_count_};
  static_assert(sizeof(counts) == kEndBytes);
  std::memcpy(buffer->bytes.get() + kChunkHeaderBytes, counts, kEndBytes);
  buffer->used_bytes = kEndBytes;
  Queue(std::exchange(current_, nullptr), kEndKind);
  finished_ = true;
  const int error = Sync();
  if (error != 0) return error;
  return fsync(fd_) == 0 ? 0 : errno;
}

void TraceFile::Run() {
  pthread_setname_np(pthread_self(), "fauxdax-trace");
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stop_ || !full_.empty(); });
    if (full_.empty()) return;
    Buffer* buffer = full_.front();
    full_.pop_front();
    lock.unlock();
    if (error() == 0) Write(buffer);
    lock.lock();
    free_.push_back(buffer);
    written_.notify_one();
  }
}

void TraceFile::Write(Buffer* buffer) {
  const uint8_t* payload = buffer->bytes.get() + kChunkHeaderBytes;
  ChunkHeader header = {kChunkMagic,
                        buffer->kind,
                        next_sequence_++,
                        static_cast<uint32_t>(buffer->used_bytes),
                        Crc32(payload, buffer->used_bytes),
                        0,
                        0};
  header.header_crc = HeaderCrc(header);
  std::memcpy(buffer->bytes.get(), &header, sizeof(header));
  error_.store(WriteAll(fd_, buffer->bytes.get(), kChunkHeaderBytes + buffer->used_bytes),
               std::memory_order_relaxed);
}

}  // namespace fauxdax
