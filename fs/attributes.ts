/**
 * Attributes: what stat(2) sees and what chmod, chown, truncate, utimensat and writes do to them.
 */
import { Errno } from '../lib/errno.js';
import {
  type Inode,
  type InodeFields,
  isDirectory,
  isRegular,
  S_IFMT,
  S_ISGID,
  S_ISUID,
} from '../lib/metadata/inode.js';
import { FILE_BYTES_MAX, NAME_BYTES_MAX, PAGE_BYTES } from '../lib/units.js';
import { ACL_ACCESS, aclWithMode, decodeAcl, encodeAcl } from './acl.js';
import type { Filesystem } from './filesystem.js';
import { isAtimeDue } from './relatime.js';
import { FS_APPEND_FL, FS_NOATIME_FL } from './inode_flags.js';

type Fields = { -readonly [K in keyof InodeFields]?: InodeFields[K] };

/** Attributes to set; what is absent stays. */
export interface AttributeChange {
  mode?: number;
  uid?: number;
  gid?: number;
  sizeBytes?: number;
  atime?: { sec: number; nsec: number } | 'now';
  mtime?: { sec: number; nsec: number } | 'now';
  ctime?: { sec: number; nsec: number };
  /** Set-id bits go: a truncation by a caller without CAP_FSETID, or that alone is asked for. */
  killSetId?: boolean;
}

const STATFS_NAMES_MIN = 1_000_000;

/**
 * setattr: everything the VFS asks for in one step, ctime with it.
 * @throws {Errno} EPERM (immutable, append-only), EROFS, EFBIG, EISDIR, ENOSPC, EIO
 */
export function setattr(fs: Filesystem, ino: number, change: AttributeChange): Inode {
  const inode = fs.inode(ino);
  fs.assertMutable(inode);
  const now = fs.now();
  fs.noteChange(inode);
  const fields: Fields = { ctimeSec: now.sec, ctimeNsec: now.nsec };
  if (change.mode !== undefined) fields.mode = chmod(fs, inode, change.mode);
  if (change.uid !== undefined || change.gid !== undefined) {
    fields.uid = change.uid ?? inode.uid;
    fields.gid = change.gid ?? inode.gid;
    if (!isDirectory(inode)) {
      fields.mode = withoutSetId(fields.mode ?? inode.mode);
      fs.metadata.removeXattr(ino, 'security.capability');
    }
  }
  if (change.sizeBytes !== undefined) {
    truncate(fs, inode, change.sizeBytes);
    fields.mtimeSec = now.sec;
    fields.mtimeNsec = now.nsec;
    fs.metadata.removeXattr(ino, 'security.capability');
  }
  if (change.killSetId === true && !isDirectory(inode)) {
    fields.mode = withoutSetId(fields.mode ?? inode.mode);
    fs.metadata.removeXattr(ino, 'security.capability');
  }
  if (change.atime !== undefined) {
    const time = change.atime === 'now' ? now : change.atime;
    fields.atimeSec = time.sec;
    fields.atimeNsec = time.nsec;
  }
  if (change.mtime !== undefined) {
    const time = change.mtime === 'now' ? now : change.mtime;
    fields.mtimeSec = time.sec;
    fields.mtimeNsec = time.nsec;
  }
  if (change.ctime !== undefined) {
    fields.ctimeSec = change.ctime.sec;
    fields.ctimeNsec = change.ctime.nsec;
  }
  fs.metadata.updateInode(inode, fields);
  fs.sharing.refresh(inode);
  fs.endOperation();
  return inode;
}

/** The new mode; the access list, if there is one, follows it. */
function chmod(fs: Filesystem, inode: Inode, mode: number): number {
  const acl = fs.metadata.xattr(inode.ino, ACL_ACCESS);
  if (acl !== undefined) {
    const changed = aclWithMode(decodeAcl(acl), mode);
    fs.metadata.setXattr(inode.ino, ACL_ACCESS, encodeAcl(changed));
  }
  return (inode.mode & S_IFMT) | (mode & 0o7777);
}

/** The modification time moves even when the size stays, as POSIX has it. */
function truncate(fs: Filesystem, inode: Inode, sizeBytes: number): void {
  if (isDirectory(inode)) throw new Errno('EISDIR', `inode ${inode.ino}`);
  if (!isRegular(inode)) throw new Errno('EINVAL', `inode ${inode.ino} has no size`);
  if ((inode.flags & FS_APPEND_FL) !== 0) throw new Errno('EPERM', 'append-only');
  if (sizeBytes > FILE_BYTES_MAX) throw new Errno('EFBIG', `${sizeBytes} bytes`);
  fs.data.setSize(inode, sizeBytes);
}

/** set-user-id goes; set-group-id goes where it means "run as group" (group may execute). */
function withoutSetId(mode: number): number {
  const groupRuns = (mode & 0o010) !== 0;
  return mode & ~S_ISUID & ~(groupRuns ? S_ISGID : 0);
}

/**
 * What every change of a file's bytes by a call does besides: modification times, and with `killSetId`
 * (caller without CAP_FSETID) the set-id bits. Capabilities never survive it, whoever calls.
 */
export function touchModified(fs: Filesystem, inode: Inode, killSetId: boolean): void {
  touchStored(fs, inode);
  const mode = killSetId ? withoutSetId(inode.mode) : inode.mode;
  const hasFewer = mode !== inode.mode;
  if (hasFewer) fs.metadata.updateInode(inode, { mode });
  const wasCapable = fs.metadata.removeXattr(inode.ino, 'security.capability');
  if (hasFewer || wasCapable) fs.sharing.refresh(inode);
}

/** A store through a mapping moves the times and nothing else. */
export function touchStored(fs: Filesystem, inode: Inode): void {
  const { sec, nsec } = fs.now();
  fs.noteChange(inode);
  const fields = { mtimeSec: sec, mtimeNsec: nsec, ctimeSec: sec, ctimeNsec: nsec };
  fs.metadata.updateInode(inode, fields);
}

/** A read moves the access time as relatime does. */
export function touchRead(fs: Filesystem, inode: Inode): void {
  if (fs.options.readOnly || (inode.flags & FS_NOATIME_FL) !== 0) return;
  if (fs.options.mountFlags.includes('noatime')) return;
  const { sec, nsec } = fs.now();
  if (isAtimeDue(inode, sec)) fs.metadata.updateInode(inode, { atimeSec: sec, atimeNsec: nsec });
}

/** Pages and names, as statvfs(3) counts them. Busy pages are free: a commit releases them. */
export interface Statfs {
  pages: number;
  freePages: number;
  inodes: number;
  freeInodes: number;
  pageBytes: number;
  nameBytesMax: number;
}

export function statfs(fs: Filesystem): Statfs {
  const { allocator, region, metadata } = fs.image;
  const freePages = allocator.freePages + allocator.busyPages;
  const { inodes } = metadata.counts();
  const freeInodes = Math.max(STATFS_NAMES_MIN, freePages);
  return {
    pages: region.pageCount - 1,
    freePages,
    inodes: inodes + freeInodes,
    freeInodes,
    pageBytes: PAGE_BYTES,
    nameBytesMax: NAME_BYTES_MAX,
  };
}
