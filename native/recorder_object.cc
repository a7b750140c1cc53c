#include "recorder_object.h"

#include <string>
#include <utility>
#include <vector>

#include "arguments.h"

namespace fauxdax {

namespace {

// Tells our wrapped objects from any other addon's, so that unwrapping is safe.
constexpr napi_type_tag kRecorderTag = {0x6661757864617831, 0x7265636f72640001};

constexpr uint32_t kStreamMax = 1;
// Far more than any record of metadata; leaves room for its header.
constexpr size_t kTextBytesMax = size_t{1} << 20;
constexpr double kValueMax = 9007199254740992.0;  // 2^53
constexpr uint64_t kCountMax = uint64_t{1} << 53;

std::vector<OutputPath> OutputsArgument(const Napi::CallbackInfo& info) {
  if (!info[1].IsArray()) throw Napi::TypeError::New(info.Env(), "outputs are no array");
  const Napi::Array array = info[1].As<Napi::Array>();
  std::vector<OutputPath> outputs;
  for (uint32_t index = 0; index < array.Length(); ++index) {
    const Napi::Value value = array[index];
    if (!value.IsObject()) throw Napi::TypeError::New(info.Env(), "an output is no object");
    const Napi::Value path = value.As<Napi::Object>().Get("path");
    const Napi::Value stream = value.As<Napi::Object>().Get("stream");
    if (!path.IsString() || !stream.IsNumber() ||
        stream.As<Napi::Number>().Uint32Value() > kStreamMax) {
      throw Napi::TypeError::New(info.Env(), "an output has a path and a stream");
    }
    outputs.push_back(
        {path.As<Napi::String>().Utf8Value(), stream.As<Napi::Number>().Uint32Value()});
  }
  return outputs;
}

Recorder::Note NoteArgument(const Napi::CallbackInfo& info) {
  const auto note = static_cast<Recorder::Note>(CountArgument(info, 0, "kind", UINT8_MAX));
  switch (note) {
    case Recorder::Note::kMetadata:
    case Recorder::Note::kCommit:
    case Recorder::Note::kForce:
    case Recorder::Note::kWorkloadEnd:
      return note;
  }
  throw Napi::RangeError::New(info.Env(), "no record of that kind is made here");
}

MappingOperation OperationArgument(const Napi::CallbackInfo& info) {
  const auto operation =
      static_cast<MappingOperation>(CountArgument(info, 0, "operation", UINT32_MAX));
  switch (operation) {
    case MappingOperation::kStore:
    case MappingOperation::kFlush:
    case MappingOperation::kDrain:
    case MappingOperation::kSync:
    case MappingOperation::kFault:
    case MappingOperation::kFallocate:
      return operation;
  }
  throw Napi::RangeError::New(info.Env(), "no call of a mapping has that operation");
}

}  // namespace

RecorderObject::RecorderObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<RecorderObject>(info) {
  const std::string path = TextArgument(info, 0, "path");
  const std::vector<OutputPath> outputs = OutputsArgument(info);
  std::unique_ptr<Recorder> recorder;
  std::string reason;
  const int error = Recorder::Open(path, outputs, &recorder, &reason);
  ThrowIfErrno(info.Env(), error, "cannot record: " + reason);
  recorder_ = std::move(recorder);
  info.This().As<Napi::Object>().TypeTag(&kRecorderTag);
}

std::shared_ptr<Recorder> RecorderObject::FromValue(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kRecorderTag)) {
    throw Napi::TypeError::New(value.Env(), "recorder is not a Recorder of this addon");
  }
  std::shared_ptr<Recorder> recorder = Unwrap(value.As<Napi::Object>())->recorder_;
  if (!recorder) throw Napi::Error::New(value.Env(), "the recorder is closed");
  return recorder;
}

Recorder& RecorderObject::Open(const Napi::CallbackInfo& info) const {
  if (!recorder_) throw Napi::Error::New(info.Env(), "the recorder is closed");
  return *recorder_;
}

void RecorderObject::ThrowIfFailed(const Napi::CallbackInfo& info, int error) const {
  if (error != 0) ThrowErrno(info.Env(), error, "cannot write the trace " + recorder_->path());
}

Napi::Value RecorderObject::Append(const Napi::CallbackInfo& info) {
  Recorder& recorder = Open(info);
  const Recorder::Note note = NoteArgument(info);
  if (!info[1].IsString()) throw Napi::TypeError::New(info.Env(), "text is not a string");
  const std::string text = info[1].As<Napi::String>().Utf8Value();
  if (text.size() > kTextBytesMax) throw Napi::RangeError::New(info.Env(), "text is too long");
  if (!info[2].IsNumber()) throw Napi::TypeError::New(info.Env(), "value is not a number");
  const double value = info[2].As<Napi::Number>().DoubleValue();
  if (!(value >= -1 && value <= kValueMax)) {
    throw Napi::RangeError::New(info.Env(), "value is out of range");
  }
  recorder.Append(note, text, static_cast<int64_t>(value));
  return info.Env().Undefined();
}

Napi::Value RecorderObject::Begin(const Napi::CallbackInfo& info) {
  Recorder& recorder = Open(info);
  MappingCall call = {};
  call.operation = OperationArgument(info);
  call.pid = static_cast<uint32_t>(CountArgument(info, 1, "pid", UINT32_MAX));
  call.tid = static_cast<uint32_t>(CountArgument(info, 2, "tid", UINT32_MAX));
  call.ino = CountArgument(info, 3, "ino", kCountMax);
  call.offset = CountArgument(info, 4, "offset", kCountMax);
  call.length_bytes = CountArgument(info, 5, "lengthBytes", kCountMax);
  call.flags = static_cast<uint32_t>(CountArgument(info, 6, "flags", UINT32_MAX));
  return Napi::Number::New(info.Env(), static_cast<double>(recorder.Begin(call)));
}

Napi::Value RecorderObject::Serve(const Napi::CallbackInfo& info) {
  Open(info);
  const uint64_t before = Recorder::Serve(CountArgument(info, 0, "callId", kCountMax));
  return Napi::Number::New(info.Env(), static_cast<double>(before));
}

Napi::Value RecorderObject::End(const Napi::CallbackInfo& info) {
  const uint64_t number = CountArgument(info, 0, "callId", kCountMax);
  Open(info).End(number, static_cast<int>(CountArgument(info, 1, "error", INT32_MAX)));
  return info.Env().Undefined();
}

Napi::Value RecorderObject::Drain(const Napi::CallbackInfo& info) {
  Recorder& recorder = Open(info);
  recorder.Drain();
  ThrowIfFailed(info, recorder.error());
  return info.Env().Undefined();
}

Napi::Value RecorderObject::Sync(const Napi::CallbackInfo& info) {
  ThrowIfFailed(info, Open(info).Sync());
  return info.Env().Undefined();
}

Napi::Value RecorderObject::Finish(const Napi::CallbackInfo& info) {
  ThrowIfFailed(info, Open(info).Finish());
  recorder_.reset();
  return info.Env().Undefined();
}

Napi::Value RecorderObject::Close(const Napi::CallbackInfo& info) {
  recorder_.reset();
  return info.Env().Undefined();
}

Napi::Value RecorderObject::Counters(const Napi::CallbackInfo& info) {
  const RecorderCounters counters = Open(info).counters();
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("events", static_cast<double>(counters.events));
  object.Set("chunks", static_cast<double>(counters.chunks));
  object.Set("calls", static_cast<double>(counters.calls));
  return object;
}

Napi::Function RecorderObject::Define(Napi::Env env) {
  return DefineClass(env, "Recorder",
                     {
                         InstanceMethod<&RecorderObject::Append>("append"),
                         InstanceMethod<&RecorderObject::Begin>("begin"),
                         InstanceMethod<&RecorderObject::Serve>("serve"),
                         InstanceMethod<&RecorderObject::End>("end"),
                         InstanceMethod<&RecorderObject::Drain>("drain"),
                         InstanceMethod<&RecorderObject::Sync>("sync"),
                         InstanceMethod<&RecorderObject::Finish>("finish"),
                         InstanceMethod<&RecorderObject::Close>("close"),
                         InstanceMethod<&RecorderObject::Counters>("counters"),
                     });
}

void InitRecorder(Napi::Env env, Napi::Object exports) {
  exports.Set("Recorder", RecorderObject::Define(env));
}

}  // namespace fauxdax
