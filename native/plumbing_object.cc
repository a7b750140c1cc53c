#include "plumbing_object.h"

#include <errno.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "arguments.h"
#include "last_words.h"
#include "name_codec.h"
#include "plumbing.h"
#include "units.h"
#include "userfault_probe.h"
#include "wire.h"

namespace fauxdax {

namespace {

// mountFuse(dir: string, source: string, flags: number, data: string): number
Napi::Value CallMountFuse(const Napi::CallbackInfo& info) {
  const std::string dir = TextArgument(info, 0, "dir");
  const std::string source = TextArgument(info, 1, "source");
  const uint64_t flags = CountArgument(info, 2, "flags", UINT32_MAX);
  const std::string data = TextArgument(info, 3, "data");
  int fd = -1;
  std::string what = "cannot mount on " + dir;
  if (access("/dev/fuse", R_OK | W_OK) != 0 && errno == EACCES) {
    what += ": you may not open /dev/fuse (as root: chmod a+rw /dev/fuse)";
  }
  ThrowIfErrno(info.Env(), MountFuse(dir, source, flags, data, &fd), what);
  return Napi::Number::New(info.Env(), fd);
}

// unmount(dir: string, lazy: boolean): void
Napi::Value CallUnmount(const Napi::CallbackInfo& info) {
  const std::string dir = TextArgument(info, 0, "dir");
  const bool lazy = BooleanArgument(info, 1, "lazy");
  ThrowIfErrno(info.Env(), Unmount(dir, lazy), "cannot unmount " + dir);
  return info.Env().Undefined();
}

// receiveDescriptor(fd: number): number
Napi::Value CallReceiveDescriptor(const Napi::CallbackInfo& info) {
  int fd = -1;
  const int error = ReceiveDescriptor(DescriptorArgument(info, 0), &fd);
  ThrowIfErrno(info.Env(), error, "no descriptor received");
  return Napi::Number::New(info.Env(), fd);
}

// socketPair(): [number, number]
Napi::Value CallSocketPair(const Napi::CallbackInfo& info) {
  int fds[2] = {-1, -1};
  ThrowIfErrno(info.Env(), SocketPair(fds), "no socket pair");
  const Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(uint32_t{0}, fds[0]);
  pair.Set(uint32_t{1}, fds[1]);
  return pair;
}

// lockFile(fd: number): boolean
Napi::Value CallLockFile(const Napi::CallbackInfo& info) {
  bool locked = false;
  ThrowIfErrno(info.Env(), LockFile(DescriptorArgument(info, 0), &locked), "cannot lock");
  return Napi::Boolean::New(info.Env(), locked);
}

// attachedProcess(fd: number): number
Napi::Value CallAttachedProcess(const Napi::CallbackInfo& info) {
  int pid = 0;
  const int error = LockHolder(DescriptorArgument(info, 0), WIRE_ATTACHED_AT, &pid);
  ThrowIfErrno(info.Env(), error, "cannot look for a lock");
  return Napi::Number::New(info.Env(), pid);
}

// allocateFile(fd: number, lengthBytes: number): void
Napi::Value CallAllocateFile(const Napi::CallbackInfo& info) {
  const int fd = DescriptorArgument(info, 0);
  const uint64_t length_bytes = CountArgument(info, 1, "lengthBytes", kFileBytesMax);
  if (length_bytes == 0) throw Napi::RangeError::New(info.Env(), "lengthBytes is 0");
  ThrowIfErrno(info.Env(), AllocateFile(fd, length_bytes),
               "cannot allocate " + std::to_string(length_bytes) + " bytes");
  return info.Env().Undefined();
}

// closeDescriptor(fd: number): void
Napi::Value CallCloseDescriptor(const Napi::CallbackInfo& info) {
  const int fd = DescriptorArgument(info, 0);
  ThrowIfErrno(info.Env(), CloseDescriptor(fd), "cannot close descriptor " + std::to_string(fd));
  return info.Env().Undefined();
}

// hasFileCapabilities(path: string): boolean
Napi::Value CallHasFileCapabilities(const Napi::CallbackInfo& info) {
  const std::string path = TextArgument(info, 0, "path");
  bool has = false;
  ThrowIfErrno(info.Env(), HasFileCapabilities(path, &has), path);
  return Napi::Boolean::New(info.Env(), has);
}

// decodeName(bytes: Uint8Array): string
Napi::Value CallDecodeName(const Napi::CallbackInfo& info) {
  const Bytes bytes = BytesArgument(info, 0, "bytes");
  std::vector<char16_t> units(DecodedUnitsMax(bytes.length_bytes));
  const size_t count = DecodeName(bytes.data, bytes.length_bytes, units.data());
  return Napi::String::New(info.Env(), units.data(), count);
}

// encodeName(name: string): Uint8Array
Napi::Value CallEncodeName(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "name is not a string");
  const std::u16string name = info[0].As<Napi::String>().Utf16Value();
  std::string bytes;
  if (!EncodeName(name.data(), name.size(), &bytes)) {
    ThrowErrno(info.Env(), EILSEQ, "no bytes decode to this name");
  }
  Napi::Uint8Array array = Napi::Uint8Array::New(info.Env(), bytes.size());
  if (!bytes.empty()) std::memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

// probeUserfault(): number
Napi::Value CallProbeUserfault(const Napi::CallbackInfo& info) {
  uint64_t missing = 0;
  ThrowIfErrno(info.Env(), ProbeUserfault(&missing), "userfaultfd");
  return Napi::Number::New(info.Env(), static_cast<double>(missing));
}

// sayLastWords(): void
Napi::Value CallSayLastWords(const Napi::CallbackInfo& info) {
  SayLastWords();
  return info.Env().Undefined();
}

}  // namespace

void InitPlumbing(Napi::Env env, Napi::Object exports) {
  exports.Set("mountFuse", Napi::Function::New<CallMountFuse>(env, "mountFuse"));
  exports.Set("unmount", Napi::Function::New<CallUnmount>(env, "unmount"));
  exports.Set("receiveDescriptor",
              Napi::Function::New<CallReceiveDescriptor>(env, "receiveDescriptor"));
  exports.Set("socketPair", Napi::Function::New<CallSocketPair>(env, "socketPair"));
  exports.Set("lockFile", Napi::Function::New<CallLockFile>(env, "lockFile"));
  exports.Set("attachedProcess", Napi::Function::New<CallAttachedProcess>(env, "attachedProcess"));
  exports.Set("allocateFile", Napi::Function::New<CallAllocateFile>(env, "allocateFile"));
  exports.Set("closeDescriptor", Napi::Function::New<CallCloseDescriptor>(env, "closeDescriptor"));
  exports.Set("hasFileCapabilities",
              Napi::Function::New<CallHasFileCapabilities>(env, "hasFileCapabilities"));
  exports.Set("decodeName", Napi::Function::New<CallDecodeName>(env, "decodeName"));
  exports.Set("encodeName", Napi::Function::New<CallEncodeName>(env, "encodeName"));
  exports.Set("probeUserfault", Napi::Function::New<CallProbeUserfault>(env, "probeUserfault"));
  exports.Set("sayLastWords", Napi::Function::New<CallSayLastWords>(env, "sayLastWords"));
}

}  // namespace fauxdax
