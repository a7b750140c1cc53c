#include "fault_server_object.h"

#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "check.h"
#include "recorder_object.h"
#include "region_object.h"
#include "session_object.h"

namespace fauxdax {

namespace {

constexpr uint64_t kExactMax = uint64_t{1} << 53;
constexpr uint64_t kFilePagesMax = kFileBytesMax >> kPageShift;
constexpr uint64_t kErrorMax = 4095;
constexpr int64_t kSilenceNsMax = 10'000'000'000;
constexpr uint64_t kWaitMsMax = 60'000;
constexpr int64_t kStopNsMax = 2'000'000'000;
constexpr uint64_t kShowFlags = WIRE_DROP_OWN | WIRE_STORABLE | WIRE_POPULATE | WIRE_HUGE;

// For calls that only fail when they are given something wrong.
void CheckNapi(napi_status status) { CHECK(status == napi_ok, "Node-API takes a valid call"); }

// File pages, as two arguments that follow one another.
struct PagesArgument {
  PagesArgument(const Napi::CallbackInfo& info, size_t index)
      : file_page(CountArgument(info, index, "filePage", kFilePagesMax)),
        page_count(CountArgument(info, index + 1, "pageCount", kFilePagesMax - file_page)) {}

  const uint64_t file_page;
  const uint64_t page_count;
};

int ErrorArgument(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<int>(CountArgument(info, index, "error", kErrorMax));
}

Napi::Object PartValue(Napi::Env env, const FaultPart& part) {
  const Napi::Object value = Napi::Object::New(env);
  value.Set("mapping", static_cast<double>(part.mapping));
  value.Set("filePage", static_cast<double>(part.file_page));
  value.Set("pageCount", static_cast<double>(part.page_count));
  return value;
}

Napi::Object EventValue(Napi::Env env, const FaultEvent& event) {
  using Type = FaultEvent::Type;
  const Napi::Object value =
      event.type == Type::kUnmapped ? PartValue(env, event.part) : Napi::Object::New(env);
  const auto put = [&](const char* name, uint64_t number) {
    value.Set(name, static_cast<double>(number));
  };
  if (event.type == Type::kUnmapped) {
    value.Set("type", "unmapped");
    return value;
  }
  if (event.type == Type::kProtected) {
    value.Set("type", "protected");
    put("number", event.number);
    return value;
  }
  put("client", event.client);
  switch (event.type) {
    case Type::kAttached:
      value.Set("type", "attached");
      put("pid", event.pid);
      break;
    case Type::kGone:
      value.Set("type", "gone");
      value.Set("reason", event.reason);
      break;
    case Type::kMap:
      value.Set("type", "map");
      put("call", event.call);
      put("pid", event.pid);
      put("address", event.address);
      put("lengthBytes", event.length_bytes);
      put("ino", event.ino);
      put("offset", event.offset);
      put("flags", event.flags);
      break;
    case Type::kSync: {
      value.Set("type", "sync");
      put("call", event.call);
      put("tid", event.tid);
      const Napi::Array parts = Napi::Array::New(env, event.parts.size());
      for (uint32_t i = 0; i < event.parts.size(); i++)
        parts.Set(i, PartValue(env, event.parts[i]));
      value.Set("parts", parts);
      break;
    }
    case Type::kFallocate:
      value.Set("type", "fallocate");
      put("call", event.call);
      put("tid", event.tid);
      put("ino", event.ino);
      put("mode", event.flags);
      put("offset", event.offset);
      put("lengthBytes", event.length_bytes);
      break;
    case Type::kFault:
      value.Set("type", "fault");
      put("tid", event.tid);
      put("mapping", event.part.mapping);
      put("filePage", event.part.file_page);
      value.Set("isWrite", event.is_write);
      value.Set("isProtected", event.is_protected);
      break;
    case Type::kDone:
      value.Set("type", "done");
      put("number", event.number);
      value.Set("error", event.error);
      put("collisions", event.collisions);
      break;
    case Type::kUnmapped:
    case Type::kProtected:
      CHECK(false, "that was before");
  }
  return value;
}

}  // namespace

FaultServerObject::FaultServerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<FaultServerObject>(info), env_(info.Env()) {
  if (!info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "options are an object");
  const Napi::Object options = info[0].As<Napi::Object>();
  const Napi::Value path = options.Get("socketPath");
  if (!path.IsString()) throw Napi::TypeError::New(info.Env(), "socketPath is not a string");
  const Napi::Value on_events = options.Get("onEvents");
  if (!on_events.IsFunction()) {
    throw Napi::TypeError::New(info.Env(), "onEvents is not a function");
  }
  int64_t silence_ns_max = kSilenceNsMax;
  const Napi::Value silence = options.Get("silenceMsMax");
  if (silence.IsNumber()) silence_ns_max = silence.As<Napi::Number>().Int64Value() * 1'000'000;
  region_ = RegionObject::FromValue(options.Get("region"));
  session_ = SessionObject::FromValue(options.Get("session"));
  std::shared_ptr<Recorder> recorder;
  const Napi::Value recorder_value = options.Get("recorder");
  if (!recorder_value.IsUndefined()) recorder = RecorderObject::FromValue(recorder_value);
  session_value_ = Napi::Persistent(options.Get("session").As<Napi::Object>());
  on_events_ = Napi::Persistent(on_events.As<Napi::Function>());

  uv_loop_t* loop = nullptr;
  CheckNapi(napi_get_uv_event_loop(env_, &loop));
  async_ = new uv_async_t;
  async_->data = this;
  const auto on_told = [](uv_async_t* async) {
    static_cast<FaultServerObject*>(async->data)->OnTold();
  };
  CHECK(uv_async_init(loop, async_, on_told) == 0, "the loop takes an async handle");
  uv_unref(reinterpret_cast<uv_handle_t*>(async_));
  const std::string socket_path = path.As<Napi::String>().Utf8Value();
  const FaultServerParts parts = {region_, recorder, &session_->files(), silence_ns_max};
  const int error = FaultServer::Open(socket_path, parts, Tell, this, &server_);
  if (error != 0) {
    const auto on_closed = [](uv_handle_t* handle) {
      delete reinterpret_cast<uv_async_t*>(handle);
    };
    uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(async_, nullptr)), on_closed);
    ThrowErrno(info.Env(), error, "cannot serve mappings at " + socket_path);
  }
  const Napi::Object self = info.This().As<Napi::Object>();
  CheckNapi(napi_async_init(env_, self, Napi::String::New(info.Env(), "fauxdax"), &async_context_));
  const auto close = [](napi_async_cleanup_hook_handle, void* object) {
    static_cast<FaultServerObject*>(object)->CloseServer();
  };
  CheckNapi(napi_add_async_cleanup_hook(env_, close, this, &cleanup_hook_));
  Ref();
}

FaultServerObject::~FaultServerObject() { CHECK(!server_, "a server is closed before it goes"); }

void FaultServerObject::Tell(void* object) {
  auto* self = static_cast<FaultServerObject*>(object);
  uv_async_send(self->async_);
  self->session_->WantLoop();
}

void FaultServerObject::OnTold() {
  session_->LoopHadTurn();
  if (!server_) return;
  const Napi::HandleScope scope(env_);
  napi_callback_scope callback_scope;
  CheckNapi(napi_open_callback_scope(env_, Value(), async_context_, &callback_scope));
  server_->BeginBatch();
  napi_value undefined;
  CheckNapi(napi_get_undefined(env_, &undefined));
  if (napi_call_function(env_, undefined, on_events_.Value(), 0, nullptr, nullptr) != napi_ok) {
    napi_value exception;
    CheckNapi(napi_get_and_clear_last_exception(env_, &exception));
    // Ignored by an environment that is being stopped.
    (void)napi_fatal_exception(env_, exception);
  }
  // Runs promises and ticks: what they show is of the batch too. They may close the server.
  (void)napi_close_callback_scope(env_, callback_scope);
  if (server_) server_->EndBatch();
}

void FaultServerObject::CloseServer() {
  if (!server_) return;
  counters_at_close_ = server_->counters();
  // A thread that the kernel does not let go on is left behind, with what it uses.
  if (server_->Stop(kStopNsMax)) {
    server_.reset();
  } else {
    (void)server_.release();
  }
  region_.reset();
  // Nobody tells any more.
  session_->LoopHadTurn();
  const auto on_closed = [](uv_handle_t* handle) {
    auto* self = static_cast<FaultServerObject*>(handle->data);
    delete reinterpret_cast<uv_async_t*>(handle);
    const Napi::HandleScope scope(self->env_);
    CheckNapi(napi_async_destroy(self->env_, self->async_context_));
    CheckNapi(napi_remove_async_cleanup_hook(self->cleanup_hook_));
    self->Unref();
  };
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(async_, nullptr)), on_closed);
}

Napi::Value FaultServerObject::Take(const Napi::CallbackInfo& info) {
  std::vector<FaultEvent> events;
  if (server_) events = server_->Take();
  const Napi::Array array = Napi::Array::New(info.Env(), events.size());
  for (uint32_t i = 0; i < events.size(); i++) array.Set(i, EventValue(info.Env(), events[i]));
  return array;
}

void FaultServerObject::Map(const Napi::CallbackInfo& info) {
  const uint64_t call = CountArgument(info, 0, "call", kExactMax);
  const uint64_t mapping = CountArgument(info, 1, "mapping", kExactMax);
  const int error = ErrorArgument(info, 2);
  if (server_ && !server_->Map(call, mapping, error)) {
    throw Napi::Error::New(info.Env(), "mapping " + std::to_string(mapping) + " exists");
  }
}

void FaultServerObject::Reply(const Napi::CallbackInfo& info) {
  const uint64_t call = CountArgument(info, 0, "call", kExactMax);
  const int error = ErrorArgument(info, 1);
  if (server_) server_->Reply(call, error);
}

Napi::Value FaultServerObject::Show(const Napi::CallbackInfo& info) {
  if (!server_) return Napi::Number::New(info.Env(), 0);
  const uint64_t mapping = CountArgument(info, 0, "mapping", kExactMax);
  const PagesArgument pages(info, 1);
  const auto kind = static_cast<uint32_t>(CountArgument(info, 3, "kind", WIRE_BUS));
  uint64_t region_page = 0;
  if (kind == WIRE_REGION) {
    const uint64_t region_pages = region_->page_count();
    region_page = CountArgument(info, 4, "regionPage", region_pages);
    (void)CountArgument(info, 2, "pageCount", region_pages - region_page);
  }
  const auto flags = static_cast<uint32_t>(CountArgument(info, 5, "flags", kShowFlags));
  uint64_t number = 0;
  if (pages.page_count > 0) {
    number = server_->Show(mapping, pages.file_page, pages.page_count, kind, region_page, flags);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(number));
}

void FaultServerObject::Wake(const Napi::CallbackInfo& info) {
  const uint64_t mapping = CountArgument(info, 0, "mapping", kExactMax);
  const PagesArgument pages(info, 1);
  if (server_ && pages.page_count > 0) server_->Wake(mapping, pages.file_page, pages.page_count);
}

Napi::Value FaultServerObject::WriteProtect(const Napi::CallbackInfo& info) {
  const uint64_t mapping = CountArgument(info, 0, "mapping", kExactMax);
  const PagesArgument pages(info, 1);
  const bool on = BooleanArgument(info, 3, "on");
  uint64_t number = 0;
  if (server_ && pages.page_count > 0) {
    number = server_->WriteProtect(mapping, pages.file_page, pages.page_count, on);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(number));
}

Napi::Value FaultServerObject::IsProtected(const Napi::CallbackInfo& info) {
  const uint64_t number = CountArgument(info, 0, "number", kExactMax);
  return Napi::Boolean::New(info.Env(), !server_ || server_->IsProtected(number));
}

void FaultServerObject::ProtectOrKill(const Napi::CallbackInfo& info) {
  const uint64_t wait_ms_max = CountArgument(info, 0, "waitMsMax", kWaitMsMax);
  if (server_) server_->ProtectOrKill(static_cast<int64_t>(wait_ms_max) * 1'000'000);
}

void FaultServerObject::CatchStores(const Napi::CallbackInfo& info) {
  const uint64_t ino = CountArgument(info, 0, "ino", kExactMax);
  const PagesArgument pages(info, 1);
  const bool on = BooleanArgument(info, 3, "on");
  const bool is_huge = BooleanArgument(info, 4, "isHuge");
  if (!server_ || pages.page_count == 0) return;
  server_->CatchStores(ino, pages.file_page, pages.page_count, on, is_huge);
}

Napi::Value FaultServerObject::TakeDirtied(const Napi::CallbackInfo& info) {
  const uint64_t ino = CountArgument(info, 0, "ino", kExactMax);
  IntervalSet dirtied;
  if (server_) dirtied = server_->TakeDirtied(ino);
  auto numbers = Napi::Float64Array::New(info.Env(), dirtied.run_count() * 2);
  size_t index = 0;
  dirtied.ForEach([&](uint64_t page, uint64_t page_count) {
    numbers[index++] = static_cast<double>(page);
    numbers[index++] = static_cast<double>(page_count);
  });
  return numbers;
}

void FaultServerObject::Settled(const Napi::CallbackInfo& info) {
  const uint64_t ino = CountArgument(info, 0, "ino", kExactMax);
  if (server_) server_->Settled(ino);
}

void FaultServerObject::Unsettled(const Napi::CallbackInfo&) {
  if (server_) server_->Unsettled();
}

void FaultServerObject::WatchPages(const Napi::CallbackInfo& info) {
  if (!server_) return;
  const uint64_t page = CountArgument(info, 0, "regionPage", region_->page_count());
  const uint64_t count = CountArgument(info, 1, "pageCount", region_->page_count() - page);
  region_->WatchPages(page, count);
}

void FaultServerObject::SweepPages(const Napi::CallbackInfo& info) {
  if (!server_) return;
  const uint64_t page = CountArgument(info, 0, "regionPage", region_->page_count());
  const uint64_t count = CountArgument(info, 1, "pageCount", region_->page_count() - page);
  region_->SweepPages(page, count, BooleanArgument(info, 2, "forget"));
}

Napi::Value FaultServerObject::Counters(const Napi::CallbackInfo& info) {
  const FaultServerCounters counters = server_ ? server_->counters() : counters_at_close_;
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("clients", static_cast<double>(counters.clients));
  object.Set("mappings", static_cast<double>(counters.mappings));
  object.Set("faults", static_cast<double>(counters.faults));
  object.Set("caughtStores", static_cast<double>(counters.caught_stores));
  object.Set("heldStores", static_cast<double>(counters.held_stores));
  object.Set("settledSyncs", static_cast<double>(counters.settled_syncs));
  object.Set("rungSyncs", static_cast<double>(counters.rung_syncs));
  object.Set("commands", static_cast<double>(counters.commands));
  object.Set("queuedWrites", static_cast<double>(counters.queued_writes));
  return object;
}

void FaultServerObject::Close(const Napi::CallbackInfo&) { CloseServer(); }

Napi::Function FaultServerObject::Define(Napi::Env env) {
  using Self = FaultServerObject;
  return DefineClass(env, "FaultServer",
                     {
                         InstanceMethod<&Self::Take>("take"),
                         InstanceMethod<&Self::Map>("map"),
                         InstanceMethod<&Self::Reply>("reply"),
                         InstanceMethod<&Self::Show>("show"),
                         InstanceMethod<&Self::Wake>("wake"),
                         InstanceMethod<&Self::WriteProtect>("writeProtect"),
                         InstanceMethod<&Self::IsProtected>("isProtected"),
                         InstanceMethod<&Self::ProtectOrKill>("protectOrKill"),
                         InstanceMethod<&Self::CatchStores>("catchStores"),
                         InstanceMethod<&Self::TakeDirtied>("takeDirtied"),
                         InstanceMethod<&Self::Settled>("settled"),
                         InstanceMethod<&Self::Unsettled>("unsettled"),
                         InstanceMethod<&Self::WatchPages>("watchPages"),
                         InstanceMethod<&Self::SweepPages>("sweepPages"),
                         InstanceMethod<&Self::Counters>("counters"),
                         InstanceMethod<&Self::Close>("close"),
                     });
}

void InitFaultServer(Napi::Env env, Napi::Object exports) {
  exports.Set("FaultServer", FaultServerObject::Define(env));
}

}  // namespace fauxdax
