// Module init: registers the classes Region, Recorder and Session and the plumbing functions, and
// nothing else. Runs once for each environment (main thread or worker) that loads the addon.
#include <napi.h>

#include "plumbing_object.h"
#include "recorder_object.h"
#include "region_object.h"

#if __has_include("session_object.h")
#include "session_object.h"
#endif

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  fauxdax::InitRegion(env, exports);
  fauxdax::InitRecorder(env, exports);
  fauxdax::InitPlumbing(env, exports);
#if __has_include("session_object.h")
  fauxdax::InitSession(env, exports);
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(fauxdax, Init)
