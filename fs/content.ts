/**
 * Operations on a file's bytes: open to release. Reads and writes come here when the session could
 * not serve them from an unchanged map (hole to fill, file grows, set-id bits to drop, a fault rule)
 * or when the transport has no session. After the first one the file is shared.
 */
import { Errno } from '../lib/errno.js';
import { type Inode, isDirectory, isRegular } from '../lib/metadata/inode.js';
import { isWritten } from '../lib/space/pieces.js';
import type { ForceKind } from '../lib/trace/event.js';
import { pageOf, pagesFor } from '../lib/units.js';
import { touchModified, touchRead } from './attributes.js';
import type { Filesystem } from './filesystem.js';
import { FS_IMMUTABLE_FL, FS_APPEND_FL } from './inode_flags.js';

const O_ACCMODE = 3;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_NOATIME = 0o1000000;

const FALLOC_KEEP_SIZE = 0x01;
export const FALLOC_PUNCH_HOLE = 0x02;
export const FALLOC_COLLAPSE_RANGE = 0x08;
export const FALLOC_ZERO_RANGE = 0x10;
export const FALLOC_INSERT_RANGE = 0x20;

export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/**
 * open(2) of an existing file; counts one open description until release.
 * @param killSetId O_TRUNC by a caller without CAP_FSETID
 * @throws {Errno} EPERM (immutable, append-only), EROFS, EISDIR, ENOSPC
 */
export function open(fs: Filesystem, ino: number, flags: number, killSetId: boolean): Inode {
  const inode = fs.inode(ino);
  const writes = (flags & O_ACCMODE) !== 0;
  if (writes || (flags & O_TRUNC) !== 0) {
    if (isDirectory(inode)) throw new Errno('EISDIR', `inode ${ino}`);
    fs.assertWritable();
    if ((inode.flags & FS_IMMUTABLE_FL) !== 0) throw new Errno('EPERM', 'immutable');
    const appends = (flags & O_APPEND) !== 0 && (flags & O_TRUNC) === 0;
    if ((inode.flags & FS_APPEND_FL) !== 0 && !appends) throw new Errno('EPERM', 'append-only');
  }
  if ((flags & O_TRUNC) !== 0 && isRegular(inode)) {
    fs.data.setSize(inode, 0);
    touchModified(fs, inode, killSetId);
    fs.endOperation();
  }
  fs.opened(ino);
  return inode;
}

/** The last close of an open description; the last one of a file without names frees its pages. */
export function release(fs: Filesystem, ino: number): void {
  if (!fs.closed(ino)) return;
  const inode = fs.metadata.inode(ino);
  if (inode === undefined || inode.nlink > 0 || fs.options.readOnly) return;
  fs.freeUnreachable(inode);
  fs.endOperation();
}

/**
 * @returns bytes read, short at end of file
 * @throws {Errno} EIO on a poisoned page, EISDIR, ESTALE
 */
export function read(
  fs: Filesystem,
  ino: number,
  offset: number,
  target: Uint8Array,
  flags: number,
): number {
  const inode = fs.inode(ino);
  if (isDirectory(inode)) throw new Errno('EISDIR', `inode ${ino}`);
  const bytes = fs.data.read(inode, offset, target);
  if ((flags & O_NOATIME) === 0) touchRead(fs, inode);
  fs.endOperation();
  fs.sharing.share(inode);
  return bytes;
}

/**
 * Stores bytes; durable after fsync. Existing bytes are overwritten in place, new pages are filled
 * and flushed before the running transaction shows them.
 *
 * @returns bytes written; fewer than asked when space ran out on the way
 * @throws {Errno} ENOSPC, EFBIG, EIO, EROFS, EPERM, ESTALE
 */
export function write(
  fs: Filesystem,
  ino: number,
  offset: number,
  source: Uint8Array,
  killSetId: boolean,
): number {
  const inode = fs.inode(ino);
  fs.assertMutable(inode);
  const endPageBefore = fs.metadata.extents(inode).endPage;
  const bytes = fs.data.write(inode, offset, source);
  touchModified(fs, inode, killSetId);
  fs.endOperation();
  fs.sharing.share(inode);
  if (fs.metadata.extents(inode).endPage > endPageBefore) {
    fs.sharing.appended(inode, (range) => fs.dax?.isShown(ino, range) ?? false);
  }
  return bytes;
}

/**
 * Everything done so far is durable when it returns; `fdatasync` and `odsync` leave times alone.
 *
 * @param kind what the program did
 * @param ino the file or directory it named; 0 for all
 * @throws {Errno} EIO while a power cut settles: what was written for this fsync may have gone with
 * it, or be thrown away as something from before. ENOSPC when the host's disk is full
 */
export function fsync(fs: Filesystem, kind: ForceKind, ino: number): void {
  if (fs.options.readOnly) return;
  if (fs.unsettledCuts > 0) throw new Errno('EIO', 'the power was cut');
  if (kind === 'fdatasync' || kind === 'odsync') fs.commitData();
  else fs.commit('fsync');
  fs.forced(kind, ino);
  if (kind === 'fsync' || kind === 'fdatasync') fs.sharing.synced(ino);
}

/**
 * fallocate(2) with mode 0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, COLLAPSE_RANGE, INSERT_RANGE.
 * @throws {Errno} EOPNOTSUPP, EINVAL, ENOSPC, EFBIG, ENODEV, EPERM, EROFS
 */
export function fallocate(
  fs: Filesystem,
  ino: number,
  range: { offset: number; lengthBytes: number },
  mode: number,
): void {
  const inode = fs.inode(ino);
  fs.assertMutable(inode);
  if (!isRegular(inode)) throw new Errno('ENODEV', `inode ${ino}`);
  if ((inode.flags & FS_APPEND_FL) !== 0 && (mode & ~FALLOC_KEEP_SIZE) !== 0) {
    throw new Errno('EPERM', 'append-only');
  }
  if (range.offset < 0 || range.lengthBytes <= 0) throw new Errno('EINVAL', 'empty range');
  const { offset, lengthBytes } = range;
  const keepSize = (mode & FALLOC_KEEP_SIZE) !== 0;
  switch (mode & ~FALLOC_KEEP_SIZE) {
    case 0:
      fs.data.allocate(inode, offset, lengthBytes, { keepSize });
      break;
    case FALLOC_PUNCH_HOLE:
      if (!keepSize) throw new Errno('EOPNOTSUPP', 'punch without KEEP_SIZE');
      fs.data.punch(inode, offset, lengthBytes);
      break;
    case FALLOC_ZERO_RANGE:
      fs.data.zeroRange(inode, offset, lengthBytes, { keepSize });
      break;
    case FALLOC_COLLAPSE_RANGE:
      fs.data.collapse(inode, offset, lengthBytes);
      break;
    case FALLOC_INSERT_RANGE:
      fs.data.insert(inode, offset, lengthBytes);
      break;
    default:
      throw new Errno('EOPNOTSUPP', `fallocate mode ${mode}`);
  }
  touchModified(fs, inode, false); // the kernel has sent what set-id bits must go as a setattr
  fs.endOperation();
}

/** lseek(2) with SEEK_DATA or SEEK_HOLE; unwritten extents are holes. @throws {Errno} ENXIO */
export function seek(fs: Filesystem, ino: number, offset: number, whence: number): number {
  const inode = fs.inode(ino);
  if (whence === SEEK_DATA) return fs.data.seekData(inode, offset);
  if (whence === SEEK_HOLE) return fs.data.seekHole(inode, offset);
  throw new Errno('EINVAL', `whence ${whence}`);
}

/**
 * Whether pages that mappings made dirty, and the kernel has not written back, could change what
 * seek() finds: they count as data wherever the map still shows a hole or an unwritten extent.
 */
export function seekNeedsWriteback(fs: Filesystem, ino: number, offset: number): boolean {
  const inode = fs.inode(ino);
  const list = fs.metadata.extents(inode);
  return !isWritten(list, pageOf(offset), pagesFor(inode.sizeBytes));
}

/** copy_file_range(2) inside the filesystem; holes stay holes. @returns bytes copied */
export function copy(
  fs: Filesystem,
  from: { ino: number; offset: number },
  to: { ino: number; offset: number },
  lengthBytes: number,
): number {
  const source = fs.inode(from.ino);
  const target = fs.inode(to.ino);
  fs.assertMutable(target);
  if (!isRegular(source) || !isRegular(target)) throw new Errno('EINVAL', 'not a regular file');
  const bytes = fs.data.copy(source, from.offset, target, to.offset, lengthBytes);
  touchRead(fs, source);
  if (bytes > 0) touchModified(fs, target, false);
  fs.endOperation();
  return bytes;
}
