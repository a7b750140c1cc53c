// Module init: registers the classes Region, Recorder, Session and FaultServer and the plumbing
// functions, and nothing else. Runs once for each environment (main thread or worker) that loads
// the addon.
#include <napi.h>

#include "fault_server_object.h"
#include "plumbing_object.h"
#include "recorder_object.h"
#include "region_object.h"
#include "session_object.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  fauxdax::InitRegion(env, exports);
  fauxdax::InitRecorder(env, exports);
  fauxdax::InitPlumbing(env, exports);
  fauxdax::InitSession(env, exports);
  fauxdax::InitFaultServer(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(fauxdax, Init)
