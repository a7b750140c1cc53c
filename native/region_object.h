// The JavaScript class Region of lib/addon/region.ts: checks every argument, then calls
// fauxdax::Region, which only CHECKs. Methods run on the JavaScript thread of the environment that
// made the object.
//
// Operating errors are thrown as Error with `errno` (positive Linux number); wrong arguments and
// calls after close() as TypeError, RangeError or plain Error, since they are bugs of the caller.
// close() lets go of the region; it is unmapped when the sessions that share it are closed too.
#ifndef FAUXDAX_REGION_OBJECT_H_
#define FAUXDAX_REGION_OBJECT_H_

#include <napi.h>

#include <memory>

#include "region.h"

namespace fauxdax {

class RegionObject : public Napi::ObjectWrap<RegionObject> {
 public:
  // new Region(path: string, pageCount: number, readOnly: boolean)
  explicit RegionObject(const Napi::CallbackInfo& info);

  // The open region inside a JavaScript value; shared, so that it stays mapped while its user
  // lives. Throws a JavaScript TypeError when the value is no Region of this addon, Error when it
  // is closed.
  static std::shared_ptr<Region> FromValue(const Napi::Value& value);

  static Napi::Function Define(Napi::Env env);

 private:
  Napi::Value Read(const Napi::CallbackInfo& info);
  Napi::Value Store(const Napi::CallbackInfo& info);
  Napi::Value StoreFlushed(const Napi::CallbackInfo& info);
  Napi::Value ZeroFlushed(const Napi::CallbackInfo& info);
  Napi::Value CopyFlushed(const Napi::CallbackInfo& info);
  Napi::Value Flush(const Napi::CallbackInfo& info);
  Napi::Value Fence(const Napi::CallbackInfo& info);
  Napi::Value FillCanary(const Napi::CallbackInfo& info);
  Napi::Value Poison(const Napi::CallbackInfo& info);
  Napi::Value Heal(const Napi::CallbackInfo& info);
  Napi::Value PoisonedPages(const Napi::CallbackInfo& info);
  Napi::Value TrackUndecided(const Napi::CallbackInfo& info);
  Napi::Value UndecidedLineCount(const Napi::CallbackInfo& info);
  Napi::Value UndecidedCounters(const Napi::CallbackInfo& info);
  Napi::Value Crash(const Napi::CallbackInfo& info);
  Napi::Value Record(const Napi::CallbackInfo& info);
  Napi::Value SyncHost(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value PageCount(const Napi::CallbackInfo& info);
  Napi::Value Path(const Napi::CallbackInfo& info);
  Napi::Value FlushInstruction(const Napi::CallbackInfo& info);

  Region& Open(const Napi::CallbackInfo& info) const;
  Region& OpenForStore(const Napi::CallbackInfo& info) const;

  std::shared_ptr<Region> region_;
};

// exports.Region
void InitRegion(Napi::Env env, Napi::Object exports);

}  // namespace fauxdax

#endif  // FAUXDAX_REGION_OBJECT_H_
