// Each plant is a mistake that a filesystem has made somewhere: a write that loses its end, a punch
// that does nothing, old bytes behind the end of file, a name, a time or an attribute that goes
// missing.
#include "plant.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace fxdiff {
namespace {

constexpr std::array<const char*, 9> kKinds = {"flip-byte",   "short-write", "drop-punch",
                                               "stale-tail",  "wrong-store", "lost-name",
                                               "wrong-errno", "lost-mtime",  "lost-xattr"};

void WriteByte(int descriptor, off_t offset, uint8_t byte) {
  // Through a descriptor of its own: the run's may append, be direct or read only.
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  int own = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (own < 0) return;
  if (pwrite(own, &byte, 1, offset) != 1) perror("fxdiff: plant");
  close(own);
}

void FlipFirstByte(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  int own = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  uint8_t byte = 0;
  if (own >= 0 && pread(own, &byte, 1, 0) == 1) WriteByte(descriptor, 0, uint8_t(byte ^ 1));
  if (own >= 0) close(own);
}

}  // namespace

Plant::Plant(const std::string& text) {
  if (text.empty()) return;
  const size_t colon = text.find(':');
  kind_ = text.substr(0, colon);
  for (const char* kind : kKinds) {
    if (kind_ != kind || colon == std::string::npos) continue;
    from_ = strtoull(text.c_str() + colon + 1, nullptr, 10);
    return;
  }
  fprintf(stderr, "fxdiff: --plant wants KIND:OP, KIND one of");
  for (const char* kind : kKinds) fprintf(stderr, " %s", kind);
  fprintf(stderr, "\n");
  exit(2);
}

Outcome Plant::Run(const Op& op, const World& world, Side& a) const {
  if (op.number < from_) return a.Run(op, world);
  const SlotState slot = op.slot >= 0 ? world.slots[size_t(op.slot)] : SlotState();
  const int descriptor = op.slot >= 0 ? a.Descriptor(op.slot) : -1;
  struct stat before = {};
  if (descriptor >= 0) fstat(descriptor, &before);
  if (kind_ == "drop-punch" && op.kind == Kind::Fallocate && slot.regular &&
      op.flags == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) &&
      (slot.flags & O_ACCMODE) != O_RDONLY) {
    const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    futimens(descriptor, times);
    return Outcome();
  }
  if (kind_ == "wrong-store" && op.kind == Kind::Store) {
    Op other = op;
    other.data += 2;
    return a.Run(other, world);
  }
  if (kind_ == "short-write" && op.kind == Kind::Pwrite && slot.regular && op.length > 1) {
    Op shorter = op;
    shorter.length -= slot.flags & O_DIRECT ? kPageBytes : 1;
    Outcome outcome = a.Run(shorter, world);
    if (outcome.error == 0) outcome.result = op.length;
    return outcome;
  }
  Outcome outcome = a.Run(op, world);
  if (kind_ == "wrong-errno" && outcome.error == ENOENT) outcome.error = EIO;
  if (outcome.error != 0) return outcome;
  if (kind_ == "flip-byte" && slot.regular) {
    struct stat after;
    fstat(descriptor, &after);
    FlipFirstByte(descriptor);
    const timespec times[2] = {{0, UTIME_OMIT}, after.st_mtim};
    futimens(descriptor, times);
  }
  if (kind_ == "lost-xattr" && op.kind == Kind::SetXattr)
    lremovexattr(a.Path(op.path).c_str(), XattrNames()[size_t(op.xattr)]);
  if (kind_ == "lost-name" && op.kind == Kind::Rename) unlink(a.Path(op.path2).c_str());
  if (kind_ == "stale-tail" && op.kind == Kind::Ftruncate && op.offset > before.st_size)
    WriteByte(descriptor, before.st_size, 0xaa);
  if (kind_ == "lost-mtime" && op.kind == Kind::Pwrite && slot.regular) {
    const timespec times[2] = {{0, UTIME_OMIT}, before.st_mtim};
    futimens(descriptor, times);
  }
  return outcome;
}

}  // namespace fxdiff
