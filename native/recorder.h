// Records everything that happens to an image in one total order: the calls of programs and their
// returns, stores, flushes and fences of the region, what JavaScript adds (metadata, commits), and
// the lines that programs print. SPEC.md, Trace, has the bytes.
//
// Any thread. Whoever changes bytes of the region holds Order() over the change and its record, so
// that the trace has changes in the order in which they were made. The thread's current call, set
// by Serving, is what its records are attributed to. Before a call is recorded, and before anything
// of it happens, the outputs are emptied: what a program said before it asked is in the trace
// before its call. Offsets, lengths: bytes of the region. Times: nanoseconds since Open().
//
// What programs do through DAX mappings reaches the kernel's FUSE not at all: whoever hears of it
// begins and ends such calls itself. Their numbers are odd, those of FUSE requests even.
#ifndef FAUXDAX_RECORDER_H_
#define FAUXDAX_RECORDER_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "device.h"
#include "output.h"
#include "processes.h"
#include "trace_file.h"

namespace fauxdax {

struct OutputPath {
  std::string path;
  uint32_t stream;
};

// What a program did through a DAX mapping; the values are opcodes of SPEC.md, Trace.
enum class MappingOperation : uint32_t {
  kStore = 0x10001,  // bytes that were found changed; see StoreFound()
  kFlush = 0x10002,
  kDrain = 0x10003,
  kSync = 0x10004,
  kFault = 0x10005,
  kFallocate = 0x10006,
};

struct MappingCall {
  MappingOperation operation;
  uint32_t pid;     // of the process, in our own namespace; 0: it is not known who
  uint32_t tid;     // of its thread as that knows itself, gettid(); 0 with 0, or for stores
  uint64_t ino;     // 0 for kDrain
  uint64_t offset;  // in the file
  uint64_t length_bytes;
  uint32_t flags;  // kFault: 1 for a store; kFallocate: the mode
};

struct RecorderCounters {
  uint64_t events;
  uint64_t chunks;
  uint64_t calls;
};

class Recorder {
 public:
  // Kinds of records that others than the native code make.
  enum class Note : uint8_t { kMetadata = 8, kCommit = 9, kForce = 10, kWorkloadEnd = 13 };
  // Whose flush or fence it is: the filesystem's own, or else the thread id of a program.
  static constexpr uint32_t kFilesystem = 0;

  // Goes on with the trace at `path`. 0 or a positive errno; *reason is for a person.
  static int Open(const std::string& path, const std::vector<OutputPath>& outputs,
                  std::unique_ptr<Recorder>* out, std::string* reason);
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const std::string& path() const { return file_->path(); }

  // The current call of this thread, for a scope: the request's where its kind is recorded, none
  // where it is not. A request that was `picked` by the helper was recorded when it came. A null
  // recorder does nothing.
  class Serving {
   public:
    Serving(Recorder* recorder, const Request& request, bool picked);
    ~Serving();
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;

   private:
    const uint64_t before_;
  };

  // A call of a mapping begins, and ends; outputs are emptied before. Returns its number.
  uint64_t Begin(const MappingCall& call);
  void End(uint64_t number, int error) { Return(number, error); }
  // Records of this thread belong to that call from here on, to none with 0. Returns the one
  // before.
  static uint64_t Serve(uint64_t number);

  // What finds the stores that processes made through mappings, which are recorded by this: called
  // with Order() held before a call or what a program said is recorded, so that stores made before
  // come before. Null for none.
  using Sweep = void (*)(void* owner);
  void SweepWith(Sweep sweep, void* owner);

  // Before the answer is written. Nothing is recorded when the call was not.
  void Return(uint64_t unique, int error);

  [[nodiscard]] std::unique_lock<std::mutex> Order() { return std::unique_lock(order_); }
  // The only process that has mappings; 0 when there are several, or none: stores that are found
  // later are its.
  void SetMapper(uint32_t pid);

  // With Order() held.
  // What programs printed so far is recorded: by who found a store and has not recorded it yet.
  void TakeOutputs();
  // Bytes that processes stored through mappings since somebody looked last: a call of its own,
  // whose offset is the region's, for which file that is the extents say.
  void StoreFound(uint64_t offset, const uint8_t* bytes, uint64_t length_bytes);
  void Store(uint64_t offset, const uint8_t* bytes, uint64_t length_bytes, bool flushed);
  void Zero(uint64_t offset, uint64_t length_bytes);
  // Fence() makes durable what the same thread flushed.
  void Flush(uint64_t offset, uint64_t length_bytes, uint32_t thread);
  void Fence(uint32_t thread);
  void Canary(uint64_t page, uint64_t page_count, uint64_t owner_ino);

  // A record of JavaScript's. `value` is kForce's inode, kWorkloadEnd's exit status. The end of the
  // workload takes what the outputs still hold, also an unfinished line.
  void Append(Note note, std::string_view text, int64_t value);

  // Takes what the outputs hold, then what was stored through mappings.
  void Look();
  // The same, and hands all records so far to the writer.
  void Drain();
  // All records so far are in the file. 0, or the file's first error.
  int Sync();
  // Ends the trace, on the disk. Nothing may be recorded afterwards. 0, or the file's first error.
  int Finish();
  // The file's first error, 0 while there is none: records are thrown away from there on.
  int error() const { return file_->error(); }

  RecorderCounters counters();

 private:
  Recorder() = default;
  int64_t Now() const;
  void Call(const Request& request);
  // As a record; its number. With order_ held.
  uint64_t PutMappingCall(const MappingCall& call);
  // With looking_ held: the process of a thread, 0 for thread 0. *news is set when there is some.
  uint32_t LookAt(uint32_t tid, std::optional<Process>* news);
  // With order_ held, all below.
  uint8_t* Put(uint8_t kind, uint8_t flags, size_t body_bytes);
  void DrainOutputs();
  void SweepStores();
  void PutLines(const Output& output, const std::string& lines);
  void PutProcess(const Process& process);
  void PutReturn(uint64_t unique, int error);
  void PutCall(const fuse_in_header& header, uint32_t pid, const void* arguments,
               size_t argument_bytes);

  std::unique_ptr<TraceFile> file_;
  int64_t started_ns_ = 0;

  std::mutex looking_;  // taken before order_; a call comes after the news of its process
  Processes processes_;

  std::mutex order_;  // of the trace; owns all below and file_
  std::vector<Output> outputs_;
  Sweep sweep_ = nullptr;
  void* sweep_owner_ = nullptr;
  std::unordered_set<uint64_t> open_calls_;
  uint64_t calls_ = 0;
  uint64_t mapping_calls_ = 0;
  uint32_t mapper_ = 0;
};

}  // namespace fauxdax

#endif  // FAUXDAX_RECORDER_H_
