// The JavaScript class Session of lib/addon/session.ts: checks arguments, converts, and calls
// fauxdax::Session; and the other way round, calls the handler for it. JavaScript thread only.
//
// The object is kept alive by itself until the event loop has let go of the closed session. A
// clean-up hook closes it when the environment ends first.
#ifndef FAUXDAX_SESSION_OBJECT_H_
#define FAUXDAX_SESSION_OBJECT_H_

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "session.h"

namespace fauxdax {

class SessionObject : public Napi::ObjectWrap<SessionObject>, private SessionScript {
 public:
  // new Session(options: SessionOptions & { frameVersion: number })
  explicit SessionObject(const Napi::CallbackInfo& info);
  ~SessionObject() override;

  // The session inside a JavaScript value, for as long as that value lives, also when it is closed.
  // Throws a JavaScript TypeError when it is no Session of this addon.
  static Session* FromValue(const Napi::Value& value);

  static Napi::Function Define(Napi::Env env);

 private:
  struct Waiter {
    uint64_t notifications;
    napi_deferred deferred;
  };

  void ShareFile(const Napi::CallbackInfo& info);
  void UnshareFile(const Napi::CallbackInfo& info);
  void PublishFile(const Napi::CallbackInfo& info);
  void SetMap(const Napi::CallbackInfo& info);
  void SetSize(const Napi::CallbackInfo& info);
  void OfferRoom(const Napi::CallbackInfo& info);
  Napi::Value EndRoom(const Napi::CallbackInfo& info);
  void SetService(const Napi::CallbackInfo& info);
  void CloseGate(const Napi::CallbackInfo& info);
  void OpenGate(const Napi::CallbackInfo& info);
  Napi::Value TakeTouched(const Napi::CallbackInfo& info);
  void Look(const Napi::CallbackInfo& info);
  void Now(const Napi::CallbackInfo& info);
  Napi::Value AddEntry(const Napi::CallbackInfo& info);
  void Resume(const Napi::CallbackInfo& info);
  void Answer(const Napi::CallbackInfo& info);
  void InvalidateInode(const Napi::CallbackInfo& info);
  void InvalidateEntry(const Napi::CallbackInfo& info);
  Napi::Value NotificationsDone(const Napi::CallbackInfo& info);
  void DiscardWriteback(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  // SessionScript.
  int Call(uint32_t opcode, const NameBytes& name, const NameBytes& name2) override;
  std::string TakeMessage() override { return std::move(message_); }
  void EndBatch() override;
  void NotificationsDone(uint64_t done) override;
  void End(const char* reason) override;
  void Closed() override;

  // Opens the scopes that calls from the event loop need; EndBatch() closes them.
  void BeginBatch();
  // A byte array over a buffer that lives as long as either side uses it.
  Napi::Value Share(Napi::Env env, const std::shared_ptr<RequestBuffer>& buffer) const;
  napi_value NameValue(const NameBytes& name) const;
  // The shared file of argument 0, or nullptr when it is not shared.
  FileMap* FileArgument(const Napi::CallbackInfo& info);
  // Keeps what a call threw as the message, and clears it.
  void KeepException();

  const napi_env env_;
  std::unique_ptr<Session> session_;
  uint64_t region_pages_ = 0;
  Napi::Reference<Napi::Float64Array> request_;
  Napi::Reference<Napi::Float64Array> reply_;
  Napi::FunctionReference handler_;
  Napi::FunctionReference on_end_;
  napi_async_context async_context_ = nullptr;
  napi_async_cleanup_hook_handle cleanup_hook_ = nullptr;
  std::vector<Waiter> waiters_;
  std::vector<MapExtent> extents_;  // of SetMap(), kept for its room
  std::string message_;

  // Of the current batch; nullptr outside.
  napi_handle_scope handle_scope_ = nullptr;
  napi_callback_scope callback_scope_ = nullptr;
  napi_value handler_value_ = nullptr;
  napi_value undefined_value_ = nullptr;
};

// exports.Session
void InitSession(Napi::Env env, Napi::Object exports);

}  // namespace fauxdax

#endif  // FAUXDAX_SESSION_OBJECT_H_
