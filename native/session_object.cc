#include "session_object.h"

#include <cmath>
#include <utility>

#include "arguments.h"
#include "check.h"
#include "frame.h"
#include "name_codec.h"
#include "queued_writes.h"
#include "recorder_object.h"
#include "region_object.h"

namespace fauxdax {

namespace {

// Tells our wrapped objects from any other addon's, so that unwrapping is safe.
constexpr napi_type_tag kSessionTag = {0x6661757864617831, 0x73657373696f6e01};

constexpr uint64_t kExactMax = uint64_t{1} << 53;
constexpr int64_t kNsecPerSec = 1'000'000'000;
constexpr uint64_t kFilePagesMax = kFileBytesMax >> kPageShift;
constexpr size_t kExtentNumbers = 4;

// For calls that only fail when they are given something wrong. Those that run JavaScript also fail
// while the environment is being stopped, and are not checked.
void CheckNapi(napi_status status) { CHECK(status == napi_ok, "Node-API takes a valid call"); }

Napi::Float64Array FrameOption(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array ||
      value.As<Napi::Float64Array>().ElementLength() < frame::kSlots) {
    throw Napi::TypeError::New(options.Env(), std::string(name) + " is not a Float64Array of " +
                                                  std::to_string(frame::kSlots) + " slots");
  }
  return value.As<Napi::Float64Array>();
}

Napi::Function FunctionOption(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (!value.IsFunction()) {
    throw Napi::TypeError::New(options.Env(), std::string(name) + " is not a function");
  }
  return value.As<Napi::Function>();
}

uint64_t PageNumber(Napi::Env env, double value, uint64_t max) {
  if (!(value >= 0 && value <= static_cast<double>(max)) || value != std::floor(value)) {
    throw Napi::RangeError::New(env, "an extent's numbers are pages inside file and region");
  }
  return static_cast<uint64_t>(value);
}

// A name's bytes from a JavaScript string; throws when no name decodes to it.
std::string NameArgument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsString()) throw Napi::TypeError::New(info.Env(), "name is not a string");
  // Room for one unit more than any name has: a longer string fills it and is refused by length.
  constexpr size_t kUnitsMax = DecodedUnitsMax(kNameBytesMax) + 2;
  char16_t units[kUnitsMax];
  size_t length = 0;
  CheckNapi(napi_get_value_string_utf16(info.Env(), info[index], units, kUnitsMax, &length));
  std::string bytes;
  if (!EncodeName(units, length, &bytes) || bytes.empty() || bytes.size() > kNameBytesMax) {
    throw Napi::RangeError::New(info.Env(), "that string is no file's name");
  }
  return bytes;
}

void PutTime(const Napi::Object& target, const char* sec_name, const char* nsec_name,
             int64_t time) {
  const bool none = time == kTimeNone;
  int64_t sec = none ? 0 : time / kNsecPerSec;
  int64_t nsec = none ? 0 : time % kNsecPerSec;
  if (nsec < 0) {
    nsec += kNsecPerSec;
    sec--;
  }
  target.Set(sec_name, none ? std::nan("") : static_cast<double>(sec));
  target.Set(nsec_name, static_cast<double>(nsec));
}

}  // namespace

SessionObject::SessionObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SessionObject>(info), env_(info.Env()) {
  if (!info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "options are an object");
  const Napi::Object options = info[0].As<Napi::Object>();
  if (options.Get("frameVersion").ToNumber().DoubleValue() != frame::kVersion) {
    throw Napi::TypeError::New(info.Env(), "the addon was built for another call frame");
  }
  const Napi::Value fd = options.Get("fd");
  if (!fd.IsNumber() || fd.As<Napi::Number>().Int32Value() < 0) {
    throw Napi::TypeError::New(info.Env(), "fd is not a descriptor");
  }
  request_ = Napi::Persistent(FrameOption(options, "request"));
  reply_ = Napi::Persistent(FrameOption(options, "reply"));
  handler_ = Napi::Persistent(FunctionOption(options, "handler"));
  on_end_ = Napi::Persistent(FunctionOption(options, "onEnd"));
  std::shared_ptr<Region> region;
  if (!options.Get("region").IsNull()) {
    region = RegionObject::FromValue(options.Get("region"));
    region_pages_ = region->page_count();
  }
  std::shared_ptr<Recorder> recorder;
  const Napi::Value recorder_value = options.Get("recorder");
  if (!recorder_value.IsUndefined()) recorder = RecorderObject::FromValue(recorder_value);
  SessionScript* script = this;
  session_ =
      std::make_unique<Session>(fd.As<Napi::Number>().Int32Value(), std::move(region),
                                std::move(recorder), options.Get("readOnly").ToBoolean().Value(),
                                reply_.Value().Data(), request_.Value().Data(), script);
  Napi::Object self = info.This().As<Napi::Object>();
  self.TypeTag(&kSessionTag);
  self.Set("requestBytes", Share(info.Env(), session_->request_buffer()));
  self.Set("replyBytes", Share(info.Env(), session_->reply_buffer()));

  uv_loop_t* loop = nullptr;
  CheckNapi(napi_get_uv_event_loop(env_, &loop));
  const int error = session_->Start(loop, options.Get("directMappings").ToBoolean().Value());
  if (error != 0) {
    session_->Close();
    ThrowErrno(info.Env(), error, "cannot poll the FUSE descriptor");
  }
  // From here on Closed() will come, and undoes this.
  CheckNapi(napi_async_init(env_, self, Napi::String::New(info.Env(), "fauxdax"), &async_context_));
  const auto close = [](napi_async_cleanup_hook_handle, void* object) {
    static_cast<SessionObject*>(object)->session_->Close();
  };
  CheckNapi(napi_add_async_cleanup_hook(env_, close, this, &cleanup_hook_));
  Ref();
}

Session* SessionObject::FromValue(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kSessionTag)) {
    throw Napi::TypeError::New(value.Env(), "session is not a Session of this addon");
  }
  return Unwrap(value.As<Napi::Object>())->session_.get();
}

SessionObject::~SessionObject() {
  if (session_) session_->Close();
}

Napi::Value SessionObject::Share(Napi::Env env,
                                 const std::shared_ptr<RequestBuffer>& buffer) const {
  auto* holder = new std::shared_ptr<RequestBuffer>(buffer);
  const Napi::ArrayBuffer bytes = Napi::ArrayBuffer::New(
      env, buffer->data(), RequestBuffer::size_bytes(),
      [](Napi::Env, void*, std::shared_ptr<RequestBuffer>* held) { delete held; }, holder);
  return Napi::Uint8Array::New(env, RequestBuffer::size_bytes(), bytes, 0);
}

int SessionObject::Call(uint32_t opcode, const NameBytes& name, const NameBytes& name2) {
  BeginBatch();
  napi_value arguments[3];
  CheckNapi(napi_create_uint32(env_, opcode, &arguments[0]));
  size_t count = 1;
  if (name.bytes != nullptr) arguments[count++] = NameValue(name);
  if (name2.bytes != nullptr) arguments[count++] = NameValue(name2);
  napi_value result;
  if (napi_call_function(env_, undefined_value_, handler_value_, count, arguments, &result) !=
      napi_ok) {
    KeepException();
    return kThrew;
  }
  int32_t status = 0;
  if (napi_get_value_int32(env_, result, &status) != napi_ok) {
    message_ = "it returned no number";
    return kThrew;
  }
  return status;
}

napi_value SessionObject::NameValue(const NameBytes& name) const {
  napi_value value;
  if (IsAscii(name.bytes, name.length_bytes)) {
    const char* text = reinterpret_cast<const char*>(name.bytes);
    CheckNapi(napi_create_string_latin1(env_, text, name.length_bytes, &value));
    return value;
  }
  CHECK(name.length_bytes <= kSymlinkBytesMax, "names are bounded before they come here");
  char16_t units[DecodedUnitsMax(kSymlinkBytesMax)];
  const size_t length = DecodeName(name.bytes, name.length_bytes, units);
  CheckNapi(napi_create_string_utf16(env_, units, length, &value));
  return value;
}

void SessionObject::KeepException() {
  message_ = "it threw";
  napi_value exception;
  if (napi_get_and_clear_last_exception(env_, &exception) != napi_ok) return;
  const Napi::Value thrown(env_, exception);
  // The stack says where; an Error's stack starts with its message.
  Napi::Value text = thrown;
  if (thrown.IsObject()) text = thrown.As<Napi::Object>().Get("stack");
  if (text.IsString()) message_ = text.As<Napi::String>().Utf8Value();
}

void SessionObject::BeginBatch() {
  if (handle_scope_ != nullptr) return;
  CheckNapi(napi_open_handle_scope(env_, &handle_scope_));
  CheckNapi(napi_open_callback_scope(env_, Value(), async_context_, &callback_scope_));
  CheckNapi(napi_get_undefined(env_, &undefined_value_));
  handler_value_ = handler_.Value();
}

void SessionObject::EndBatch() {
  if (handle_scope_ == nullptr) return;
  // Closing the callback scope runs promises and ticks, which may call us but not begin a batch.
  CheckNapi(napi_close_callback_scope(env_, std::exchange(callback_scope_, nullptr)));
  CheckNapi(napi_close_handle_scope(env_, std::exchange(handle_scope_, nullptr)));
}

void SessionObject::NotificationsDone(uint64_t done) {
  size_t first = 0;
  while (first < waiters_.size() && waiters_[first].notifications <= done) {
    BeginBatch();
    // Fails only in an environment that is being stopped, where nobody waits any more.
    (void)napi_resolve_deferred(env_, waiters_[first].deferred, undefined_value_);
    first++;
  }
  waiters_.erase(waiters_.begin(), waiters_.begin() + first);
}

void SessionObject::End(const char* reason) {
  BeginBatch();
  napi_value argument = undefined_value_;
  if (reason != nullptr) {
    CheckNapi(napi_create_string_utf8(env_, reason, NAPI_AUTO_LENGTH, &argument));
  }
  if (napi_call_function(env_, undefined_value_, on_end_.Value(), 1, &argument, nullptr) ==
      napi_ok) {
    return;
  }
  napi_value exception;
  CheckNapi(napi_get_and_clear_last_exception(env_, &exception));
  // Ignored by an environment that is being stopped.
  (void)napi_fatal_exception(env_, exception);
}

void SessionObject::Closed() {
  const Napi::HandleScope scope(env_);
  CheckNapi(napi_async_destroy(env_, async_context_));
  CheckNapi(napi_remove_async_cleanup_hook(cleanup_hook_));
  Unref();
}

FileMap* SessionObject::FileArgument(const Napi::CallbackInfo& info) {
  return session_->files().Find(CountArgument(info, 0, "ino", kExactMax));
}

void SessionObject::ShareFile(const Napi::CallbackInfo& info) {
  const uint64_t ino = CountArgument(info, 0, "ino", kExactMax);
  if (ino == 0) throw Napi::RangeError::New(info.Env(), "inode 0 is no file");
  if (region_pages_ == 0) throw Napi::Error::New(info.Env(), "the session has no region");
  session_->files().Add(ino, CountArgument(info, 1, "sizeBytes", kFileBytesMax));
}

void SessionObject::UnshareFile(const Napi::CallbackInfo& info) {
  session_->files().Remove(CountArgument(info, 0, "ino", kExactMax));
}

void SessionObject::PublishFile(const Napi::CallbackInfo& info) {
  session_->files().Publish(CountArgument(info, 0, "ino", kExactMax));
}

void SessionObject::SetMap(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  const uint64_t file_page = CountArgument(info, 1, "filePage", kFilePagesMax);
  const uint64_t end_page = CountArgument(info, 2, "endPage", kFilePagesMax);
  if (!info[3].IsTypedArray() ||
      info[3].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    throw Napi::TypeError::New(info.Env(), "extents are not a Float64Array");
  }
  const Napi::Float64Array numbers = info[3].As<Napi::Float64Array>();
  const uint64_t count = CountArgument(info, 4, "count", numbers.ElementLength() / kExtentNumbers);
  if (file == nullptr || file_page >= end_page) return;

  extents_.clear();
  uint64_t filled_to = file_page;
  const double* number = numbers.Data();
  for (uint64_t i = 0; i < count; i++, number += kExtentNumbers) {
    MapExtent extent;
    extent.file_page = PageNumber(info.Env(), number[0], end_page);
    extent.region_page = PageNumber(info.Env(), number[1], region_pages_);
    extent.page_count = PageNumber(info.Env(), number[2], region_pages_ - extent.region_page);
    extent.written = number[3] != 0;
    if (extent.page_count == 0 || extent.file_page < filled_to || extent.end_page() > end_page) {
      throw Napi::RangeError::New(info.Env(), "extents are sorted, apart and inside the range");
    }
    filled_to = extent.end_page();
    extents_.push_back(extent);
  }
  file->Splice(file_page, end_page, extents_);
}

void SessionObject::SetSize(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  const uint64_t size_bytes = CountArgument(info, 1, "sizeBytes", kFileBytesMax);
  if (file != nullptr) file->SetSize(size_bytes);
}

void SessionObject::OfferRoom(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  const uint64_t file_page = CountArgument(info, 1, "filePage", kFilePagesMax);
  const uint64_t region_page = CountArgument(info, 2, "regionPage", region_pages_);
  const uint64_t page_count = CountArgument(info, 3, "pageCount", region_pages_ - region_page);
  if (file != nullptr) file->OfferRoom({file_page, region_page, page_count, true});
}

Napi::Value SessionObject::EndRoom(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  if (file == nullptr) return info.Env().Undefined();
  const Napi::Object used = Napi::Object::New(info.Env());
  used.Set("pageCount", static_cast<double>(file->EndRoom()));
  // Nobody makes it longer from here on.
  used.Set("sizeBytes", static_cast<double>(file->size_bytes()));
  return used;
}

void SessionObject::SetService(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  const uint64_t bits = CountArgument(info, 1, "bits", kServiceBits);
  if (file != nullptr) file->SetService(static_cast<uint32_t>(bits));
}

void SessionObject::CloseGate(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  if (file != nullptr) file->gate().Close();
}

void SessionObject::OpenGate(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  if (file != nullptr) file->gate().Open();
}

Napi::Value SessionObject::TakeTouched(const Napi::CallbackInfo& info) {
  // What is queued leaves times; a closed gate keeps back what has not returned.
  QueuedWrites* const queued = session_->files().queued();
  if (queued != nullptr) (void)queued->Store();
  const std::vector<TouchedFile> touched = session_->files().TakeTouched();
  const Napi::Array array = Napi::Array::New(info.Env(), touched.size());
  for (size_t i = 0; i < touched.size(); i++) {
    const Napi::Object times = Napi::Object::New(info.Env());
    times.Set("ino", static_cast<double>(touched[i].ino));
    PutTime(times, "atimeSec", "atimeNsec", touched[i].atime);
    PutTime(times, "mtimeSec", "mtimeNsec", touched[i].mtime);
    array.Set(static_cast<uint32_t>(i), times);
  }
  return array;
}

void SessionObject::Look(const Napi::CallbackInfo& info) {
  FileMap* file = FileArgument(info);
  if (file != nullptr) file->Look();
}

void SessionObject::Now(const Napi::CallbackInfo& info) {
  if (!info[0].IsTypedArray() ||
      info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array ||
      info[0].As<Napi::Float64Array>().ElementLength() < 2) {
    throw Napi::TypeError::New(info.Env(), "target is not a Float64Array of 2");
  }
  double* const target = info[0].As<Napi::Float64Array>().Data();
  const int64_t now = session_->files().clock()->Fine();
  target[0] = static_cast<double>(now / kNsecPerSec);
  target[1] = static_cast<double>(now % kNsecPerSec);
}

Napi::Value SessionObject::AddEntry(const Napi::CallbackInfo& info) {
  if (!session_->listing()) throw Napi::Error::New(info.Env(), "no directory is being read");
  const std::string name = NameArgument(info, 0);
  const uint64_t cookie = CountArgument(info, 1, "cookie", kExactMax);
  return Napi::Boolean::New(info.Env(), session_->AddEntry(name, cookie));
}

void SessionObject::Resume(const Napi::CallbackInfo& info) {
  const uint64_t unique = CountArgument(info, 0, "unique", kExactMax);
  if (!session_->Resume(unique)) {
    throw Napi::Error::New(info.Env(), "request " + std::to_string(unique) + " is not deferred");
  }
}

void SessionObject::Answer(const Napi::CallbackInfo& info) {
  const uint64_t unique = CountArgument(info, 0, "unique", kExactMax);
  const uint64_t opcode = CountArgument(info, 1, "opcode", UINT32_MAX);
  const uint64_t status = CountArgument(info, 2, "status", 511);
  if (!session_->Answer(unique, static_cast<uint32_t>(opcode), static_cast<int>(status))) {
    throw Napi::Error::New(info.Env(), "request " + std::to_string(unique) + " of opcode " +
                                           std::to_string(opcode) + " is not deferred");
  }
}

void SessionObject::InvalidateInode(const Napi::CallbackInfo& info) {
  const uint64_t ino = CountArgument(info, 0, "ino", kExactMax);
  if (!info[1].IsNumber()) throw Napi::TypeError::New(info.Env(), "offset is not a number");
  const int64_t offset = info[1].As<Napi::Number>().Int64Value();
  const uint64_t length_bytes = CountArgument(info, 2, "length", kFileBytesMax);
  if (session_->closed()) return;
  session_->helper().InvalidateInode(ino, offset, static_cast<int64_t>(length_bytes));
}

void SessionObject::InvalidateEntry(const Napi::CallbackInfo& info) {
  const uint64_t parent = CountArgument(info, 0, "parentIno", kExactMax);
  std::string name = NameArgument(info, 1);
  if (!session_->closed()) session_->helper().InvalidateEntry(parent, std::move(name));
}

Napi::Value SessionObject::NotificationsDone(const Napi::CallbackInfo& info) {
  napi_deferred deferred;
  napi_value promise;
  CheckNapi(napi_create_promise(env_, &deferred, &promise));
  if (session_->closed() ||
      session_->helper().notifications_done() == session_->helper().notifications_queued()) {
    CheckNapi(napi_resolve_deferred(env_, deferred, info.Env().Undefined()));
  } else {
    waiters_.push_back({session_->helper().notifications_queued(), deferred});
  }
  return Napi::Value(env_, promise);
}

void SessionObject::DiscardWriteback(const Napi::CallbackInfo& info) {
  session_->data().DiscardWriteback(BooleanArgument(info, 0, "on"));
}

Napi::Value SessionObject::Counters(const Napi::CallbackInfo& info) {
  const SessionCounters counters = session_->counters();
  const DataCounters& data = session_->data().counters();
  const Napi::Object result = Napi::Object::New(info.Env());
  const auto put = [&](const char* name, uint64_t value) {
    result.Set(name, static_cast<double>(value));
  };
  put("requests", counters.requests);
  put("nativeReads", data.reads.load());
  put("nativeWrites", data.writes.load());
  put("nativeReadBytes", data.read_bytes.load());
  put("nativeWriteBytes", data.write_bytes.load());
  put("nativeSyncs", counters.native_syncs);
  put("scriptCalls", counters.script_calls);
  put("helperRequests", counters.helper_requests);
  put("notifications", counters.notifications);
  put("stretches", counters.stretches);
  return result;
}

void SessionObject::Close(const Napi::CallbackInfo& info) {
  session_->Close();
  for (const Waiter& waiter : waiters_) {
    (void)napi_resolve_deferred(env_, waiter.deferred, info.Env().Undefined());
  }
  waiters_.clear();
}

Napi::Function SessionObject::Define(Napi::Env env) {
  using Self = SessionObject;
  return DefineClass(env, "Session",
                     {
                         InstanceMethod<&Self::ShareFile>("shareFile"),
                         InstanceMethod<&Self::UnshareFile>("unshareFile"),
                         InstanceMethod<&Self::PublishFile>("publishFile"),
                         InstanceMethod<&Self::SetMap>("setMap"),
                         InstanceMethod<&Self::SetSize>("setSize"),
                         InstanceMethod<&Self::OfferRoom>("offerRoom"),
                         InstanceMethod<&Self::EndRoom>("endRoom"),
                         InstanceMethod<&Self::SetService>("setService"),
                         InstanceMethod<&Self::CloseGate>("closeGate"),
                         InstanceMethod<&Self::OpenGate>("openGate"),
                         InstanceMethod<&Self::TakeTouched>("takeTouched"),
                         InstanceMethod<&Self::Look>("look"),
                         InstanceMethod<&Self::Now>("now"),
                         InstanceMethod<&Self::AddEntry>("addEntry"),
                         InstanceMethod<&Self::Resume>("resume"),
                         InstanceMethod<&Self::Answer>("answer"),
                         InstanceMethod<&Self::InvalidateInode>("invalidateInode"),
                         InstanceMethod<&Self::InvalidateEntry>("invalidateEntry"),
                         InstanceMethod<&Self::NotificationsDone>("notificationsDone"),
                         InstanceMethod<&Self::DiscardWriteback>("discardWriteback"),
                         InstanceMethod<&Self::Counters>("counters"),
                         InstanceMethod<&Self::Close>("close"),
                     });
}

void InitSession(Napi::Env env, Napi::Object exports) {
  exports.Set("Session", SessionObject::Define(env));
}

}  // namespace fauxdax
