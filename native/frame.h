// The call frame between the native session and fs/dispatch.ts, slot for slot as lib/frame.ts has
// it. Both sides are arrays of doubles, exact to 2^53; slots count elements. Only the JavaScript
// thread touches the arrays. Change both files together and raise the version.
#ifndef FAUXDAX_FRAME_H_
#define FAUXDAX_FRAME_H_

#include <cstddef>
#include <cstdint>

namespace fauxdax::frame {

constexpr double kVersion = 5;
constexpr size_t kSlots = 1024;

// Handler results besides 0 (answer from the reply) and a positive errno.
constexpr int kDeferred = -1;
constexpr int kNoReply = -2;

// A bit of a handle (`fh`): opened with O_DIRECT.
constexpr uint64_t kHandleDirect = 1;

namespace request {
constexpr size_t kUnique = 0;
constexpr size_t kNodeid = 1;
constexpr size_t kUid = 2;
constexpr size_t kGid = 3;
constexpr size_t kPid = 4;
// 1 when native service has left times to take.
constexpr size_t kTouched = kSlots - 1;
// The first slot of the operation's own fields; lib/frame.ts names them per operation.
constexpr size_t kFields = 5;
// FORGET: [nodeid, nlookup] pairs.
constexpr size_t kForgetPairs = 8;
constexpr size_t kForgetPairsMax = (kTouched - kForgetPairs) / 2;
}  // namespace request

namespace reply {
enum Slot : size_t {
  kNodeid = 0,
  kGeneration = 1,
  kEntryTimeoutSec = 2,
  kAttrTimeoutSec = 3,
  kIno = 4,
  kSize = 5,
  kBlocks = 6,
  kMode = 7,
  kNlink = 8,
  kUid = 9,
  kGid = 10,
  kRdev = 11,
  kBlksize = 12,
  kAtimeSec = 13,
  kAtimeNsec = 14,
  kMtimeSec = 15,
  kMtimeNsec = 16,
  kCtimeSec = 17,
  kCtimeNsec = 18,
  kBtimeSec = 19,
  kBtimeNsec = 20,
  kFh = 21,
  kOpenFlags = 22,
  kValue = 23,
  kIsSize = 24,
  kIoctlResult = 25,
  kIsCommitted = kSlots - 1,
};
}  // namespace reply

namespace statfs_reply {
enum Slot : size_t {
  kBlocks = 0,
  kBfree = 1,
  kBavail = 2,
  kFiles = 3,
  kFfree = 4,
  kBsize = 5,
  kNamelen = 6,
  kFrsize = 7,
};
}  // namespace statfs_reply

}  // namespace fauxdax::frame

#endif  // FAUXDAX_FRAME_H_
