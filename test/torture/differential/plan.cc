// Draws operations. Most weight is on data through open files, because that is where extents, maps
// and page caches meet; the rest keeps the namespace moving under them. Names are few, so that
// operations meet each other; a few are odd on purpose (255 bytes, 256 bytes, not UTF-8, dots).
#include "plan.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <vector>

namespace fxdiff {
namespace {

struct Weight {
  Kind kind;
  const char* name;
  int weight;
};

constexpr Weight kWeights[] = {
    {Kind::Open, "open", 70},
    {Kind::Tmpfile, "tmpfile", 8},
    {Kind::Close, "close", 22},
    {Kind::Read, "read", 30},
    {Kind::Pread, "pread", 60},
    {Kind::Readv, "readv", 15},
    {Kind::Write, "write", 50},
    {Kind::Pwrite, "pwrite", 110},
    {Kind::Writev, "writev", 15},
    {Kind::Seek, "seek", 30},
    {Kind::Map, "map", 25},
    {Kind::Unmap, "unmap", 15},
    {Kind::Load, "load", 50},
    {Kind::Store, "store", 60},
    {Kind::Msync, "msync", 15},
    {Kind::Truncate, "truncate", 12},
    {Kind::Ftruncate, "ftruncate", 40},
    {Kind::Fallocate, "fallocate", 70},
    {Kind::CopyRange, "copy_file_range", 25},
    {Kind::Rename, "rename", 25},
    {Kind::Link, "link", 12},
    {Kind::LinkSlot, "link-slot", 8},
    {Kind::Unlink, "unlink", 25},
    {Kind::Mkdir, "mkdir", 9},
    {Kind::Rmdir, "rmdir", 14},
    {Kind::Symlink, "symlink", 5},
    {Kind::Readlink, "readlink", 4},
    {Kind::Mkfifo, "mkfifo", 2},
    {Kind::Chmod, "chmod", 8},
    {Kind::Fchmod, "fchmod", 5},
    {Kind::Chown, "chown", 8},
    {Kind::Utimens, "utimens", 12},
    {Kind::Futimens, "futimens", 15},
    {Kind::SetXattr, "setxattr", 12},
    {Kind::GetXattr, "getxattr", 10},
    {Kind::ListXattr, "listxattr", 6},
    {Kind::RemoveXattr, "removexattr", 8},
    {Kind::Fsync, "fsync", 10},
    {Kind::Fdatasync, "fdatasync", 8},
    {Kind::DropCache, "drop-cache", 12},
    {Kind::List, "list", 10},
};
static_assert(sizeof(kWeights) / sizeof(kWeights[0]) == size_t(Kind::Count));

int WeightTotal() {
  int total = 0;
  for (const Weight& weight : kWeights) total += weight.weight;
  return total;
}

Kind PickKind(Rng& rng) {
  static const int total = WeightTotal();
  int left = int(rng.Below(total));
  for (const Weight& weight : kWeights) {
    left -= weight.weight;
    if (left < 0) return weight.kind;
  }
  return Kind::Close;
}

int PickPath(Rng& rng) { return int(rng.OneIn(6) ? rng.Below(Paths().size()) : rng.Below(28)); }

// Mostly a path that was of this kind when last seen (0: nothing there), so that calls succeed
// often.
int PickPathOf(Rng& rng, const World& world, mode_t kind) {
  int path = PickPath(rng);
  for (int tries = 0; tries < 6 && world.kinds[size_t(path)] != kind; tries++) path = PickPath(rng);
  return path;
}

// Mostly a regular file that is open; sometimes any slot, so that the others are met too.
int PickSlot(Rng& rng, const World& world) {
  const int start = int(rng.Below(kSlotCountMax));
  if (rng.OneIn(16)) return start;
  for (int step = 0; step < kSlotCountMax; step++) {
    const int slot = (start + step) % kSlotCountMax;
    if (world.slots[size_t(slot)].regular) return slot;
  }
  return start;
}

int PickFreeSlot(Rng& rng, const World& world) {
  const int start = int(rng.Below(kSlotCountMax));
  for (int step = 0; step < kSlotCountMax; step++) {
    const int slot = (start + step) % kSlotCountMax;
    if (!world.slots[size_t(slot)].open) return slot;
  }
  return start;
}

int PickMap(Rng& rng, const World& world, bool live) {
  for (int tries = 0; tries < 6; tries++) {
    int map = int(rng.Below(kMapCountMax));
    if (world.maps[map].live == live) return map;
  }
  return int(rng.Below(kMapCountMax));
}

int64_t PickLength(Rng& rng) {
  switch (rng.Below(8)) {
    case 0:
      return int64_t(rng.Below(kTransferBytesMax));
    case 1:
      return kPageBytes * int64_t(1 + rng.Below(8));
    case 2:
      return int64_t(rng.Below(65));
    case 3:
      return kPageBytes * int64_t(1 + rng.Below(3)) + int64_t(rng.Below(3)) - 1;
    default:
      return int64_t(1 + rng.Below(6000));
  }
}

// Edges are where it breaks: page edges, the end of file, and now and then beyond 4 GiB and 1 TiB.
int64_t PickOffset(Rng& rng, int64_t size_bytes) {
  switch (rng.Below(16)) {
    case 0:
    case 1:
      return size_bytes;
    case 2:
      return size_bytes > 4096 ? size_bytes - int64_t(rng.Below(4096)) : 0;
    case 3:
      return size_bytes < (1 << 20) ? size_bytes + int64_t(rng.Below(20000)) : 100;
    case 4:
    case 5:
    case 6:
    case 7:
      return kPageBytes * int64_t(rng.Below(48));
    case 8:
      return kPageBytes * int64_t(1 + rng.Below(47)) + int64_t(rng.Below(9)) - 4;
    case 9:
      return 0;
    case 10:
      if (rng.OneIn(12)) return (int64_t(1) << 32) - 4096 + int64_t(rng.Below(8192));
      if (rng.OneIn(12)) return (int64_t(1) << 40) + int64_t(rng.Below(8192));
      return int64_t(rng.Below(300));
    default:
      return int64_t(rng.Below(192 * 1024));
  }
}

int PickOpenFlags(Rng& rng) {
  // A fifo without a partner must not block the run: O_NONBLOCK always.
  int flags = O_NONBLOCK | O_CLOEXEC;
  static const int kAccess[] = {O_RDWR, O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY};
  flags |= kAccess[rng.Below(6)];
  if (rng.Below(3) != 0) flags |= O_CREAT;
  if (rng.OneIn(10)) flags |= O_EXCL;
  if (rng.OneIn(10)) flags |= O_TRUNC;
  if (rng.OneIn(16)) flags |= O_NOFOLLOW;
  if (rng.OneIn(24)) flags |= O_DIRECTORY;
  if (rng.OneIn(16))
    flags |= O_SYNC;
  else if (rng.OneIn(16))
    flags |= O_DSYNC;
  // Appending at an odd end of file is EINVAL for direct I/O on some filesystems: never both.
  if (rng.OneIn(8))
    flags |= O_DIRECT;
  else if (rng.OneIn(8))
    flags |= O_APPEND;
  // O_EXCL without O_CREAT is undefined but on block devices.
  if (!(flags & O_CREAT)) flags &= ~O_EXCL;
  return flags;
}

timespec PickTime(Rng& rng) {
  switch (rng.Below(6)) {
    case 0:
      return {0, UTIME_NOW};
    case 1:
      return {0, UTIME_OMIT};
    case 2:
      return {-int64_t(rng.Below(100000000)), int64_t(rng.Below(1000000000))};
    default:
      return {int64_t(rng.Below(kExplicitSecondsMax)), int64_t(rng.Below(1000000000))};
  }
}

int PickFallocateMode(Rng& rng) {
  static const int kModes[] = {
      0,
      FALLOC_FL_KEEP_SIZE,
      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
      FALLOC_FL_ZERO_RANGE,
      FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
  };
  if (rng.OneIn(60)) return FALLOC_FL_PUNCH_HOLE;  // refused everywhere
  return kModes[rng.Below(6)];
}

// Direct transfers are aligned in offset, length and memory; the file position is not used for
// them.
void AlignDirect(Op& op) {
  op.offset &= ~(kPageBytes - 1);
  op.length = (op.length + kPageBytes - 1) & ~(kPageBytes - 1);
  if (op.length > kTransferBytesMax) op.length = kTransferBytesMax;
}

void PlanTransfer(Op& op, Rng& rng, const World& world) {
  op.slot = PickSlot(rng, world);
  const SlotState& slot = world.slots[op.slot];
  op.offset = PickOffset(rng, slot.size);
  op.length = PickLength(rng);
  op.data = rng.OneIn(12) ? 0 : rng.Next() | 1;
  if (!(slot.flags & O_DIRECT)) {
    op.durable = rng.OneIn(12);
    return;
  }
  AlignDirect(op);
  if (op.kind == Kind::Read || op.kind == Kind::Readv) op.kind = Kind::Pread;
  if (op.kind == Kind::Write || op.kind == Kind::Writev) op.kind = Kind::Pwrite;
}

void PlanMapped(Op& op, Rng& rng, const World& world) {
  op.map = PickMap(rng, world, op.kind != Kind::Map);
  if (op.kind == Kind::Map) {
    op.slot = PickSlot(rng, world);
    op.offset = kPageBytes * int64_t(rng.Below(32));
    op.length =
        rng.OneIn(2) ? kPageBytes * int64_t(1 + rng.Below(32)) : int64_t(1 + rng.Below(70000));
    op.flags = rng.OneIn(4) ? PROT_READ : PROT_READ | PROT_WRITE;
    return;
  }
  const MapState& map = world.maps[op.map];
  int64_t span_bytes = map.live ? map.length : 1;
  op.length = op.kind == Kind::Load ? PickLength(rng) : int64_t(1 + rng.Below(9000));
  op.offset = int64_t(rng.Below(uint64_t(span_bytes)));
  if (rng.OneIn(3)) op.offset &= ~(kPageBytes - 1);
  if (op.offset + op.length > span_bytes) op.length = span_bytes - op.offset;
  op.data = rng.OneIn(12) ? 0 : rng.Next() | 1;
  op.flags = rng.OneIn(5) ? MS_ASYNC : MS_SYNC;
}

void PlanNames(Op& op, Rng& rng, const World& world) {
  const bool directory =
      op.kind == Kind::Rmdir || op.kind == Kind::List || (op.kind == Kind::Rename && rng.OneIn(4));
  const bool makes = op.kind == Kind::Mkdir || op.kind == Kind::Symlink || op.kind == Kind::Mkfifo;
  const mode_t kind = makes                       ? 0
                      : directory                 ? S_IFDIR
                      : op.kind == Kind::Readlink ? S_IFLNK
                                                  : S_IFREG;
  op.path = rng.OneIn(4) ? PickPath(rng) : PickPathOf(rng, world, kind);
  op.path2 = rng.OneIn(2) ? PickPath(rng) : PickPathOf(rng, world, 0);
  static const int kRenameFlags[] = {0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
  op.flags = op.kind == Kind::Rename ? kRenameFlags[rng.Below(6)] : 0;
  op.mode = mode_t(rng.Below(01000));
  // Targets of symbolic links stay inside: names without dots come first in the table.
  if (op.kind == Kind::Symlink) op.path2 = int(rng.Below(28));
}

void PlanAttributes(Op& op, Rng& rng, const World& world) {
  op.path = PickPathOf(rng, world, rng.OneIn(3) ? S_IFDIR : S_IFREG);
  op.slot = PickSlot(rng, world);
  op.mode = mode_t(rng.OneIn(4) ? rng.Below(010000) : rng.Below(01000));
  op.uid = rng.OneIn(4) ? uid_t(-1) : uid_t(rng.Below(70000));
  op.gid = rng.OneIn(4) ? gid_t(-1) : gid_t(rng.Below(70000));
  op.times[0] = PickTime(rng);
  op.times[1] = PickTime(rng);
  op.xattr = int(rng.Below(rng.OneIn(6) ? XattrNames().size() : 4));
  op.length = int64_t(rng.OneIn(5) ? 0 : rng.Below(300));
  op.data = rng.Next() | 1;
  static const int kXattrFlags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
  op.flags = kXattrFlags[rng.Below(4)];
}

}  // namespace

Rng::Rng(uint64_t seed, uint64_t number) : state_(seed * 0x9e3779b97f4a7c15u ^ (number << 20)) {
  Next();
}

uint64_t Rng::Next() {
  uint64_t value = (state_ += 0x9e3779b97f4a7c15u);
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

bool World::HasWritableMap(ino_t inode) const {
  for (const MapState& map : maps) {
    if (map.live && map.writable && map.inode == inode) return true;
  }
  return false;
}

Op Plan(uint64_t seed, uint64_t number, const World& world) {
  Rng rng(seed, number);
  Op op;
  op.number = number;
  op.kind = PickKind(rng);
  switch (op.kind) {
    case Kind::Open:
    case Kind::Tmpfile:
      op.slot = PickFreeSlot(rng, world);
      op.path = rng.OneIn(3) ? PickPath(rng)
                             : PickPathOf(rng, world, op.kind == Kind::Tmpfile ? S_IFDIR : S_IFREG);
      op.flags = PickOpenFlags(rng);
      op.mode = mode_t(rng.Below(01000));
      break;
    case Kind::Read:
    case Kind::Pread:
    case Kind::Readv:
    case Kind::Write:
    case Kind::Pwrite:
    case Kind::Writev:
      PlanTransfer(op, rng, world);
      break;
    case Kind::Map:
    case Kind::Unmap:
    case Kind::Load:
    case Kind::Store:
    case Kind::Msync:
      PlanMapped(op, rng, world);
      break;
    case Kind::Rename:
    case Kind::Link:
    case Kind::Unlink:
    case Kind::Mkdir:
    case Kind::Rmdir:
    case Kind::Symlink:
    case Kind::Readlink:
    case Kind::Mkfifo:
    case Kind::List:
      PlanNames(op, rng, world);
      break;
    case Kind::Truncate:
    case Kind::Ftruncate:
    case Kind::Fallocate:
    case Kind::Seek:
      op.path = PickPathOf(rng, world, S_IFREG);
      op.slot = PickSlot(rng, world);
      op.offset = PickOffset(rng, world.slots[op.slot].size);
      op.length = PickLength(rng);
      op.flags = op.kind == Kind::Seek ? int(rng.Below(5)) : PickFallocateMode(rng);
      // Directories have positions of the filesystem's own making.
      if (op.kind == Kind::Seek && !world.slots[op.slot].regular) op.kind = Kind::Fdatasync;
      if (op.kind == Kind::Seek && (op.flags == SEEK_CUR || op.flags == SEEK_END))
        op.offset = int64_t(rng.Below(200000)) - 100000;
      break;
    case Kind::CopyRange:
      op.slot = PickSlot(rng, world);
      op.slot2 = PickSlot(rng, world);
      op.offset = PickOffset(rng, world.slots[op.slot].size);
      op.offset2 = PickOffset(rng, world.slots[op.slot2].size);
      op.length = PickLength(rng);
      // Generic copies splice, and direct I/O would make an odd end of file EINVAL on some
      // filesystems.
      if ((world.slots[op.slot].flags | world.slots[op.slot2].flags) & O_DIRECT)
        op.kind = Kind::Fsync;
      break;
    case Kind::LinkSlot:
      op.slot = PickSlot(rng, world);
      op.path2 = PickPathOf(rng, world, 0);
      break;
    default:
      PlanAttributes(op, rng, world);
      break;
  }
  return op;
}

const char* KindName(Kind kind) { return kWeights[size_t(kind)].name; }

std::string Describe(const Op& op) {
  char text[1024];
  std::string line = "op " + std::to_string(op.number) + " " + KindName(op.kind);
  auto add = [&](const char* format, auto... values) {
    snprintf(text, sizeof text, format, values...);
    line += text;
  };
  auto quoted = [](int path) {
    std::string out = "\"";
    for (unsigned char byte : Paths()[size_t(path)]) {
      char hex[8];
      snprintf(hex, sizeof hex, byte < 32 || byte > 126 ? "\\x%02x" : "%c", byte);
      out += hex;
    }
    return out + "\"";
  };
  if (op.slot >= 0) add(" slot=%d", op.slot);
  if (op.slot2 >= 0) add(" slot2=%d", op.slot2);
  if (op.map >= 0) add(" map=%d", op.map);
  if (op.path >= 0) line += " path=" + quoted(op.path);
  if (op.path2 >= 0) line += " path2=" + quoted(op.path2);
  add(" flags=0x%x mode=0%o offset=%" PRId64 " length=%" PRId64, op.flags, op.mode, op.offset,
      op.length);
  if (op.kind == Kind::CopyRange) add(" offset2=%" PRId64, op.offset2);
  if (op.kind == Kind::SetXattr || op.kind == Kind::GetXattr || op.kind == Kind::RemoveXattr)
    add(" xattr=%s", XattrNames()[size_t(op.xattr)]);
  if (op.kind == Kind::Chown) add(" uid=%d gid=%d", int(op.uid), int(op.gid));
  if (op.kind == Kind::Utimens || op.kind == Kind::Futimens)
    add(" mtime=%" PRId64 ".%09ld", int64_t(op.times[1].tv_sec), op.times[1].tv_nsec);
  return line;
}

void Fill(uint8_t* bytes, int64_t length, uint64_t data) {
  if (data == 0) {
    memset(bytes, 0, size_t(length));
    return;
  }
  Rng rng(data, 0);
  for (int64_t index = 0; index < length; index += 8) {
    uint64_t word = rng.Next();
    memcpy(bytes + index, &word, size_t(length - index < 8 ? length - index : 8));
  }
}

}  // namespace fxdiff
