// The functions of plumbing.h and name_codec.h as JavaScript functions of lib/native.ts: arguments
// checked, errnos thrown (arguments.h). JavaScript thread only.
#ifndef FAUXDAX_PLUMBING_OBJECT_H_
#define FAUXDAX_PLUMBING_OBJECT_H_

#include <napi.h>

namespace fauxdax {

// exports.mountFuse, unmount, receiveDescriptor, socketPair, lockFile, allocateFile,
// closeDescriptor, encodeName, decodeName
void InitPlumbing(Napi::Env env, Napi::Object exports);

}  // namespace fauxdax

#endif  // FAUXDAX_PLUMBING_OBJECT_H_
