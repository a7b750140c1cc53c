// The plan: which operation comes next. Owns the operation record, the table of paths and the
// seeded generator. Offsets and lengths are bytes. Every operation is drawn from a generator seeded
// by (seed, operation number) and from the World, which only ever follows the peer's outcomes: the
// same seed over the same peer gives the same sequence, which is what makes SEED:OP a replay.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>

namespace fxdiff {

constexpr int kSlotCountMax = 16;
constexpr int kMapCountMax = 6;
constexpr int kPathCount = 48;
constexpr int64_t kPageBytes = 4096;
constexpr int64_t kTransferBytesMax = 128 * 1024;
// Times below this are ones that utimens set; above it they are "now", which two sides never share.
constexpr int64_t kExplicitSecondsMax = 1300000000;

enum class Kind : uint8_t {
  Open,
  Tmpfile,
  Close,
  Read,
  Pread,
  Readv,
  Write,
  Pwrite,
  Writev,
  Seek,
  Map,
  Unmap,
  Load,
  Store,
  Msync,
  Truncate,
  Ftruncate,
  Fallocate,
  CopyRange,
  Rename,
  Link,
  LinkSlot,
  Unlink,
  Mkdir,
  Rmdir,
  Symlink,
  Readlink,
  Mkfifo,
  Chmod,
  Fchmod,
  Chown,
  Utimens,
  Futimens,
  SetXattr,
  GetXattr,
  ListXattr,
  RemoveXattr,
  Fsync,
  Fdatasync,
  DropCache,
  List,
  Count,
};

struct Op {
  uint64_t number = 0;
  Kind kind = Kind::Close;
  int slot = -1;   // index of an open file
  int slot2 = -1;  // the target of CopyRange
  int map = -1;    // index of a mapping
  int path = -1;   // index into Paths()
  int path2 = -1;  // target of Rename, Link, LinkSlot; text of Symlink
  int flags = 0;   // open, fallocate, rename, xattr, msync flags, or whence
  mode_t mode = 0;
  int64_t offset = 0;
  int64_t offset2 = 0;
  int64_t length = 0;
  int xattr = 0;         // index into XattrNames()
  uint64_t data = 0;     // seed of the bytes written; 0 writes zero bytes
  bool durable = false;  // Pwrite with RWF_DSYNC
  uid_t uid = 0;
  gid_t gid = 0;
  timespec times[2] = {};
};

struct SlotState {
  bool open = false;
  bool regular = false;
  int flags = 0;
  int64_t size = 0;
  ino_t inode = 0;
};

struct MapState {
  bool live = false;
  bool writable = false;
  int64_t offset = 0;
  int64_t length = 0;
  ino_t inode = 0;
};

// What the planner knows: follows the peer, never the directory under test.
struct World {
  std::array<SlotState, kSlotCountMax> slots;
  std::array<MapState, kMapCountMax> maps;
  // S_IFMT bits of what each path was when last looked at; 0 when there was nothing.
  std::array<mode_t, kPathCount> kinds = {};
  // Inodes stored to through a mapping: when their mtime moves is the writeback's choice.
  std::set<ino_t> loose_times;
  bool HasWritableMap(ino_t inode) const;
};

// splitmix64: small, and good enough to choose operations and fill buffers.
class Rng {
 public:
  Rng(uint64_t seed, uint64_t number);
  uint64_t Next();
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  bool OneIn(uint64_t bound) { return Below(bound) == 0; }

 private:
  uint64_t state_;
};

const std::array<std::string, kPathCount>& Paths();
const std::array<const char*, 8>& XattrNames();

/** The operation with this number. */
Op Plan(uint64_t seed, uint64_t number, const World& world);

/** The operation's name as it is printed. */
const char* KindName(Kind kind);

/** One line that names the operation and everything that matters to it. */
std::string Describe(const Op& op);

/** Fills `bytes` from the operation's data seed. */
void Fill(uint8_t* bytes, int64_t length, uint64_t data);

}  // namespace fxdiff
