// The FUSE kernel protocol: the system's linux/fuse.h, and what the oldest header we build against
// (7.38, Debian 12) lacks of protocol 7.45. Everything is in the kernel's own names and byte
// layout. A newer header already has its part, hence the guards by minor version.
#ifndef FAUXDAX_FUSE_PROTOCOL_H_
#define FAUXDAX_FUSE_PROTOCOL_H_

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>

// 7.39: statx, mappings of direct-I/O files.
#if FUSE_KERNEL_MINOR_VERSION < 39
constexpr int FUSE_STATX = 52;

struct fuse_sx_time {
  int64_t tv_sec;
  uint32_t tv_nsec;
  int32_t __reserved;
};

struct fuse_statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t __spare0[1];
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  struct fuse_sx_time atime;
  struct fuse_sx_time btime;
  struct fuse_sx_time ctime;
  struct fuse_sx_time mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t __spare2[14];
};

struct fuse_statx_in {
  uint32_t getattr_flags;
  uint32_t reserved;
  uint64_t fh;
  uint32_t sx_flags;
  uint32_t sx_mask;
};

struct fuse_statx_out {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  struct fuse_statx stat;
};
#endif

// 7.45: copies longer than 4 GiB.
#if FUSE_KERNEL_MINOR_VERSION < 45
constexpr int FUSE_COPY_FILE_RANGE_64 = 53;

struct fuse_copy_file_range_out {
  uint64_t bytes_copied;
};
#endif

// INIT flags; bits from 32 on travel in flags2.
#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif
#ifndef FUSE_PASSTHROUGH
#define FUSE_PASSTHROUGH (1ULL << 37)
#endif
#ifndef FUSE_NO_EXPORT_SUPPORT
#define FUSE_NO_EXPORT_SUPPORT (1ULL << 38)
#endif
#ifndef FUSE_HAS_RESEND
#define FUSE_HAS_RESEND (1ULL << 39)
#endif
#ifndef FUSE_ALLOW_IDMAP
#define FUSE_ALLOW_IDMAP (1ULL << 40)
#endif
#ifndef FUSE_OVER_IO_URING
#define FUSE_OVER_IO_URING (1ULL << 41)
#endif
#ifndef FUSE_REQUEST_TIMEOUT
#define FUSE_REQUEST_TIMEOUT (1ULL << 42)
#endif

// OPEN reply flags.
#ifndef FOPEN_PASSTHROUGH
#define FOPEN_PASSTHROUGH (1 << 7)
#endif

static_assert(FUSE_KERNEL_VERSION == 7, "only major version 7 is spoken");
static_assert(sizeof(fuse_in_header) == 40);
static_assert(sizeof(fuse_out_header) == 16);
static_assert(sizeof(fuse_write_in) == 40);
static_assert(sizeof(fuse_attr) == 88);
static_assert(sizeof(fuse_entry_out) == 128);
static_assert(sizeof(fuse_init_out) == 64);
static_assert(sizeof(fuse_statx) == 256);
static_assert(sizeof(fuse_statx_out) == 288);

#endif  // FAUXDAX_FUSE_PROTOCOL_H_
