// The JavaScript class FaultServer of lib/addon/fault_server.ts: checks arguments, converts, calls
// fauxdax::FaultServer, and tells JavaScript when there is something to take. JavaScript thread
// only, but for Tell().
//
// The object is kept alive by itself until the event loop has let go of the closed server; it keeps
// the session. It does not keep the event loop running. A clean-up hook closes it when the
// environment ends first.
#ifndef FAUXDAX_FAULT_SERVER_OBJECT_H_
#define FAUXDAX_FAULT_SERVER_OBJECT_H_

#include <napi.h>
#include <uv.h>

#include <memory>

#include "fault_server.h"
#include "session.h"

namespace fauxdax {

class FaultServerObject : public Napi::ObjectWrap<FaultServerObject> {
 public:
  // new FaultServer(options: FaultServerOptions)
  explicit FaultServerObject(const Napi::CallbackInfo& info);
  ~FaultServerObject() override;

  static Napi::Function Define(Napi::Env env);

 private:
  Napi::Value Take(const Napi::CallbackInfo& info);
  void Map(const Napi::CallbackInfo& info);
  void Reply(const Napi::CallbackInfo& info);
  Napi::Value Show(const Napi::CallbackInfo& info);
  void Wake(const Napi::CallbackInfo& info);
  Napi::Value WriteProtect(const Napi::CallbackInfo& info);
  Napi::Value IsProtected(const Napi::CallbackInfo& info);
  void ProtectOrKill(const Napi::CallbackInfo& info);
  void CatchStores(const Napi::CallbackInfo& info);
  Napi::Value TakeDirtied(const Napi::CallbackInfo& info);
  void Settled(const Napi::CallbackInfo& info);
  void Unsettled(const Napi::CallbackInfo& info);
  void WatchPages(const Napi::CallbackInfo& info);
  void SweepPages(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  // On any thread.
  static void Tell(void* object);
  void OnTold();
  void CloseServer();

  const napi_env env_;
  std::shared_ptr<Region> region_;
  Session* session_ = nullptr;
  Napi::ObjectReference session_value_;
  Napi::FunctionReference on_events_;
  std::unique_ptr<FaultServer> server_;  // null once closed
  FaultServerCounters counters_at_close_ = {};
  uv_async_t* async_ = nullptr;
  napi_async_context async_context_ = nullptr;
  napi_async_cleanup_hook_handle cleanup_hook_ = nullptr;
};

// exports.FaultServer
void InitFaultServer(Napi::Env env, Napi::Object exports);

}  // namespace fauxdax

#endif  // FAUXDAX_FAULT_SERVER_OBJECT_H_
