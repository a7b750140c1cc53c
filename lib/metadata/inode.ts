/**
 * An inode as the rest of the program sees it: a plain live object owned by the metadata's cache.
 * Read it freely, change it only through Metadata.updateInode(), which knows the running
 * transaction. Times are seconds and nanoseconds, never one number: 2^53 ns ends in 1970.
 */

export interface InodeFields {
  mode: number; // type and permission bits, as st_mode
  uid: number;
  gid: number;
  nlink: number;
  rdev: number; // Linux 32-bit encoding, 0 but for devices
  sizeBytes: number;
  flags: number; // FS_*_FL of linux/fs.h, as chattr sets them
  projectId: number;
  atimeSec: number;
  atimeNsec: number;
  mtimeSec: number;
  mtimeNsec: number;
  ctimeSec: number;
  ctimeNsec: number;
  btimeSec: number;
  btimeNsec: number;
  /** Directories: the directory that names this one (its own ino for the root). Others: 0. */
  parentIno: number;
  /** Symbolic links: the target. Others: null. */
  target: string | null;
}

export interface Inode extends Readonly<InodeFields> {
  readonly ino: number;
}

export const ROOT_INO = 1;

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFIFO = 0o010000;
export const S_IFSOCK = 0o140000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;

export const isDirectory = (inode: Inode): boolean => (inode.mode & S_IFMT) === S_IFDIR;
export const isRegular = (inode: Inode): boolean => (inode.mode & S_IFMT) === S_IFREG;
export const isSymlink = (inode: Inode): boolean => (inode.mode & S_IFMT) === S_IFLNK;
