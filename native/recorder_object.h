// The JavaScript class Recorder of lib/addon/recorder.ts: checks every argument, then calls
// fauxdax::Recorder. JavaScript thread only.
//
// Errors of the trace file are thrown as Error with `errno`; wrong arguments and calls after
// finish() or close() as TypeError, RangeError or plain Error. close() lets go of the recorder: the
// file is closed when the region and the session that it records let go too.
#ifndef FAUXDAX_RECORDER_OBJECT_H_
#define FAUXDAX_RECORDER_OBJECT_H_

#include <napi.h>

#include <memory>

#include "recorder.h"

namespace fauxdax {

class RecorderObject : public Napi::ObjectWrap<RecorderObject> {
 public:
  // new Recorder(path: string, outputs: {path: string, stream: number}[])
  explicit RecorderObject(const Napi::CallbackInfo& info);

  // The open recorder inside a JavaScript value. Throws a JavaScript TypeError when the value is no
  // Recorder of this addon, Error when it is closed.
  static std::shared_ptr<Recorder> FromValue(const Napi::Value& value);

  static Napi::Function Define(Napi::Env env);

 private:
  Napi::Value Append(const Napi::CallbackInfo& info);
  Napi::Value Begin(const Napi::CallbackInfo& info);
  Napi::Value Serve(const Napi::CallbackInfo& info);
  Napi::Value End(const Napi::CallbackInfo& info);
  Napi::Value Drain(const Napi::CallbackInfo& info);
  Napi::Value Sync(const Napi::CallbackInfo& info);
  Napi::Value Finish(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);

  Recorder& Open(const Napi::CallbackInfo& info) const;
  void ThrowIfFailed(const Napi::CallbackInfo& info, int error) const;

  std::shared_ptr<Recorder> recorder_;
};

// exports.Recorder
void InitRecorder(Napi::Env env, Napi::Object exports);

}  // namespace fauxdax

#endif  // FAUXDAX_RECORDER_OBJECT_H_
