#include "recorder.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "check.h"
#include "monotonic.h"

namespace fauxdax {

namespace {

enum Kind : uint8_t {
  kCallKind = 1,
  kReturnKind = 2,
  kStoreKind = 3,
  kZeroKind = 4,
  kFlushKind = 5,
  kFenceKind = 6,
  kCanaryKind = 7,
  kOutputKind = 11,
  kProcessKind = 12,
};

constexpr uint8_t kFlushedFlag = 1;
constexpr size_t kRecordHeaderBytes = 8;
constexpr size_t kArgumentBytesMax = 4096;
constexpr size_t kMappingArgumentBytes = 24;

static_assert(Output::kTakeBytesMax + 64 <= TraceFile::kRecordBytesMax);

// The call that this thread serves; 0 is none.
thread_local uint64_t current_call = 0;

// Fields of a record, one after the other, little-endian as the machine is.
class Fields {
 public:
  explicit Fields(uint8_t* at) : at_(at) {}

  template <typename T>
  Fields& Put(T value) {
    std::memcpy(at_, &value, sizeof(value));
    at_ += sizeof(value);
    return *this;
  }
  void Put(const void* bytes, size_t length_bytes) {
    if (length_bytes > 0) std::memcpy(at_, bytes, length_bytes);
  }

 private:
  uint8_t* at_;
};

bool IsRecorded(uint32_t opcode) {
  switch (opcode) {
    case FUSE_SETATTR:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
    case FUSE_OPEN:
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_FSYNC:
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
    case FUSE_FSYNCDIR:
    case FUSE_CREATE:
    case FUSE_TMPFILE:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
    case FUSE_RELEASE:
    case FUSE_SYNCFS:
    case FUSE_IOCTL:
      return true;
    default:
      return false;
  }
}

// How much of a request's body is arguments, and no payload.
size_t ArgumentBytes(const Request& request) {
  size_t length_bytes = request.body_bytes;
  if (request.header->opcode == FUSE_WRITE) {
    length_bytes = std::min(length_bytes, sizeof(fuse_write_in));
  } else if (request.header->opcode == FUSE_SETXATTR && length_bytes >= sizeof(uint32_t)) {
    // Its first field, in both of its forms, is the size of the value, which comes last.
    uint32_t value_bytes;
    std::memcpy(&value_bytes, request.body, sizeof(value_bytes));
    length_bytes -= std::min<size_t>(length_bytes, value_bytes);
  }
  return std::min(length_bytes, kArgumentBytesMax);
}

}  // namespace

int Recorder::Open(const std::string& path, const std::vector<OutputPath>& outputs,
                   std::unique_ptr<Recorder>* out, std::string* reason) {
  std::unique_ptr<Recorder> recorder(new Recorder);
  recorder->started_ns_ = MonotonicNs();
  for (const OutputPath& output : outputs) {
    const int error = Output::Open(output.path, output.stream, &recorder->outputs_.emplace_back());
    if (error == 0) continue;
    *reason = output.path + ": " + (error == EINVAL ? "it is no FIFO" : std::strerror(error));
    return error;
  }
  const int error = TraceFile::Open(path, &recorder->file_, reason);
  if (error != 0) {
    *reason = path + ": " + *reason;
    return error;
  }
  *out = std::move(recorder);
  return 0;
}

int64_t Recorder::Now() const { return MonotonicNs() - started_ns_; }

Recorder::Serving::Serving(Recorder* recorder, const Request& request, bool picked)
    : before_(current_call) {
  if (recorder == nullptr) return;
  const bool recorded = IsRecorded(request.header->opcode);
  current_call = recorded ? request.header->unique : 0;
  if (recorded && !picked) recorder->Call(request);
}

Recorder::Serving::~Serving() { current_call = before_; }

uint32_t Recorder::LookAt(uint32_t tid, std::optional<Process>* news) {
  if (tid == 0) return 0;
  uint32_t pid = tid;
  Process process;
  if (processes_.Look(tid, Now(), &pid, &process)) *news = std::move(process);
  return pid;
}

void Recorder::Call(const Request& request) {
  const std::lock_guard looking(looking_);
  std::optional<Process> news;
  const uint32_t pid = LookAt(request.header->pid, &news);
  const std::lock_guard lock(order_);
  DrainOutputs();
  if (news) PutProcess(*news);
  PutCall(*request.header, pid, request.body, ArgumentBytes(request));
}

uint64_t Recorder::Begin(const MappingCall& call) {
  const std::lock_guard looking(looking_);
  std::optional<Process> news;
  LookAt(call.pid, &news);
  const std::lock_guard lock(order_);
  DrainOutputs();
  if (news) PutProcess(*news);
  return PutMappingCall(call);
}

void Recorder::SetMapper(uint32_t pid) {
  const std::lock_guard looking(looking_);
  std::optional<Process> news;
  LookAt(pid, &news);
  const std::lock_guard lock(order_);
  if (news) PutProcess(*news);
  mapper_ = pid;
}

void Recorder::StoreFound(uint64_t offset, const uint8_t* bytes, uint64_t length_bytes) {
  const MappingCall call = {MappingOperation::kStore, mapper_, 0, 0, offset, length_bytes, 0};
  const uint64_t before = Serve(PutMappingCall(call));
  Store(offset, bytes, length_bytes, false);
  PutReturn(Serve(before), 0);
}

uint64_t Recorder::PutMappingCall(const MappingCall& call) {
  fuse_in_header header = {};
  header.unique = 2 * mapping_calls_++ + 1;
  header.opcode = static_cast<uint32_t>(call.operation);
  header.nodeid = call.ino;
  uint8_t arguments[kMappingArgumentBytes];
  Fields(arguments).Put(call.offset).Put(call.length_bytes).Put(call.flags).Put(call.tid);
  PutCall(header, call.pid, arguments, sizeof(arguments));
  return header.unique;
}

uint64_t Recorder::Serve(uint64_t number) { return std::exchange(current_call, number); }

void Recorder::PutCall(const fuse_in_header& header, uint32_t pid, const void* arguments,
                       size_t argument_bytes) {
  Fields(Put(kCallKind, 0, 48 + argument_bytes))
      .Put(header.unique)
      .Put(Now())
      .Put(header.opcode)
      .Put(pid)
      .Put(header.uid)
      .Put(header.gid)
      .Put(header.nodeid)
      .Put(static_cast<uint32_t>(argument_bytes))
      .Put(uint32_t{0})
      .Put(arguments, argument_bytes);
  open_calls_.insert(header.unique);
  calls_++;
}

void Recorder::Return(uint64_t unique, int error) {
  const std::lock_guard lock(order_);
  PutReturn(unique, error);
}

void Recorder::PutReturn(uint64_t unique, int error) {
  if (open_calls_.erase(unique) == 0) return;
  Fields(Put(kReturnKind, 0, 16)).Put(unique).Put(int32_t{error}).Put(uint32_t{0});
}

uint8_t* Recorder::Put(uint8_t kind, uint8_t flags, size_t body_bytes) {
  const size_t length_bytes = kRecordHeaderBytes + body_bytes;
  uint8_t* record = file_->Append(length_bytes);
  Fields(record).Put(static_cast<uint32_t>(length_bytes)).Put(kind).Put(flags).Put(uint16_t{0});
  return record + kRecordHeaderBytes;
}

void Recorder::Store(uint64_t offset, const uint8_t* bytes, uint64_t length_bytes, bool flushed) {
  if (length_bytes == 0) return;
  Fields(Put(kStoreKind, flushed ? kFlushedFlag : 0, 16 + length_bytes))
      .Put(offset)
      .Put(current_call)
      .Put(bytes, length_bytes);
}

void Recorder::Zero(uint64_t offset, uint64_t length_bytes) {
  if (length_bytes == 0) return;
  Fields(Put(kZeroKind, kFlushedFlag, 24)).Put(offset).Put(current_call).Put(length_bytes);
}

void Recorder::Flush(uint64_t offset, uint64_t length_bytes, uint32_t thread) {
  if (length_bytes == 0) return;
  Fields(Put(kFlushKind, 0, 32))
      .Put(offset)
      .Put(length_bytes)
      .Put(current_call)
      .Put(thread)
      .Put(uint32_t{0});
}

void Recorder::Fence(uint32_t thread) {
  Fields(Put(kFenceKind, 0, 16)).Put(current_call).Put(thread).Put(uint32_t{0});
}

void Recorder::Canary(uint64_t page, uint64_t page_count, uint64_t owner_ino) {
  Fields(Put(kCanaryKind, 0, 24)).Put(page).Put(page_count).Put(owner_ino);
}

void Recorder::PutProcess(const Process& process) {
  Fields(Put(kProcessKind, 0, 8 + process.command.size()))
      .Put(process.pid)
      .Put(process.parent_pid)
      .Put(process.command.data(), process.command.size());
}

void Recorder::Append(Note note, std::string_view text, int64_t value) {
  const std::lock_guard lock(order_);
  const auto kind = static_cast<uint8_t>(note);
  switch (note) {
    case Note::kMetadata:
    case Note::kCommit:
      Fields(Put(kind, 0, 8 + text.size())).Put(current_call).Put(text.data(), text.size());
      return;
    case Note::kForce:
      Fields(Put(kind, 0, 16 + text.size()))
          .Put(current_call)
          .Put(static_cast<uint64_t>(value))
          .Put(text.data(), text.size());
      return;
    case Note::kWorkloadEnd:
      DrainOutputs();
      for (Output& output : outputs_) {
        std::string line;
        if (output.TakeRest(&line)) PutLines(output, line);
      }
      Fields(Put(kind, 0, 16 + text.size()))
          .Put(Now())
          .Put(static_cast<int32_t>(value))
          .Put(uint32_t{0})
          .Put(text.data(), text.size());
      return;
  }
  CHECK(false, "a note has one of these kinds");
}

void Recorder::PutLines(const Output& output, const std::string& lines) {
  Fields(Put(kOutputKind, 0, 16 + lines.size()))
      .Put(Now())
      .Put(output.stream())
      .Put(uint32_t{0})
      .Put(lines.data(), lines.size());
}

void Recorder::SweepWith(Sweep sweep, void* owner) {
  const std::lock_guard lock(order_);
  sweep_ = sweep;
  sweep_owner_ = owner;
}

void Recorder::SweepStores() {
  if (sweep_ != nullptr) sweep_(sweep_owner_);
}

void Recorder::TakeOutputs() {
  for (Output& output : outputs_) {
    output.Drain([&](const std::string& lines) { PutLines(output, lines); });
  }
}

void Recorder::DrainOutputs() {
  TakeOutputs();
  // Programs under the shim have their stores found before they print: what is found now was stored
  // since.
  SweepStores();
}

void Recorder::Look() {
  const std::lock_guard lock(order_);
  DrainOutputs();
}

void Recorder::Drain() {
  const std::lock_guard lock(order_);
  DrainOutputs();
  file_->HandOver();
}

int Recorder::Sync() {
  const std::lock_guard lock(order_);
  return file_->Sync();
}

int Recorder::Finish() {
  const std::lock_guard lock(order_);
  return file_->Finish();
}

RecorderCounters Recorder::counters() {
  const std::lock_guard lock(order_);
  return {file_->event_count(), file_->chunk_count(), calls_};
}

}  // namespace fauxdax
