/**
 * The call frame between the native session and fs/dispatch.ts: one request is one synchronous
 * call `handler(opcode, name, name2)`, its numbers in `request`, the answer's numbers in `reply`
 * (both Float64Array, exact to 2^53). Mirrored in native/frame.h; the session asserts both agree
 * on FRAME_VERSION. Bytes in: `requestBytes` from slot PAYLOAD. Bytes out: `replyBytes` from 0.
 */

export const FRAME_VERSION = 5;
export const FRAME_SLOTS = 1024;

/** Handler results besides 0 (answer from `reply`) and a positive errno. */
export const DEFERRED = -1; // JavaScript answers later with session.answer(unique, opcode, status)
export const NO_REPLY = -2; // FORGET

/** Bits of a handle (`fh`), which fs/handles.ts makes: how the file was opened. */
export const HANDLE_DIRECT = 1; // O_DIRECT: no page cache, and no FSYNC after O_DSYNC writes
export const HANDLE_DSYNC = 2;
export const HANDLE_SYNC = 4;

/** Slots of every request. */
export const Q = {
  unique: 0,
  nodeid: 1,
  uid: 2,
  gid: 3,
  pid: 4,
  /** 1 when native service has left times that session.takeTouched() gives. */
  touched: FRAME_SLOTS - 1,
} as const;

/** Slots by operation; the names are those of linux/fuse.h. */
export const REQUEST = {
  forget: { count: 5, pairs: 8 }, // [nodeid, nlookup] pairs; FORGET and BATCH_FORGET alike
  getattr: { flags: 5, fh: 6 },
  setattr: {
    valid: 5,
    fh: 6,
    size: 7,
    atime: 9,
    mtime: 10,
    ctime: 11,
    atimensec: 12,
    mtimensec: 13,
    ctimensec: 14,
    mode: 15,
    uid: 16,
    gid: 17,
  },
  mknod: { mode: 5, rdev: 6, umask: 7 },
  mkdir: { mode: 5, umask: 7 },
  rename: { newdir: 5, flags: 6 }, // RENAME (flags 0) and RENAME2
  link: { oldnodeid: 5 },
  open: { flags: 5, openFlags: 6 },
  create: { flags: 5, mode: 6, umask: 7, openFlags: 8 }, // CREATE and TMPFILE
  read: { fh: 5, offset: 6, size: 7, readFlags: 8, flags: 9 },
  write: { fh: 5, offset: 6, size: 7, writeFlags: 8, payload: 9, flags: 10 },
  release: { fh: 5, flags: 6 },
  fsync: { fh: 5, fsyncFlags: 6 }, // FSYNC and FSYNCDIR
  setxattr: { size: 5, flags: 6, setxattrFlags: 7, payload: 9 },
  getxattr: { size: 5 }, // GETXATTR and LISTXATTR
  readdir: { fh: 5, offset: 6, size: 7 }, // READDIR and READDIRPLUS
  access: { mask: 5 },
  fallocate: { fh: 5, offset: 6, length: 7, mode: 8 },
  lseek: { fh: 5, offset: 6, whence: 7 },
  copyFileRange: { fhIn: 5, offIn: 6, nodeidOut: 7, fhOut: 8, offOut: 9, len: 10, flags: 11 },
  ioctl: { fh: 5, flags: 6, cmd: 7, arg: 8, payload: 9, inSize: 10, outSize: 11 },
  statx: { getattrFlags: 5, fh: 6, sxFlags: 7, sxMask: 8 },
} as const;

/** Slots of a reply. Entry replies use all up to btimeNsec, attribute replies from attrTimeoutSec. */
export const REPLY = {
  nodeid: 0, // 0 answers LOOKUP with a cached "no such name"
  generation: 1,
  entryTimeoutSec: 2,
  attrTimeoutSec: 3,
  ino: 4,
  size: 5,
  blocks: 6,
  mode: 7,
  nlink: 8,
  uid: 9,
  gid: 10,
  rdev: 11,
  blksize: 12,
  atimeSec: 13,
  atimeNsec: 14,
  mtimeSec: 15,
  mtimeNsec: 16,
  ctimeSec: 17,
  ctimeNsec: 18,
  btimeSec: 19,
  btimeNsec: 20,
  fh: 21,
  openFlags: 22,
  /** Bytes in replyBytes, or the number answered (WRITE, COPY_FILE_RANGE, LSEEK, xattr size). */
  value: 23,
  /** GETXATTR and LISTXATTR: 1 when `value` is the size asked for with size 0. */
  isSize: 24,
  ioctlResult: 25,
} as const;

/**
 * A slot of the reply that no answer uses: 1 while all that an fsync could have to do is a fence and
 * a commit of times. Then the session answers it, for files whose service allows that.
 */
export const IS_COMMITTED = FRAME_SLOTS - 1;

export const STATFS_REPLY = {
  blocks: 0,
  bfree: 1,
  bavail: 2,
  files: 3,
  ffree: 4,
  bsize: 5,
  namelen: 6,
  frsize: 7,
} as const;

/** Opcodes of linux/fuse.h that reach JavaScript. */
export const OP = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  DESTROY: 38,
  IOCTL: 39,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;
