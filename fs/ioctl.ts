/**
 * ioctl(2) on files and directories: inode flags (chattr, lsattr), extended flags with the DAX bit
 * and project id (xfs_io), generation, and the map of a file in the manner of FIEMAP, which the
 * kernel does not pass on to FUSE. Layouts: linux/fs.h; ours: SPEC.md, Ioctl.
 */
import { Errno } from '../lib/errno.js';
import { type Inode, isDirectory, isRegular } from '../lib/metadata/inode.js';
import { FILE_BYTES_MAX, pagesFor } from '../lib/units.js';
import type { Filesystem } from './filesystem.js';
import {
  FS_SYNC_FL,
  FS_IMMUTABLE_FL,
  FS_APPEND_FL,
  FS_NODUMP_FL,
  FS_NOATIME_FL,
  FS_DAX_FL,
  FS_PROJINHERIT_FL,
} from './inode_flags.js';

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC32_GETFLAGS = 0x80046601;
const FS_IOC32_SETFLAGS = 0x40046602;
const FS_IOC_GETVERSION = 0x80087601;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
/** _IOWR('D', 0x01, struct fauxdax_map): 4096 bytes. */
const FAUXDAX_IOC_MAP = 0xd0004401;

const FSXATTR_BYTES = 28;
const MAP_BYTES = 4096;
const MAP_HEADER_BYTES = 32;
const MAP_EXTENT_BYTES = 32;

/** struct fsxattr bits beside the inode flags they mirror. */
const XFLAGS: readonly [number, number][] = [
  [0x08, FS_IMMUTABLE_FL],
  [0x10, FS_APPEND_FL],
  [0x20, FS_SYNC_FL],
  [0x40, FS_NOATIME_FL],
  [0x80, FS_NODUMP_FL],
  [0x200, FS_PROJINHERIT_FL],
  [0x8000, FS_DAX_FL],
];
const FLAGS_SETTABLE = XFLAGS.reduce((all, [, flag]) => all | flag, 0);
const DIRECTORY_ONLY = FS_PROJINHERIT_FL;

/**
 * @param input the caller's bytes, as long as the command encodes
 * @returns the answer's bytes
 * @throws {Errno} ENOTTY for other commands, EOPNOTSUPP for flags we do not have, EPERM, EROFS
 */
export function ioctl(fs: Filesystem, ino: number, cmd: number, input: Uint8Array): Uint8Array {
  const inode = fs.inode(ino);
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  switch (cmd) {
    case FS_IOC_GETFLAGS:
    case FS_IOC32_GETFLAGS:
      return numberBytes(inode.flags, 4);
    case FS_IOC_SETFLAGS:
    case FS_IOC32_SETFLAGS:
      if (input.length < 4) throw new Errno('EINVAL', 'flags argument');
      setFlags(fs, inode, view.getUint32(0, true));
      return new Uint8Array(0);
    case FS_IOC_GETVERSION:
      return numberBytes(1, 8);
    case FS_IOC_FSGETXATTR:
      return fsxattr(fs, inode);
    case FS_IOC_FSSETXATTR:
      if (input.length < FSXATTR_BYTES) throw new Errno('EINVAL', 'fsxattr argument');
      setFsxattr(fs, inode, view);
      return new Uint8Array(0);
    case FAUXDAX_IOC_MAP:
      if (input.length < MAP_HEADER_BYTES) throw new Errno('EINVAL', 'map argument');
      return mapBytes(fs, inode, Number(view.getBigUint64(0, true)));
    default:
      throw new Errno('ENOTTY', `ioctl ${cmd.toString(16)}`);
  }
}

function numberBytes(value: number, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function setFlags(fs: Filesystem, inode: Inode, flags: number, projectId?: number): void {
  fs.assertWritable();
  if ((flags & ~FLAGS_SETTABLE) !== 0) throw new Errno('EOPNOTSUPP', `flags ${flags.toString(16)}`);
  if (!isDirectory(inode) && (flags & DIRECTORY_ONLY) !== 0) throw new Errno('EINVAL', 'flags');
  const { sec, nsec } = fs.now();
  fs.metadata.updateInode(inode, {
    flags,
    ctimeSec: sec,
    ctimeNsec: nsec,
    ...(projectId === undefined ? {} : { projectId }),
  });
  // Immutable files must not be written natively; the next access shares the file anew.
  fs.sharing.drop(inode.ino);
  if (fs.dax?.isMapped(inode.ino) === true) fs.sharing.share(inode);
  fs.endOperation();
}

function fsxattr(fs: Filesystem, inode: Inode): Uint8Array {
  const bytes = new Uint8Array(FSXATTR_BYTES);
  const view = new DataView(bytes.buffer);
  let xflags = 0;
  for (const [xflag, flag] of XFLAGS) if ((inode.flags & flag) !== 0) xflags |= xflag;
  view.setUint32(0, xflags, true);
  const extents = isRegular(inode) ? fs.metadata.extents(inode).length : 0;
  view.setUint32(8, extents, true);
  view.setUint32(12, inode.projectId, true);
  return bytes;
}

function setFsxattr(fs: Filesystem, inode: Inode, view: DataView): void {
  const xflags = view.getUint32(0, true);
  let flags = 0;
  let known = 0;
  for (const [xflag, flag] of XFLAGS) {
    known |= xflag;
    if ((xflags & xflag) !== 0) flags |= flag;
  }
  if ((xflags & ~known) !== 0) throw new Errno('EOPNOTSUPP', `xflags ${xflags.toString(16)}`);
  setFlags(fs, inode, flags, view.getUint32(12, true));
}

/** Extents from file page `startPage` on, as many as fit (SPEC.md, Ioctl). */
function mapBytes(fs: Filesystem, inode: Inode, startPage: number): Uint8Array {
  if (!isRegular(inode)) throw new Errno('ENOTTY', 'map of a non-file');
  const bytes = new Uint8Array(MAP_BYTES);
  const view = new DataView(bytes.buffer);
  const all = fs.metadata.extents(inode).slice(startPage, pagesFor(FILE_BYTES_MAX));
  const fits = Math.floor((MAP_BYTES - MAP_HEADER_BYTES) / MAP_EXTENT_BYTES);
  const extents = all.slice(0, fits);
  view.setBigUint64(0, BigInt(startPage), true);
  view.setUint32(8, extents.length, true);
  view.setUint32(12, extents.length < all.length ? 1 : 0, true);
  view.setBigUint64(16, BigInt(inode.sizeBytes), true);
  extents.forEach((extent, index) => {
    const at = MAP_HEADER_BYTES + index * MAP_EXTENT_BYTES;
    view.setBigUint64(at, BigInt(extent.filePage), true);
    view.setBigUint64(at + 8, BigInt(extent.regionPage), true);
    view.setBigUint64(at + 16, BigInt(extent.pageCount), true);
    view.setBigUint64(at + 24, BigInt(extent.state), true);
  });
  return bytes;
}
