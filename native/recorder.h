// Records everything that happens to an image in one total order: the calls of programs and their
// returns, stores, flushes and fences of the region, what JavaScript adds (metadata, commits), and
// the lines that programs print. SPEC.md, Trace, has the bytes.
//
// Any thread. Whoever changes bytes of the region holds Order() over the change and its record, so
// that the trace has changes in the order in which they were made. The thread's current call, set
// by Serving, is what its records are attributed to. Before a call is recorded, and before anything
// of it happens, the outputs are emptied: what a program said before it asked is in the trace
// before its call. Offsets, lengths: bytes of the region. Times: nanoseconds since Open().
#ifndef FAUXDAX_RECORDER_H_
#define FAUXDAX_RECORDER_H_

#include <cstdint>
#include <memory>
#include <mutex>
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

struct RecorderCounters {
  uint64_t events;
  uint64_t chunks;
  uint64_t calls;
};

class Recorder {
 public:
  // Kinds of records that others than the native code make.
  enum class Note : uint8_t { kMetadata = 8, kCommit = 9, kForce = 10, kWorkloadEnd = 13 };

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

  // Before the answer is written. Nothing is recorded when the call was not.
  void Return(uint64_t unique, int error);

  [[nodiscard]] std::unique_lock<std::mutex> Order() { return std::unique_lock(order_); }
  // With Order() held.
  void Store(uint64_t offset, const uint8_t* bytes, uint64_t length_bytes, bool flushed);
  void Zero(uint64_t offset, uint64_t length_bytes);
  void Flush(uint64_t offset, uint64_t length_bytes);
  void Fence();
  void Canary(uint64_t page, uint64_t page_count, uint64_t owner_ino);

  // A record of JavaScript's. `value` is kForce's inode, kWorkloadEnd's exit status. The end of the
  // workload takes what the outputs still hold, also an unfinished line.
  void Append(Note note, std::string_view text, int64_t value);

  // Takes what the outputs hold, and hands all records so far to the writer.
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
  // With order_ held, all below.
  uint8_t* Begin(uint8_t kind, uint8_t flags, size_t body_bytes);
  void DrainOutputs();
  void PutLines(const Output& output, const std::string& lines);
  void PutProcess(const Process& process);
  void PutCall(const Request& request, uint32_t pid);

  std::unique_ptr<TraceFile> file_;
  int64_t started_ns_ = 0;

  std::mutex looking_;  // taken before order_; a call comes after the news of its process
  Processes processes_;

  std::mutex order_;  // of the trace; owns all below and file_
  std::vector<Output> outputs_;
  std::unordered_set<uint64_t> open_calls_;
  uint64_t calls_ = 0;
};

}  // namespace fauxdax

#endif  // FAUXDAX_RECORDER_H_
