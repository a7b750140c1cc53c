#include "negotiate.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fauxdax {

namespace {

// Whose structures encode.cc and decode.cc know.
constexpr uint32_t kMinorMax = 45;
// Linux 5.4: max_pages, explicit invalidation, uncached symlinks as an option.
constexpr uint32_t kMinorMin = 31;

// The macros are ints, and bit 31 would sign-extend over the upper half: hence 64 bits at once.
//
// Deliberately not wanted: WRITEBACK_CACHE (a write() would not be seen before its writeback),
// AUTO_INVAL_DATA (each read would ask for the attributes first), POSIX_LOCKS and FLOCK_LOCKS (the
// kernel's own locks are complete on one machine), EXPORT_SUPPORT (LOOKUP of "." is not served).
constexpr uint64_t kWanted =
    uint64_t{FUSE_ASYNC_READ} | uint64_t{FUSE_ATOMIC_O_TRUNC} | uint64_t{FUSE_BIG_WRITES} |
    uint64_t{FUSE_DONT_MASK} | uint64_t{FUSE_DO_READDIRPLUS} | uint64_t{FUSE_READDIRPLUS_AUTO} |
    uint64_t{FUSE_ASYNC_DIO} | uint64_t{FUSE_PARALLEL_DIROPS} | uint64_t{FUSE_POSIX_ACL} |
    uint64_t{FUSE_MAX_PAGES} | uint64_t{FUSE_CACHE_SYMLINKS} | uint64_t{FUSE_NO_OPENDIR_SUPPORT} |
    uint64_t{FUSE_EXPLICIT_INVAL_DATA} | uint64_t{FUSE_HANDLE_KILLPRIV_V2} |
    uint64_t{FUSE_SETXATTR_EXT} | uint64_t{FUSE_INIT_EXT};

// Requests the kernel may send ahead of anyone waiting: readahead and direct I/O in pieces.
constexpr uint16_t kBackgroundMax = 64;

}  // namespace

Negotiated Negotiate(const Request& request, bool direct_mappings) {
  Negotiated result;
  fuse_init_in in = {};
  std::memcpy(&in, request.body, std::min(request.body_bytes, sizeof(in)));

  result.out.major = FUSE_KERNEL_VERSION;
  result.out.minor = std::min(in.minor, kMinorMax);
  if (in.major > FUSE_KERNEL_VERSION) {
    result.out.minor = kMinorMax;
    result.again = true;
    return result;
  }
  if (in.major < FUSE_KERNEL_VERSION || in.minor < kMinorMin) {
    result.error = EPROTO;
    result.reason = "the kernel speaks FUSE " + std::to_string(in.major) + "." +
                    std::to_string(in.minor) + "; 7." + std::to_string(kMinorMin) +
                    " (Linux 5.4) or newer is needed";
    return result;
  }

  uint64_t offered = in.flags;
  if (in.flags & FUSE_INIT_EXT) offered |= uint64_t{in.flags2} << 32;
  uint64_t wanted = kWanted;
  if (direct_mappings) wanted |= FUSE_DIRECT_IO_ALLOW_MMAP;
  const uint64_t flags = wanted & offered;
  if (!(flags & FUSE_MAX_PAGES) || !(flags & FUSE_NO_OPENDIR_SUPPORT)) {
    result.error = EPROTO;
    result.reason = "the kernel's FUSE lacks MAX_PAGES or NO_OPENDIR_SUPPORT";
    return result;
  }
  result.setxattr_extended = flags & FUSE_SETXATTR_EXT;
  result.out.max_readahead = in.max_readahead;
  result.out.flags = static_cast<uint32_t>(flags);
  result.out.flags2 = static_cast<uint32_t>(flags >> 32);
  result.out.max_background = kBackgroundMax;
  result.out.congestion_threshold = kBackgroundMax * 3 / 4;
  result.out.max_write = kTransferBytesMax;
  result.out.max_pages = kTransferPagesMax;
  result.out.time_gran = 1;
  return result;
}

}  // namespace fauxdax
