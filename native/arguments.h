// Arguments of JavaScript calls, checked: each function returns the C++ value or throws a
// JavaScript TypeError or RangeError that names the argument. JavaScript thread only; used by the
// *_object files.
#ifndef FAUXDAX_ARGUMENTS_H_
#define FAUXDAX_ARGUMENTS_H_

#include <napi.h>

#include <cstdint>
#include <string>

namespace fauxdax {

// Bytes of a Uint8Array (or Buffer); valid until the call returns to JavaScript.
struct Bytes {
  uint8_t* data;
  uint64_t length_bytes;
};

// An integer in [0, max].
uint64_t CountArgument(const Napi::CallbackInfo& info, size_t index, const char* name,
                       uint64_t max);
bool BooleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
// A string without NUL, as UTF-8.
std::string TextArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
// An open descriptor's number; whether it is open the kernel says.
int DescriptorArgument(const Napi::CallbackInfo& info, size_t index);

// Throws an Error with `errno` and `code`, the message "what: reason".
[[noreturn]] void ThrowErrno(Napi::Env env, int error, const std::string& what);
// Throws when error is not 0.
void ThrowIfErrno(Napi::Env env, int error, const std::string& what);

}  // namespace fauxdax

#endif  // FAUXDAX_ARGUMENTS_H_
