#include "region_object.h"

#include <string>
#include <utility>

#include "arguments.h"
#include "recorder_object.h"

namespace fauxdax {

namespace {

// Tells our wrapped objects from any other addon's, so that unwrapping is safe.
constexpr napi_type_tag kRegionTag = {0x6661757864617831, 0x726567696f6e0001};

struct Range {
  uint64_t offset;
  uint64_t length_bytes;
};

Range CheckedRange(const Napi::CallbackInfo& info, const Region& region, uint64_t offset,
                   uint64_t length_bytes) {
  if (offset > region.size_bytes() || length_bytes > region.size_bytes() - offset) {
    throw Napi::RangeError::New(info.Env(), "bytes " + std::to_string(offset) + " to " +
                                                std::to_string(offset + length_bytes) +
                                                " are not inside the region");
  }
  return Range{offset, length_bytes};
}

// Arguments `index` and `index` + 1: offset and length in bytes.
Range RangeArgument(const Napi::CallbackInfo& info, size_t index, const Region& region) {
  const uint64_t offset = CountArgument(info, index, "offset", region.size_bytes());
  const uint64_t length_bytes = CountArgument(info, index + 1, "lengthBytes", region.size_bytes());
  return CheckedRange(info, region, offset, length_bytes);
}

// Arguments 0 and 1: offset and bytes.
Range BytesRangeArgument(const Napi::CallbackInfo& info, const Region& region, const Bytes& bytes) {
  const uint64_t offset = CountArgument(info, 0, "offset", region.size_bytes());
  return CheckedRange(info, region, offset, bytes.length_bytes);
}

std::string At(const char* what, const Range& range) {
  return std::string(what) + " of " + std::to_string(range.length_bytes) + " bytes at " +
         std::to_string(range.offset);
}

// The message is only made when there is an error: these calls are hot.
void ThrowIfFailed(const Napi::CallbackInfo& info, int error, const char* what,
                   const Range& range) {
  if (error != 0) ThrowErrno(info.Env(), error, At(what, range));
}

Keep KeepArgument(const Napi::CallbackInfo& info) {
  const std::string kind = TextArgument(info, 0, "keep");
  if (kind == "none") return Keep{Keep::Kind::kNone, 0};
  if (kind == "all") return Keep{Keep::Kind::kAll, 0};
  if (kind != "seed") throw Napi::TypeError::New(info.Env(), "keep is none, all or seed");
  constexpr uint64_t kSeedMax = (uint64_t{1} << 53) - 1;
  return Keep{Keep::Kind::kSeed, CountArgument(info, 1, "seed", kSeedMax)};
}

}  // namespace

RegionObject::RegionObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RegionObject>(info) {
  const std::string path = TextArgument(info, 0, "path");
  const uint64_t page_count = CountArgument(info, 1, "pageCount", kRegionPagesMax);
  const bool read_only = BooleanArgument(info, 2, "readOnly");
  if (page_count == 0) throw Napi::RangeError::New(info.Env(), "pageCount is 0");
  std::unique_ptr<Region> region;
  ThrowIfErrno(info.Env(), Region::Open(path.c_str(), page_count, read_only, &region),
               "cannot map " + std::to_string(page_count) + " pages of " + path);
  region_ = std::move(region);
  info.This().As<Napi::Object>().TypeTag(&kRegionTag);
}

std::shared_ptr<Region> RegionObject::FromValue(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kRegionTag)) {
    throw Napi::TypeError::New(value.Env(), "region is not a Region of this addon");
  }
  std::shared_ptr<Region> region = Unwrap(value.As<Napi::Object>())->region_;
  if (!region) throw Napi::Error::New(value.Env(), "the region is closed");
  return region;
}

Region& RegionObject::Open(const Napi::CallbackInfo& info) const {
  if (!region_) throw Napi::Error::New(info.Env(), "the region is closed");
  return *region_;
}

Region& RegionObject::OpenForStore(const Napi::CallbackInfo& info) const {
  Region& region = Open(info);
  if (region.read_only()) ThrowErrno(info.Env(), EROFS, "the region is read-only");
  return region;
}

Napi::Value RegionObject::Read(const Napi::CallbackInfo& info) {
  const Region& region = Open(info);
  const Bytes target = BytesArgument(info, 1, "target");
  const Range range = BytesRangeArgument(info, region, target);
  ThrowIfFailed(info, region.Read(range.offset, target.data, range.length_bytes), "read", range);
  return info.Env().Undefined();
}

Napi::Value RegionObject::Store(const Napi::CallbackInfo& info) {
  Region& region = OpenForStore(info);
  const Bytes source = BytesArgument(info, 1, "source");
  const Range range = BytesRangeArgument(info, region, source);
  ThrowIfFailed(info, region.Store(range.offset, source.data, range.length_bytes), "store", range);
  return info.Env().Undefined();
}

Napi::Value RegionObject::StoreFlushed(const Napi::CallbackInfo& info) {
  Region& region = OpenForStore(info);
  const Bytes source = BytesArgument(info, 1, "source");
  const Range range = BytesRangeArgument(info, region, source);
  const int error = region.StoreFlushed(range.offset, source.data, range.length_bytes);
  ThrowIfFailed(info, error, "store", range);
  return info.Env().Undefined();
}

Napi::Value RegionObject::ZeroFlushed(const Napi::CallbackInfo& info) {
  Region& region = OpenForStore(info);
  const Range range = RangeArgument(info, 0, region);
  ThrowIfFailed(info, region.ZeroFlushed(range.offset, range.length_bytes), "zeroing", range);
  return info.Env().Undefined();
}

Napi::Value RegionObject::CopyFlushed(const Napi::CallbackInfo& info) {
  Region& region = OpenForStore(info);
  const uint64_t from_offset = CountArgument(info, 0, "fromOffset", region.size_bytes());
  const Range to = RangeArgument(info, 1, region);
  const Range from = CheckedRange(info, region, from_offset, to.length_bytes);
  const int error = region.CopyFlushed(from.offset, to.offset, to.length_bytes);
  ThrowIfFailed(info, error, "copy", from);
  return info.Env().Undefined();
}

Napi::Value RegionObject::Flush(const Napi::CallbackInfo& info) {
  Region& region = Open(info);
  const Range range = RangeArgument(info, 0, region);
  region.Flush(range.offset, range.length_bytes);
  return info.Env().Undefined();
}

Napi::Value RegionObject::Fence(const Napi::CallbackInfo& info) {
  Open(info).Fence();
  return info.Env().Undefined();
}

Napi::Value RegionObject::FillCanary(const Napi::CallbackInfo& info) {
  Region& region = OpenForStore(info);
  const uint64_t page = CountArgument(info, 0, "page", region.page_count());
  const uint64_t page_count = CountArgument(info, 1, "pageCount", region.page_count() - page);
  const uint64_t owner_ino = CountArgument(info, 2, "ownerIno", (uint64_t{1} << 53) - 1);
  region.FillCanary(page, page_count, owner_ino);
  return info.Env().Undefined();
}

Napi::Value RegionObject::Poison(const Napi::CallbackInfo& info) {
  Region& region = Open(info);
  region.Poison(CountArgument(info, 0, "page", region.page_count() - 1));
  return info.Env().Undefined();
}

Napi::Value RegionObject::Heal(const Napi::CallbackInfo& info) {
  Region& region = Open(info);
  region.Heal(CountArgument(info, 0, "page", region.page_count() - 1));
  return info.Env().Undefined();
}

Napi::Value RegionObject::PoisonedPages(const Napi::CallbackInfo& info) {
  const std::vector<uint64_t> pages = Open(info).PoisonedPages();
  const Napi::Array array = Napi::Array::New(info.Env(), pages.size());
  for (size_t index = 0; index < pages.size(); ++index) {
    array.Set(static_cast<uint32_t>(index), static_cast<double>(pages[index]));
  }
  return array;
}

Napi::Value RegionObject::TrackUndecided(const Napi::CallbackInfo& info) {
  OpenForStore(info).TrackUndecided();
  return info.Env().Undefined();
}

Napi::Value RegionObject::UndecidedLineCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Open(info).UndecidedLineCount()));
}

Napi::Value RegionObject::UndecidedCounters(const Napi::CallbackInfo& info) {
  const fauxdax::UndecidedCounters counters = Open(info).undecided_counters();
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("limitFences", static_cast<double>(counters.limit_fences));
  object.Set("limitEvictions", static_cast<double>(counters.limit_evictions));
  return object;
}

Napi::Value RegionObject::Crash(const Napi::CallbackInfo& info) {
  Region& region = OpenForStore(info);
  const Keep keep = KeepArgument(info);
  if (!region.tracks_undecided()) {
    throw Napi::Error::New(info.Env(), "crash() needs trackUndecided() first");
  }
  if (region.records()) throw Napi::Error::New(info.Env(), "a recorded region is not crashed");
  const CrashCount count = region.Crash(keep);
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("undecidedLines", static_cast<double>(count.undecided_lines));
  object.Set("keptLines", static_cast<double>(count.kept_lines));
  return object;
}

Napi::Value RegionObject::Record(const Napi::CallbackInfo& info) {
  Region& region = Open(info);
  if (region.records()) throw Napi::Error::New(info.Env(), "the region is recorded already");
  region.Record(RecorderObject::FromValue(info[0]));
  return info.Env().Undefined();
}

Napi::Value RegionObject::SyncHost(const Napi::CallbackInfo& info) {
  Region& region = Open(info);
  ThrowIfErrno(info.Env(), region.SyncHost(), "msync of " + region.path());
  return info.Env().Undefined();
}

Napi::Value RegionObject::Close(const Napi::CallbackInfo& info) {
  region_.reset();
  return info.Env().Undefined();
}

Napi::Value RegionObject::PageCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Open(info).page_count()));
}

Napi::Value RegionObject::Path(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), Open(info).path());
}

Napi::Value RegionObject::FlushInstruction(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), FlushInstructionName(Open(info).flush_instruction()));
}

Napi::Function RegionObject::Define(Napi::Env env) {
  return DefineClass(env, "Region",
                     {
                         InstanceMethod<&RegionObject::Read>("read"),
                         InstanceMethod<&RegionObject::Store>("store"),
                         InstanceMethod<&RegionObject::StoreFlushed>("storeFlushed"),
                         InstanceMethod<&RegionObject::ZeroFlushed>("zeroFlushed"),
                         InstanceMethod<&RegionObject::CopyFlushed>("copyFlushed"),
                         InstanceMethod<&RegionObject::Flush>("flush"),
                         InstanceMethod<&RegionObject::Fence>("fence"),
                         InstanceMethod<&RegionObject::FillCanary>("fillCanary"),
                         InstanceMethod<&RegionObject::Poison>("poison"),
                         InstanceMethod<&RegionObject::Heal>("heal"),
                         InstanceMethod<&RegionObject::PoisonedPages>("poisonedPages"),
                         InstanceMethod<&RegionObject::TrackUndecided>("trackUndecided"),
                         InstanceMethod<&RegionObject::UndecidedLineCount>("undecidedLineCount"),
                         InstanceMethod<&RegionObject::UndecidedCounters>("undecidedCounters"),
                         InstanceMethod<&RegionObject::Crash>("crash"),
                         InstanceMethod<&RegionObject::Record>("record"),
                         InstanceMethod<&RegionObject::SyncHost>("syncHost"),
                         InstanceMethod<&RegionObject::Close>("close"),
                         InstanceMethod<&RegionObject::PageCount>("pageCount"),
                         InstanceMethod<&RegionObject::Path>("path"),
                         InstanceMethod<&RegionObject::FlushInstruction>("flushInstruction"),
                     });
}

void InitRegion(Napi::Env env, Napi::Object exports) {
  exports.Set("Region", RegionObject::Define(env));
}

}  // namespace fauxdax
