#include "session.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "check.h"
#include "encode.h"
#include "frame.h"
#include "negotiate.h"

namespace fauxdax {

namespace {

// Requests served before the event loop has its turn again.
constexpr int kBatchMax = 64;
// Requests served in a stretch, whatever the helper does.
constexpr int kStretchMax = 1024;
// Wake-ups between two looks for a second request.
constexpr uint64_t kLookEvery = 16;
// How long Close() waits at a time for what the helper's last notification needs.
constexpr int kClosingWaitMs = 1;

}  // namespace

struct Session::Wakeups {
  uv_poll_t poll;
  uv_async_t async;
  Session* session;  // nullptr once closed
  SessionScript* script;
  int open_handles;
};

Session::Session(int fd, std::shared_ptr<Region> region, std::shared_ptr<Recorder> recorder,
                 bool read_only, const double* reply, double* request, SessionScript* script)
    : recorder_(std::move(recorder)),
      device_(fd),
      region_(std::move(region)),
      reply_(reply),
      request_(request),
      script_(script),
      request_buffer_(std::make_shared<RequestBuffer>()),
      reply_buffer_(std::make_shared<RequestBuffer>()),
      data_(&files_, region_.get(), &device_, read_only) {
  device_.Record(recorder_.get());
  if (region_ && region_->sees_changes()) files_.clock()->GiveOnlyFine();
}

Session::~Session() { CHECK(closed_, "a session is closed before it goes"); }

int Session::Start(uv_loop_t* loop, bool direct_mappings) {
  direct_mappings_ = direct_mappings;
  auto wakeups = std::make_unique<Wakeups>();
  const int error = uv_poll_init(loop, &wakeups->poll, device_.fd());
  if (error != 0) return -error;
  wakeups_ = wakeups.release();
  wakeups_->session = this;
  wakeups_->script = script_;
  wakeups_->poll.data = wakeups_;
  wakeups_->async.data = wakeups_;
  wakeups_->open_handles = 2;
  CHECK(uv_async_init(loop, &wakeups_->async, OnWake) == 0, "the loop takes an async handle");
  CHECK(uv_poll_start(&wakeups_->poll, UV_READABLE, OnReadable) == 0, "the loop polls");
  loop_ = loop;
  {
    const std::lock_guard lock(stretch_mutex_);
    stretch_ = std::make_unique<Stretch>(&device_);
  }
  helper_ = std::make_unique<Helper>(
      &device_, &data_, stretch_.get(), recorder_.get(),
      [](void* wakeups) { uv_async_send(&static_cast<Wakeups*>(wakeups)->async); }, wakeups_);
  return 0;
}

void Session::OnReadable(uv_poll_t* poll, int, int) {
  // An error of the poll shows at the next read, which says which one.
  Session* session = static_cast<Wakeups*>(poll->data)->session;
  if (session != nullptr) session->Pump();
}

void Session::OnWake(uv_async_t* async) {
  Session* session = static_cast<Wakeups*>(async->data)->session;
  if (session == nullptr) return;
  session->helper_->NoteProgress();
  session->PumpPicked();
  if (!session->closed_) {
    session->script_->NotificationsDone(session->helper_->notifications_done());
  }
  session->script_->EndBatch();
}

void Session::Pump() {
  deferred_any_ = false;
  helper_->NoteProgress();
  PumpPicked();
  // One request a wake-up is the rule of a single client: asking whether there is another costs as
  // much as a system call can. Only where the last look found several, and now and then, we look.
  const bool looks = busy_ || ++wakeups_count_ % kLookEvery == 0;
  const int batch_max = looks ? kBatchMax : 1;
  int served = 0;
  while (served < batch_max && PumpOne()) served++;
  busy_ = served > 1;
  if (looks && !closed_) helper_->Stir();
  if (served > 0) PumpStretch();
  if (!closed_ && device_.broken() != 0) {
    EndBroken(std::string("the kernel refused an answer: ") + std::strerror(device_.broken()));
  }
  script_->EndBatch();
}

void Session::PumpStretch() {
  // What a deferral waits for comes by the loop, and a time-out of 0 means that it has work.
  const auto loop_can_wait = [this] { return !deferred_any_ && uv_backend_timeout(loop_) != 0; };
  if (ended_ || closed_ || !loop_can_wait() || !stretch_->Begin()) return;
  stretches_++;
  for (int served = 0; served < kStretchMax && PumpOne(); served++) {
    if (stretch_->over() || !loop_can_wait() || device_.broken() != 0) break;
  }
  if (!closed_) stretch_->End();
}

bool Session::PumpOne() {
  if (ended_ || closed_) return false;
  size_t length_bytes = 0;
  const int error = device_.Receive(*request_buffer_, &length_bytes);
  if (error == EAGAIN) return false;
  if (error == ENODEV) {
    End(nullptr);
    return false;
  }
  if (error != 0) {
    EndBroken(std::string("reading /dev/fuse failed: ") + std::strerror(error));
    return false;
  }
  Serve(request_buffer_->Parse(length_bytes), false);
  if (closed_) return false;
  helper_->NoteProgress();
  return true;
}

void Session::PumpPicked() {
  size_t length_bytes = 0;
  while (!ended_ && !closed_ && helper_->TakePicked(*request_buffer_, &length_bytes)) {
    Serve(request_buffer_->Parse(length_bytes), true);
    if (!closed_) helper_->NoteProgress();
  }
}

void Session::Serve(const Request& request, bool picked) {
  requests_++;
  const Recorder::Serving serving(recorder_.get(), request, picked);
  if (data_.Serve(request, ServingThread::kScript)) return;
  if (ServeNatively(request)) return;
  Ask(request);
}

bool Session::ServeNatively(const Request& request) {
  const uint64_t unique = request.header->unique;
  switch (request.header->opcode) {
    case FUSE_INIT:
      Init(request);
      return true;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
      Forget(request);
      return true;
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
      return Sync(request);
    case FUSE_INTERRUPT:
    case FUSE_NOTIFY_REPLY:
      // Never answered. A request is answered at once or by its own deferral; interrupting it would
      // only say EINTR about something that is being done.
      return true;
    case FUSE_OPENDIR:
      // A directory has no state while it is open. Said once, the kernel does not ask again.
    case FUSE_FLUSH:
      // Nothing happens at close(): locks are the kernel's, and data is in place.
      device_.AnswerError(unique, ENOSYS);
      return true;
    case FUSE_RELEASEDIR:
      device_.Answer(unique, 0, nullptr, 0);
      return true;
    default:
      return false;
  }
}

bool Session::Sync(const Request& request) {
  if (reply_[frame::reply::kIsCommitted] == 0 || !region_) return false;
  if (request.body_bytes < sizeof(fuse_fsync_in)) return false;
  const auto& in = *reinterpret_cast<const fuse_fsync_in*>(request.body);
  if (request.header->opcode == FUSE_FSYNC) {
    const FileMap* const file = files_.Find(request.header->nodeid);
    if (file == nullptr || !(file->service() & kServeSyncs)) return false;
  }
  // Times of native service are yet to be committed; an fdatasync lets them wait.
  if (files_.touched() && !(in.fsync_flags & FUSE_FSYNC_FDATASYNC)) return false;
  // All that was written is flushed: what was queued is stored before this request, and the kernel
  // sends its dirty pages before an FSYNC and waits for the answers.
  region_->Fence();
  native_syncs_++;
  device_.Answer(request.header->unique, 0, nullptr, 0);
  return true;
}

void Session::Init(const Request& request) {
  const Negotiated negotiated = Negotiate(request, direct_mappings_);
  const uint64_t unique = request.header->unique;
  if (negotiated.error != 0) {
    device_.AnswerError(unique, negotiated.error);
    EndBroken(negotiated.reason);
    return;
  }
  setxattr_extended_ = negotiated.setxattr_extended;
  device_.Answer(unique, 0, &negotiated.out, sizeof(negotiated.out));
}

void Session::Forget(const Request& request) {
  size_t first = 0;
  do {
    first = DecodeForgets(request, first, request_);
    script_calls_++;
    const int status = script_->Call(FUSE_FORGET, {}, {});
    if (closed_) return;
    if (status != frame::kNoReply) {
      const std::string what = status == SessionScript::kThrew ? script_->TakeMessage()
                                                               : "it answered what has no answer";
      return EndBroken("the handler failed in FORGET: " + what);
    }
  } while (first != 0);
}

void Session::Ask(const Request& request) {
  const uint64_t unique = request.header->unique;
  const uint32_t opcode = request.header->opcode;
  const Decoded decoded =
      DecodeRequest(request, request_buffer_->data(), setxattr_extended_, request_);
  if (decoded.error != 0) return device_.AnswerError(unique, decoded.error);

  CHECK(!asking_, "one request is asked at a time");
  asking_ = true;
  asked_opcode_ = opcode;
  asked_bytes_max_ = decoded.answer_bytes_max;
  entry_bytes_ = 0;
  request_[frame::request::kTouched] = files_.touched() ? 1 : 0;
  script_calls_++;
  const int status = script_->Call(opcode, decoded.name, decoded.name2);
  asking_ = false;
  // Closed from inside: the kernel has already failed the request.
  if (closed_) return;

  if (status >= 0 && status < 512) return Finish(unique, opcode, status, decoded.answer_bytes_max);
  if (status == frame::kDeferred) {
    const bool added = deferred_.emplace(unique, Deferred{opcode, decoded.answer_bytes_max}).second;
    CHECK(added, "a request is deferred once");
    deferred_any_ = true;
    return;
  }
  device_.AnswerError(unique, EIO);
  const std::string what = status == SessionScript::kThrew
                               ? script_->TakeMessage()
                               : "it returned " + std::to_string(status);
  EndBroken("the handler failed in opcode " + std::to_string(opcode) + ": " + what);
}

void Session::Finish(uint64_t unique, uint32_t opcode, int status, uint32_t answer_bytes_max) {
  const ReplySource source = {reply_, reply_buffer_->data(), entry_bytes_};
  AnswerFromFrame(&device_, unique, opcode, status, answer_bytes_max, source);
}

bool Session::listing() const {
  return asking_ && (asked_opcode_ == FUSE_READDIR || asked_opcode_ == FUSE_READDIRPLUS);
}

bool Session::AddEntry(std::string_view name, uint64_t cookie) {
  CHECK(listing(), "entries are for a directory being read");
  const size_t bytes =
      PackEntry(asked_opcode_ == FUSE_READDIRPLUS, name, cookie, reply_,
                reply_buffer_->data() + entry_bytes_, asked_bytes_max_ - entry_bytes_);
  entry_bytes_ += bytes;
  return bytes != 0;
}

bool Session::Resume(uint64_t unique) {
  const auto found = deferred_.find(unique);
  if (asking_ || found == deferred_.end()) return false;
  asking_ = true;
  asked_opcode_ = found->second.opcode;
  asked_bytes_max_ = found->second.answer_bytes_max;
  entry_bytes_ = 0;
  resumed_ = unique;
  return true;
}

bool Session::Answer(uint64_t unique, uint32_t opcode, int status) {
  const auto found = deferred_.find(unique);
  if (found == deferred_.end() || found->second.opcode != opcode) return false;
  const Deferred deferred = found->second;
  deferred_.erase(found);
  if (asking_ && resumed_ == unique) asking_ = false;
  if (!ended_ && !closed_) Finish(unique, opcode, status, deferred.answer_bytes_max);
  return true;
}

void Session::EndBroken(const std::string& what) { End(what.c_str()); }

void Session::End(const char* reason) {
  if (ended_ || closed_) return;
  ended_ = true;
  StopPolling();
  script_->End(reason);
}

void Session::StopPolling() {
  if (wakeups_ != nullptr) uv_poll_stop(&wakeups_->poll);
}

void Session::WantLoop() {
  const std::lock_guard lock(stretch_mutex_);
  if (stretch_) stretch_->WantLoop();
}

void Session::LoopHadTurn() {
  if (stretch_) stretch_->LoopHadTurn();
}

void Session::Close() {
  if (closed_) return;
  closed_ = true;
  StopPolling();
  if (helper_) {
    stretch_->End();
    helper_->RequestStop();
    ServeUntilHelperFinished();
    counters_at_close_ = counters();
    helper_.reset();
    const std::lock_guard lock(stretch_mutex_);
    stretch_.reset();
  }
  device_.Close();
  if (wakeups_ == nullptr) return;
  wakeups_->session = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&wakeups_->poll), OnHandleClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&wakeups_->async), OnHandleClosed);
  wakeups_ = nullptr;
}

void Session::OnHandleClosed(uv_handle_t* handle) {
  auto* wakeups = static_cast<Wakeups*>(handle->data);
  if (--wakeups->open_handles > 0) return;
  SessionScript* script = wakeups->script;
  delete wakeups;
  script->Closed();
}

void Session::ServeUntilHelperFinished() {
  // The buffer of the current request stays as it is: Close() may have come from inside the script.
  const RequestBuffer buffer;
  while (!helper_->finished()) {
    size_t length_bytes = 0;
    if (!device_.Readable(kClosingWaitMs)) continue;
    const int error = device_.Receive(buffer, &length_bytes);
    if (error == EAGAIN) continue;
    // Unmounted or aborted: nothing can hold the helper any more.
    if (error != 0) break;
    const Request request = buffer.Parse(length_bytes);
    const uint32_t opcode = request.header->opcode;
    const Recorder::Serving serving(recorder_.get(), request, false);
    // As the helper would: a closed gate is no bug here, and nobody is asked.
    if (data_.Serve(request, ServingThread::kHelper)) continue;
    if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT) continue;
    device_.AnswerError(request.header->unique, EIO);
  }
}

SessionCounters Session::counters() const {
  if (!helper_) return counters_at_close_;
  return {requests_ + helper_->answered(), native_syncs_, script_calls_, helper_->requests(),
          helper_->notifications_done(),   stretches_};
}

}  // namespace fauxdax
