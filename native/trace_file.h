// The end of a trace file that grows: chunks of events (SPEC.md, Trace), filled in memory by
// whoever records and written by a thread of its own. The file already holds its header and base.
//
// Append(), HandOver(), Sync() and Finish() are called by one thread at a time: the caller orders
// them. Only the writer thread touches the file. Memory is bounded: when the writer falls behind by
// kBufferCount chunks, Append() waits for it. The first error of the file is kept and everything
// after it thrown away, so that whoever records never waits for a file that is beyond help; it has
// no end chunk then, and no reader takes it.
#ifndef FAUXDAX_TRACE_FILE_H_
#define FAUXDAX_TRACE_FILE_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fauxdax {

class TraceFile {
 public:
  // Largest record.
  static constexpr size_t kRecordBytesMax = (size_t{1} << 20) + 4096;
  // A chunk is handed over when it has this much.
  static constexpr size_t kChunkBytes = size_t{1} << 18;
  static constexpr size_t kBufferCount = 8;

  // Opens a trace to go on with. Returns 0 or a positive errno, EBADMSG when it is no trace or ends
  // inside a chunk, EEXIST when it is finished; *reason is for a person.
  static int Open(const std::string& path, std::unique_ptr<TraceFile>* out, std::string* reason);
  // Writes what was handed over, and no end chunk.
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  const std::string& path() const { return path_; }

  // Room for one record of that many bytes, which the caller fills before the next call.
  uint8_t* Append(size_t length_bytes);
  // Gives the writer what is there.
  void HandOver();
  // Waits until every record so far is in the file. 0, or the file's first error.
  int Sync();
  // The end chunk, and the file on the disk. Nothing is appended afterwards.
  int Finish();

  // The file's first error; 0 while there is none. Any thread.
  int error() const { return error_.load(std::memory_order_relaxed); }
  uint64_t event_count() const { return event_count_; }
  uint64_t chunk_count() const { return chunk_count_; }

 private:
  struct Buffer {
    std::unique_ptr<uint8_t[]> bytes;  // the chunk's header, then its payload
    size_t used_bytes = 0;             // payload
    uint32_t kind = 0;
  };

  TraceFile(std::string path, int fd, uint64_t next_sequence);
  Buffer* Current();
  void Queue(Buffer* buffer, uint32_t kind);
  void Run();
  void Write(Buffer* buffer);

  const std::string path_;
  const int fd_;
  uint64_t next_sequence_;  // writer thread only
  std::vector<Buffer> buffers_;
  Buffer* current_ = nullptr;
  uint64_t event_count_ = 0;
  uint64_t chunk_count_ = 0;
  bool finished_ = false;
  std::atomic<int> error_{0};

  std::mutex mutex_;  // of the queues and of stop_
  std::condition_variable wanted_;
  std::condition_variable written_;
  std::deque<Buffer*> full_;
  std::vector<Buffer*> free_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace fauxdax

#endif  // FAUXDAX_TRACE_FILE_H_
