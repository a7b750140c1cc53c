#include "decode.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "check.h"
#include "frame.h"

namespace fauxdax {

namespace {

using frame::request::kFields;

// Reads a request's body from front to back; every miss makes the whole request EIO.
class BodyReader {
 public:
  BodyReader(const Request& request, const uint8_t* buffer)
      : at_(request.body), end_(request.body + request.body_bytes), buffer_(buffer) {}

  // The next structure, or zeros when the request is too short.
  template <typename T>
  T Take() {
    return TakePart<T>(sizeof(T));
  }

  // The first `length_bytes` of a structure that older protocols end there.
  template <typename T>
  T TakePart(size_t length_bytes) {
    T value{};
    if (Has(length_bytes)) {
      std::memcpy(&value, at_, length_bytes);
      at_ += length_bytes;
    }
    return value;
  }

  NameBytes TakeName(size_t length_bytes_max) {
    const auto* zero = static_cast<const uint8_t*>(std::memchr(at_, 0, end_ - at_));
    if (zero == nullptr) {
      error_ = EIO;
      return {};
    }
    const NameBytes name = {at_, static_cast<size_t>(zero - at_)};
    if (name.length_bytes > length_bytes_max && error_ == 0) error_ = ENAMETOOLONG;
    at_ = zero + 1;
    return name;
  }

  // Offset in the buffer of the next `length_bytes`, which are for JavaScript to read.
  double TakePayload(size_t length_bytes) {
    const double offset = static_cast<double>(at_ - buffer_);
    if (Has(length_bytes)) at_ += length_bytes;
    return offset;
  }

  int error() const { return error_; }

 private:
  bool Has(size_t length_bytes) {
    if (length_bytes <= static_cast<size_t>(end_ - at_)) return true;
    error_ = EIO;
    return false;
  }

  const uint8_t* at_;
  const uint8_t* const end_;
  const uint8_t* const buffer_;
  int error_ = 0;
};

// Fills consecutive slots of the frame.
class FieldWriter {
 public:
  explicit FieldWriter(double* frame) : frame_(frame) {}

  template <typename... Values>
  void Put(Values... values) {
    ((frame_[slot_++] = static_cast<double>(values)), ...);
  }

 private:
  double* const frame_;
  size_t slot_ = kFields;
};

void PutHeader(const fuse_in_header& header, double* frame) {
  frame[frame::request::kUnique] = static_cast<double>(header.unique);
  frame[frame::request::kNodeid] = static_cast<double>(header.nodeid);
  frame[frame::request::kUid] = header.uid;
  frame[frame::request::kGid] = header.gid;
  frame[frame::request::kPid] = header.pid;
}

// Seconds before 1970 travel as negative numbers in an unsigned field.
double Seconds(uint64_t seconds) { return static_cast<double>(static_cast<int64_t>(seconds)); }

bool EndsBeyondMax(uint64_t offset, uint64_t length_bytes) {
  return offset > kFileBytesMax || length_bytes > kFileBytesMax - offset;
}

// Offsets and lengths past the largest file: cut to it where Linux would, else EFBIG.
uint64_t Clamp(uint64_t length_bytes, uint64_t offset) {
  return offset >= kFileBytesMax ? 0 : std::min(length_bytes, kFileBytesMax - offset);
}

void DecodeSetattr(BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  const auto in = body->Take<fuse_setattr_in>();
  if ((in.valid & FATTR_SIZE) && in.size > kFileBytesMax) decoded->error = EFBIG;
  fields->Put(in.valid, in.fh, in.size, 0, Seconds(in.atime), Seconds(in.mtime), Seconds(in.ctime),
              in.atimensec, in.mtimensec, in.ctimensec, in.mode, in.uid, in.gid);
}

void DecodeRead(BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  const auto in = body->Take<fuse_read_in>();
  const uint32_t size = std::min(in.size, kTransferBytesMax);
  decoded->answer_bytes_max = size;
  fields->Put(in.fh, std::min(in.offset, kFileBytesMax), Clamp(size, in.offset), in.read_flags,
              in.flags);
}

void DecodeWrite(BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  const auto in = body->Take<fuse_write_in>();
  if (in.offset >= kFileBytesMax) decoded->error = EFBIG;
  decoded->answer_bytes_max = in.size;
  fields->Put(in.fh, in.offset, Clamp(in.size, in.offset), in.write_flags,
              body->TakePayload(in.size), in.flags);
}

void DecodeSetxattr(BodyReader* body, FieldWriter* fields, Decoded* decoded, bool extended) {
  const auto in = body->TakePart<fuse_setxattr_in>(extended ? sizeof(fuse_setxattr_in)
                                                            : FUSE_COMPAT_SETXATTR_IN_SIZE);
  decoded->name = body->TakeName(kNameBytesMax);
  fields->Put(in.size, in.flags, in.setxattr_flags, 0, body->TakePayload(in.size));
}

void DecodeFallocate(BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  const auto in = body->Take<fuse_fallocate_in>();
  if (EndsBeyondMax(in.offset, in.length)) decoded->error = EFBIG;
  fields->Put(in.fh, in.offset, in.length, in.mode);
}

void DecodeCopy(BodyReader* body, FieldWriter* fields, Decoded* decoded, uint32_t opcode) {
  const auto in = body->Take<fuse_copy_file_range_in>();
  if (in.off_out >= kFileBytesMax) decoded->error = EFBIG;
  uint64_t length = Clamp(Clamp(in.len, in.off_in), in.off_out);
  // The older call answers in 32 bits.
  if (opcode == FUSE_COPY_FILE_RANGE) length = std::min<uint64_t>(length, UINT32_MAX);
  fields->Put(in.fh_in, std::min(in.off_in, kFileBytesMax), in.nodeid_out, in.fh_out, in.off_out,
              length, in.flags);
}

void DecodeIoctl(BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  const auto in = body->Take<fuse_ioctl_in>();
  decoded->answer_bytes_max = std::min(in.out_size, kTransferBytesMax);
  fields->Put(in.fh, in.flags, in.cmd, in.arg, body->TakePayload(in.in_size), in.in_size,
              in.out_size);
}

void DecodeSized(uint32_t size, Decoded* decoded) {
  decoded->answer_bytes_max = std::min(size, kTransferBytesMax);
}

// Operations that make or find a name.
bool DecodeNamed(uint32_t opcode, BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_REMOVEXATTR:
      decoded->name = body->TakeName(kNameBytesMax);
      return true;
    case FUSE_SYMLINK:
      decoded->name = body->TakeName(kNameBytesMax);
      decoded->name2 = body->TakeName(kSymlinkBytesMax);
      return true;
    case FUSE_MKNOD: {
      const auto in = body->Take<fuse_mknod_in>();
      fields->Put(in.mode, in.rdev, in.umask);
      decoded->name = body->TakeName(kNameBytesMax);
      return true;
    }
    case FUSE_MKDIR: {
      const auto in = body->Take<fuse_mkdir_in>();
      fields->Put(in.mode, 0, in.umask);
      decoded->name = body->TakeName(kNameBytesMax);
      return true;
    }
    case FUSE_RENAME:
    case FUSE_RENAME2: {
      const auto in = opcode == FUSE_RENAME
                          ? body->TakePart<fuse_rename2_in>(sizeof(fuse_rename_in))
                          : body->Take<fuse_rename2_in>();
      fields->Put(in.newdir, in.flags);
      decoded->name = body->TakeName(kNameBytesMax);
      decoded->name2 = body->TakeName(kNameBytesMax);
      return true;
    }
    case FUSE_LINK:
      fields->Put(body->Take<fuse_link_in>().oldnodeid);
      decoded->name = body->TakeName(kNameBytesMax);
      return true;
    case FUSE_CREATE:
    case FUSE_TMPFILE: {
      const auto in = body->Take<fuse_create_in>();
      fields->Put(in.flags, in.mode, in.umask, in.open_flags);
      // The kernel sends a name for TMPFILE too, one that it made up.
      if (opcode == FUSE_CREATE) decoded->name = body->TakeName(kNameBytesMax);
      return true;
    }
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR: {
      const auto in = body->Take<fuse_getxattr_in>();
      fields->Put(in.size);
      DecodeSized(in.size, decoded);
      if (opcode == FUSE_GETXATTR) decoded->name = body->TakeName(kNameBytesMax);
      return true;
    }
    default:
      return false;
  }
}

// Operations on an inode alone.
void DecodeUnnamed(uint32_t opcode, BodyReader* body, FieldWriter* fields, Decoded* decoded) {
  switch (opcode) {
    case FUSE_GETATTR: {
      const auto in = body->Take<fuse_getattr_in>();
      fields->Put(in.getattr_flags, in.fh);
      return;
    }
    case FUSE_SETATTR:
      return DecodeSetattr(body, fields, decoded);
    case FUSE_OPEN: {
      const auto in = body->Take<fuse_open_in>();
      fields->Put(in.flags, in.open_flags);
      return;
    }
    case FUSE_READ:
      return DecodeRead(body, fields, decoded);
    case FUSE_WRITE:
      return DecodeWrite(body, fields, decoded);
    case FUSE_RELEASE: {
      const auto in = body->Take<fuse_release_in>();
      fields->Put(in.fh, in.flags);
      return;
    }
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR: {
      const auto in = body->Take<fuse_fsync_in>();
      fields->Put(in.fh, in.fsync_flags);
      return;
    }
    case FUSE_READDIR:
    case FUSE_READDIRPLUS: {
      const auto in = body->Take<fuse_read_in>();
      DecodeSized(in.size, decoded);
      fields->Put(in.fh, in.offset, decoded->answer_bytes_max);
      return;
    }
    case FUSE_ACCESS:
      return fields->Put(body->Take<fuse_access_in>().mask);
    case FUSE_FALLOCATE:
      return DecodeFallocate(body, fields, decoded);
    case FUSE_LSEEK: {
      const auto in = body->Take<fuse_lseek_in>();
      fields->Put(in.fh, std::min(in.offset, kFileBytesMax), in.whence);
      return;
    }
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
      return DecodeCopy(body, fields, decoded, opcode);
    case FUSE_IOCTL:
      return DecodeIoctl(body, fields, decoded);
    case FUSE_STATX: {
      const auto in = body->Take<fuse_statx_in>();
      fields->Put(in.getattr_flags, in.fh, in.sx_flags, in.sx_mask);
      return;
    }
    case FUSE_READLINK:
      decoded->answer_bytes_max = kPageBytes - 1;
      return;
    case FUSE_STATFS:
    case FUSE_SYNCFS:
    case FUSE_DESTROY:
      return;
    default:
      decoded->error = ENOSYS;
  }
}

}  // namespace

Decoded DecodeRequest(const Request& request, const uint8_t* buffer, bool setxattr_extended,
                      double* frame) {
  Decoded decoded;
  PutHeader(*request.header, frame);
  BodyReader body(request, buffer);
  FieldWriter fields(frame);
  const uint32_t opcode = request.header->opcode;
  if (opcode == FUSE_SETXATTR) {
    DecodeSetxattr(&body, &fields, &decoded, setxattr_extended);
  } else if (!DecodeNamed(opcode, &body, &fields, &decoded)) {
    DecodeUnnamed(opcode, &body, &fields, &decoded);
  }
  if (body.error() != 0) decoded.error = body.error();
  return decoded;
}

size_t DecodeForgets(const Request& request, size_t first, double* frame) {
  PutHeader(*request.header, frame);
  double* pairs = frame + frame::request::kForgetPairs;
  if (request.header->opcode == FUSE_FORGET) {
    CHECK(request.body_bytes >= sizeof(fuse_forget_in), "a FORGET is whole");
    frame[kFields] = 1;
    pairs[0] = static_cast<double>(request.header->nodeid);
    pairs[1] = static_cast<double>(reinterpret_cast<const fuse_forget_in*>(request.body)->nlookup);
    return 0;
  }
  CHECK(request.body_bytes >= sizeof(fuse_batch_forget_in), "a BATCH_FORGET is whole");
  const size_t count = reinterpret_cast<const fuse_batch_forget_in*>(request.body)->count;
  const auto* ones =
      reinterpret_cast<const fuse_forget_one*>(request.body + sizeof(fuse_batch_forget_in));
  CHECK(request.body_bytes >= sizeof(fuse_batch_forget_in) + count * sizeof(fuse_forget_one),
        "a BATCH_FORGET is whole");
  const size_t end = std::min(count, first + frame::request::kForgetPairsMax);
  frame[kFields] = static_cast<double>(end - first);
  for (size_t i = first; i < end; i++) {
    *pairs++ = static_cast<double>(ones[i].nodeid);
    *pairs++ = static_cast<double>(ones[i].nlookup);
  }
  return end < count ? end : 0;
}

}  // namespace fauxdax
