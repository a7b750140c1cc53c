#include "encode.h"

#include <sys/stat.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "check.h"
#include "frame.h"

namespace fauxdax {

namespace {

namespace reply = frame::reply;
namespace statfs_reply = frame::statfs_reply;

// The largest double that still is a 64-bit count.
constexpr double kCountMax = 9.2e18;

uint64_t Count(double value) {
  CHECK(value >= 0 && value < kCountMax, "a reply slot holds a count");
  return static_cast<uint64_t>(value);
}

// Any 32-bit value, as a count or as a negative number.
uint32_t Word(double value) {
  CHECK(std::abs(value) <= UINT32_MAX, "a reply slot fits 32 bits");
  return static_cast<uint32_t>(static_cast<int64_t>(value));
}

// Seconds before 1970 travel as negative numbers in an unsigned field.
uint64_t Seconds(double value) {
  CHECK(std::abs(value) < kCountMax, "a reply slot holds a time");
  return static_cast<uint64_t>(static_cast<int64_t>(value));
}

// Splits a time-out in seconds; "for ever" is merely large.
void SplitTimeout(double timeout_sec, uint64_t* sec, uint32_t* nsec) {
  CHECK(timeout_sec >= 0 && timeout_sec < kCountMax, "a time-out is not negative");
  *sec = static_cast<uint64_t>(timeout_sec);
  *nsec = static_cast<uint32_t>((timeout_sec - static_cast<double>(*sec)) * 1e9);
}

void FillAttr(const double* frame, fuse_attr* attr) {
  *attr = {};
  attr->ino = Count(frame[reply::kIno]);
  attr->size = Count(frame[reply::kSize]);
  attr->blocks = Count(frame[reply::kBlocks]);
  attr->atime = Seconds(frame[reply::kAtimeSec]);
  attr->mtime = Seconds(frame[reply::kMtimeSec]);
  attr->ctime = Seconds(frame[reply::kCtimeSec]);
  attr->atimensec = Word(frame[reply::kAtimeNsec]);
  attr->mtimensec = Word(frame[reply::kMtimeNsec]);
  attr->ctimensec = Word(frame[reply::kCtimeNsec]);
  attr->mode = Word(frame[reply::kMode]);
  attr->nlink = Word(frame[reply::kNlink]);
  attr->uid = Word(frame[reply::kUid]);
  attr->gid = Word(frame[reply::kGid]);
  attr->rdev = Word(frame[reply::kRdev]);
  attr->blksize = Word(frame[reply::kBlksize]);
}

void FillEntry(const double* frame, fuse_entry_out* entry) {
  *entry = {};
  entry->nodeid = Count(frame[reply::kNodeid]);
  entry->generation = Count(frame[reply::kGeneration]);
  SplitTimeout(frame[reply::kEntryTimeoutSec], &entry->entry_valid, &entry->entry_valid_nsec);
  SplitTimeout(frame[reply::kAttrTimeoutSec], &entry->attr_valid, &entry->attr_valid_nsec);
  FillAttr(frame, &entry->attr);
}

void FillOpen(const double* frame, fuse_open_out* open) {
  *open = {};
  open->fh = Count(frame[reply::kFh]);
  open->open_flags = Word(frame[reply::kOpenFlags]);
}

fuse_sx_time StatxTime(double sec, double nsec) {
  return {static_cast<int64_t>(Seconds(sec)), Word(nsec), 0};
}

void FillStatx(const double* frame, fuse_statx_out* out) {
  *out = {};
  SplitTimeout(frame[reply::kAttrTimeoutSec], &out->attr_valid, &out->attr_valid_nsec);
  fuse_statx& stat = out->stat;
  stat.mask = STATX_BASIC_STATS | STATX_BTIME;
  stat.blksize = Word(frame[reply::kBlksize]);
  stat.nlink = Word(frame[reply::kNlink]);
  stat.uid = Word(frame[reply::kUid]);
  stat.gid = Word(frame[reply::kGid]);
  stat.mode = static_cast<uint16_t>(Word(frame[reply::kMode]));
  stat.ino = Count(frame[reply::kIno]);
  stat.size = Count(frame[reply::kSize]);
  stat.blocks = Count(frame[reply::kBlocks]);
  stat.atime = StatxTime(frame[reply::kAtimeSec], frame[reply::kAtimeNsec]);
  stat.btime = StatxTime(frame[reply::kBtimeSec], frame[reply::kBtimeNsec]);
  stat.ctime = StatxTime(frame[reply::kCtimeSec], frame[reply::kCtimeNsec]);
  stat.mtime = StatxTime(frame[reply::kMtimeSec], frame[reply::kMtimeNsec]);
  // The kernel's 32-bit device numbers: 20 bits of minor around 12 of major.
  const uint32_t rdev = Word(frame[reply::kRdev]);
  stat.rdev_major = (rdev & 0xfff00) >> 8;
  stat.rdev_minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
}

void FillStatfs(const double* frame, fuse_statfs_out* out) {
  *out = {};
  out->st.blocks = Count(frame[statfs_reply::kBlocks]);
  out->st.bfree = Count(frame[statfs_reply::kBfree]);
  out->st.bavail = Count(frame[statfs_reply::kBavail]);
  out->st.files = Count(frame[statfs_reply::kFiles]);
  out->st.ffree = Count(frame[statfs_reply::kFfree]);
  out->st.bsize = Word(frame[statfs_reply::kBsize]);
  out->st.namelen = Word(frame[statfs_reply::kNamelen]);
  out->st.frsize = Word(frame[statfs_reply::kFrsize]);
}

// One answer on its way.
class Answerer {
 public:
  Answerer(Device* device, uint64_t unique) : device_(device), unique_(unique) {}

  void Empty() { device_->Answer(unique_, 0, nullptr, 0); }
  void Error(int error) { device_->AnswerError(unique_, error); }

  template <typename T>
  void Struct(const T& out) {
    device_->Answer(unique_, 0, &out, sizeof(out));
  }

  template <typename T>
  void Filled(void (*fill)(const double*, T*), const double* frame) {
    T out;
    fill(frame, &out);
    Struct(out);
  }

  // `length_bytes` of the script's bytes, which may be at most `max`.
  void Bytes(const ReplySource& source, uint64_t length_bytes, uint32_t max) {
    if (length_bytes > max) return Error(ERANGE);
    device_->Answer(unique_, 0, source.bytes, length_bytes);
  }

 private:
  Device* const device_;
  const uint64_t unique_;
};

void AnswerAttr(Answerer* answerer, const double* frame) {
  fuse_attr_out out = {};
  SplitTimeout(frame[reply::kAttrTimeoutSec], &out.attr_valid, &out.attr_valid_nsec);
  FillAttr(frame, &out.attr);
  answerer->Struct(out);
}

void AnswerCreated(Answerer* answerer, const double* frame) {
  struct {
    fuse_entry_out entry;
    fuse_open_out open;
  } out;
  FillEntry(frame, &out.entry);
  FillOpen(frame, &out.open);
  answerer->Struct(out);
}

void AnswerXattr(Answerer* answerer, const ReplySource& source, uint32_t answer_bytes_max) {
  const double value = source.frame[reply::kValue];
  if (source.frame[reply::kIsSize] != 0) {
    answerer->Struct(fuse_getxattr_out{Word(value), 0});
  } else {
    answerer->Bytes(source, Count(value), answer_bytes_max);
  }
}

void AnswerIoctl(Answerer* answerer, Device* device, uint64_t unique, const ReplySource& source,
                 uint32_t answer_bytes_max) {
  const uint64_t length = Count(source.frame[reply::kValue]);
  if (length > answer_bytes_max) return answerer->Error(ERANGE);
  fuse_ioctl_out out = {};
  out.result = static_cast<int32_t>(Word(source.frame[reply::kIoctlResult]));
  iovec pieces[3] = {{}, {&out, sizeof(out)}, {const_cast<uint8_t*>(source.bytes), length}};
  device->AnswerPieces(unique, pieces, length == 0 ? 2 : 3, sizeof(out) + length);
}

}  // namespace

void AnswerFromFrame(Device* device, uint64_t unique, uint32_t opcode, int status,
                     uint32_t answer_bytes_max, const ReplySource& source) {
  Answerer answerer(device, unique);
  if (status != 0) return answerer.Error(status);
  const double* frame = source.frame;
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_LINK:
      CHECK(opcode == FUSE_LOOKUP || frame[reply::kNodeid] != 0, "what was made has a node");
      return answerer.Filled(FillEntry, frame);
    case FUSE_CREATE:
    case FUSE_TMPFILE:
      CHECK(frame[reply::kNodeid] != 0, "what was made has a node");
      return AnswerCreated(&answerer, frame);
    case FUSE_GETATTR:
    case FUSE_SETATTR:
      return AnswerAttr(&answerer, frame);
    case FUSE_STATX:
      return answerer.Filled(FillStatx, frame);
    case FUSE_OPEN:
      return answerer.Filled(FillOpen, frame);
    case FUSE_STATFS:
      return answerer.Filled(FillStatfs, frame);
    case FUSE_READ:
    case FUSE_READLINK:
      return answerer.Bytes(source, Count(frame[reply::kValue]), answer_bytes_max);
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return answerer.Bytes(source, source.entry_bytes, answer_bytes_max);
    case FUSE_WRITE:
      CHECK(frame[reply::kValue] <= answer_bytes_max, "no more is written than was given");
      [[fallthrough]];
    case FUSE_COPY_FILE_RANGE:
      return answerer.Struct(fuse_write_out{Word(frame[reply::kValue]), 0});
    case FUSE_COPY_FILE_RANGE_64:
      return answerer.Struct(fuse_copy_file_range_out{Count(frame[reply::kValue])});
    case FUSE_LSEEK:
      return answerer.Struct(fuse_lseek_out{Count(frame[reply::kValue])});
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
      return AnswerXattr(&answerer, source, answer_bytes_max);
    case FUSE_IOCTL:
      return AnswerIoctl(&answerer, device, unique, source, answer_bytes_max);
    default:
      return answerer.Empty();
  }
}

size_t PackEntry(bool plus, std::string_view name, uint64_t cookie, const double* frame,
                 uint8_t* target, size_t room_bytes) {
  CHECK(!name.empty() && name.size() <= kNameBytesMax, "an entry has a name");
  const size_t name_at = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
  const size_t entry_bytes = FUSE_DIRENT_ALIGN(name_at + name.size());
  if (entry_bytes > room_bytes) return 0;

  std::memset(target, 0, entry_bytes);
  if (plus) {
    fuse_entry_out entry = {};
    // Node 0 takes no reference: "." and "..", and entries that only READDIR would give.
    if (frame[reply::kNodeid] != 0) FillEntry(frame, &entry);
    std::memcpy(target, &entry, sizeof(entry));
  }
  fuse_dirent dirent = {};
  dirent.ino = Count(frame[reply::kIno]);
  dirent.off = cookie;
  dirent.namelen = static_cast<uint32_t>(name.size());
  dirent.type = (Word(frame[reply::kMode]) & S_IFMT) >> 12;
  std::memcpy(target + name_at - FUSE_NAME_OFFSET, &dirent, FUSE_NAME_OFFSET);
  std::memcpy(target + name_at, name.data(), name.size());
  return entry_bytes;
}

}  // namespace fauxdax
