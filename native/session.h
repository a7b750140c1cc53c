// One FUSE connection: reads /dev/fuse on the JavaScript thread, answers INIT and the rest of the
// protocol's own business, has READ and WRITE served natively, and calls the script for all else.
//
// Everything here runs on the JavaScript thread of the environment whose loop it was given; only
// the helper is a second thread. Each request is answered exactly once: by the data service, by a
// native answer, by the script's status, or later by Answer() when the script deferred it.
#ifndef FAUXDAX_SESSION_H_
#define FAUXDAX_SESSION_H_

#include <uv.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data_service.h"
#include "decode.h"
#include "device.h"
#include "file_table.h"
#include "helper.h"
#include "recorder.h"
#include "region.h"
#include "stretch.h"

namespace fauxdax {

// What a session asks of JavaScript, always on its thread.
class SessionScript {
 public:
  // The handler threw; what() is its message. No errno and none of lib/frame.ts.
  static constexpr int kThrew = -3;

  virtual ~SessionScript() = default;
  // The handler's result, or kThrew.
  virtual int Call(uint32_t opcode, const NameBytes& name, const NameBytes& name2) = 0;
  virtual std::string TakeMessage() = 0;
  // The calls since the last EndBatch() are over: what they promised may run. Comes once for a
  // whole stretch, at once after a deferral.
  virtual void EndBatch() = 0;
  // Notifications up to this count are carried out.
  virtual void NotificationsDone(uint64_t done) = 0;
  // The connection ended by itself; nullptr when it was unmounted. At most once.
  virtual void End(const char* reason) = 0;
  // After Close(), when the event loop let go too: the last call.
  virtual void Closed() = 0;
};

struct SessionCounters {
  uint64_t requests;
  uint64_t native_syncs;
  uint64_t script_calls;
  uint64_t helper_requests;
  uint64_t notifications;
  uint64_t stretches;
};

class Session {
 public:
  // Both arrays have frame::kSlots numbers; script and arrays outlive Closed(). `fd` is taken over.
  // Without `recorder` nothing is recorded.
  Session(int fd, std::shared_ptr<Region> region, std::shared_ptr<Recorder> recorder,
          bool read_only, const double* reply, double* request, SessionScript* script);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Starts serving. Returns 0, or a positive errno when the loop does not take the descriptor.
  // `direct_mappings` as in Negotiate().
  int Start(uv_loop_t* loop, bool direct_mappings);

  // The bytes of the current request, and where the script puts the bytes of its answer. Shared,
  // for JavaScript may hold on to them longer.
  const std::shared_ptr<RequestBuffer>& request_buffer() const { return request_buffer_; }
  const std::shared_ptr<RequestBuffer>& reply_buffer() const { return reply_buffer_; }

  FileTable& files() { return files_; }
  DataService& data() { return data_; }
  Helper& helper() { return *helper_; }
  bool closed() const { return closed_; }

  // In a READDIR or READDIRPLUS: false when the entry does not fit any more.
  bool AddEntry(std::string_view name, uint64_t cookie);
  // True while a READDIR or READDIRPLUS is being asked of the script.
  bool listing() const;

  // Makes a deferred request the one being asked until it is answered, for AddEntry(). False when
  // none is deferred by that number.
  [[nodiscard]] bool Resume(uint64_t unique);
  // Answers a deferred request. False when no request of that opcode is deferred by that number.
  [[nodiscard]] bool Answer(uint64_t unique, uint32_t opcode, int status);

  // Any thread, also after Close(): the event loop is about to be woken for something else, and is
  // not to wait for a stretch to end. LoopHadTurn(), on the JavaScript thread, says that it was.
  void WantLoop();
  void LoopHadTurn();

  // Stops serving, waits for the helper and closes the descriptor, which the kernel takes as the
  // daemon's death: what is still asked fails. May be called twice, and from inside the script.
  void Close();

  SessionCounters counters() const;

 private:
  // The event loop's handles; they outlive the session until the loop has closed them.
  struct Wakeups;
  struct Deferred {
    uint32_t opcode;
    uint32_t answer_bytes_max;
  };

  static void OnReadable(uv_poll_t* poll, int status, int events);
  static void OnWake(uv_async_t* async);
  static void OnHandleClosed(uv_handle_t* handle);

  // Serves what waits, up to a bound; then the loop has its turn.
  void Pump();
  void PumpPicked();
  // Waits for requests and serves them until the stretch is over or the event loop has something to
  // do; no longer than a tick of the helper. Does nothing when no stretch is granted.
  void PumpStretch();
  // Receives and serves one request. False when there is none, or none is to follow.
  bool PumpOne();
  void Serve(const Request& request, bool picked);
  // True when the protocol alone knew what to do.
  bool ServeNatively(const Request& request);
  // FSYNC and FSYNCDIR, where TypeScript would find nothing to decide and nothing to commit.
  bool Sync(const Request& request);
  void Init(const Request& request);
  void Forget(const Request& request);
  void Ask(const Request& request);
  void Finish(uint64_t unique, uint32_t opcode, int status, uint32_t answer_bytes_max);
  // The connection is over: stops serving, then tells the script.
  void End(const char* reason);
  void EndBroken(const std::string& what);
  void StopPolling();
  // Answers what still comes, without the script, until the helper is through.
  void ServeUntilHelperFinished();

  const std::shared_ptr<Recorder> recorder_;
  Device device_;
  const std::shared_ptr<Region> region_;
  const double* const reply_;
  double* const request_;
  SessionScript* const script_;
  const std::shared_ptr<RequestBuffer> request_buffer_;
  const std::shared_ptr<RequestBuffer> reply_buffer_;
  FileTable files_;
  DataService data_;
  std::mutex stretch_mutex_;  // taken where stretch_ comes and goes, and by WantLoop()
  std::unique_ptr<Stretch> stretch_;
  std::unique_ptr<Helper> helper_;
  uv_loop_t* loop_ = nullptr;
  Wakeups* wakeups_ = nullptr;

  bool setxattr_extended_ = false;
  bool direct_mappings_ = false;
  bool ended_ = false;
  bool closed_ = false;
  bool asking_ = false;
  // The last wake-up found more than one request.
  bool busy_ = false;
  uint64_t wakeups_count_ = 0;
  // A request was deferred since the event loop last had its turn.
  bool deferred_any_ = false;
  // Of the request being asked, for AddEntry().
  uint32_t asked_opcode_ = 0;
  uint32_t asked_bytes_max_ = 0;
  size_t entry_bytes_ = 0;
  // The deferred request that Resume() made the one being asked; 0 before the first.
  uint64_t resumed_ = 0;
  std::unordered_map<uint64_t, Deferred> deferred_;

  uint64_t requests_ = 0;
  uint64_t native_syncs_ = 0;
  uint64_t script_calls_ = 0;
  uint64_t stretches_ = 0;
  SessionCounters counters_at_close_ = {};
};

}  // namespace fauxdax

#endif  // FAUXDAX_SESSION_H_
