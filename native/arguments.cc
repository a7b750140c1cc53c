#include "arguments.h"

#include <string.h>

#include <climits>
#include <cmath>

#include "check.h"

namespace fauxdax {

uint64_t CountArgument(const Napi::CallbackInfo& info, size_t index, const char* name,
                       uint64_t max) {
  const Napi::Value value = info[index];
  if (!value.IsNumber()) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " is not a number");
  }
  const double number = value.As<Napi::Number>().DoubleValue();
  // Written so that NaN fails.
  if (!(number >= 0 && number <= static_cast<double>(max)) || std::floor(number) != number) {
    throw Napi::RangeError::New(info.Env(), std::string(name) + " is " + std::to_string(number) +
                                                ", not an integer in 0.." + std::to_string(max));
  }
  return static_cast<uint64_t>(number);
}

bool BooleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsBoolean()) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " is not a boolean");
  }
  return value.As<Napi::Boolean>().Value();
}

std::string TextArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsString()) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " is not a string");
  }
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " holds a NUL");
  }
  return text;
}

Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + " is not a Uint8Array");
  }
  auto array = value.As<Napi::Uint8Array>();
  return Bytes{array.Data(), array.ByteLength()};
}

int DescriptorArgument(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<int>(CountArgument(info, index, "fd", INT_MAX));
}

void ThrowErrno(Napi::Env env, int error, const std::string& what) {
  CHECK(error > 0, "an operating error is a positive errno");
  const char* code = strerrorname_np(error);
  const char* reason = strerrordesc_np(error);
  Napi::Error thrown = Napi::Error::New(env, what + ": " + (reason ? reason : "unknown error"));
  thrown.Set("errno", Napi::Number::New(env, error));
  thrown.Set("code", Napi::String::New(env, code ? code : "EUNKNOWN"));
  throw thrown;
}

void ThrowIfErrno(Napi::Env env, int error, const std::string& what) {
  if (error != 0) ThrowErrno(env, error, what);
}

}  // namespace fauxdax
