/**
 * Operations that make, remove and move names. The kernel's VFS has already checked permissions
 * (default_permissions), types and loops, and serialises changes within a directory; what is
 * checked again here is what our own tables need to stay true.
 */
import { Errno } from '../lib/errno.js';
import {
  type Inode,
  isDirectory,
  isRegular,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
} from '../lib/metadata/inode.js';
import { LINK_COUNT_MAX } from '../lib/units.js';
import { ACL_ACCESS, ACL_DEFAULT, decodeAcl, encodeAcl, inheritAcl, isModeOnly } from './acl.js';
import type { Caller, Filesystem } from './filesystem.js';
import {
  FS_SYNC_FL,
  FS_NODUMP_FL,
  FS_NOATIME_FL,
  FS_DAX_FL,
  FS_PROJINHERIT_FL,
} from './inode_flags.js';

const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;

/** Flags that a new inode takes from its directory (as ext4's EXT4_FL_INHERITED). */
const FLAGS_INHERITED = FS_SYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_DAX_FL | FS_PROJINHERIT_FL;

export interface NewInode {
  /** Type and permission bits as the caller gave them, umask not yet applied. */
  mode: number;
  umask: number;
  rdev?: number;
  target?: string;
}

/** The inode a name leads to, or undefined. Takes no reference. */
export function lookup(fs: Filesystem, parentIno: number, name: string): Inode | undefined {
  const parent = fs.directory(parentIno);
  const ino = fs.metadata.lookup(parent.ino, name);
  return ino === undefined ? undefined : fs.inode(ino);
}

/**
 * Makes an inode and its name. Nothing is durable before the next commit.
 * @throws {Errno} EEXIST, ENOTDIR, EROFS, EPERM, ENOSPC
 */
export function create(
  fs: Filesystem,
  caller: Caller,
  parentIno: number,
  name: string,
  wish: NewInode,
): Inode {
  const parent = fs.directory(parentIno);
  fs.assertMutable(parent);
  if (fs.metadata.lookup(parent.ino, name) !== undefined) throw new Errno('EEXIST', name);
  const inode = makeInode(fs, caller, parent, wish, 1);
  try {
    fs.metadata.addName(parent.ino, name, inode.ino);
  } catch (error) {
    // A directory may be full of names whose hashes collide; leave no inode behind.
    fs.metadata.removeInode(inode);
    throw error;
  }
  touchDirectory(fs, parent, isDirectory(inode) ? 1 : 0);
  fs.endOperation();
  return inode;
}

/** O_TMPFILE: an inode without a name, removed when the last reference goes unless linked. */
export function createUnnamed(
  fs: Filesystem,
  caller: Caller,
  parentIno: number,
  wish: NewInode,
): Inode {
  const parent = fs.directory(parentIno);
  fs.assertMutable(parent);
  const inode = makeInode(fs, caller, parent, wish, 0);
  fs.endOperation();
  return inode;
}

function makeInode(
  fs: Filesystem,
  caller: Caller,
  parent: Inode,
  wish: NewInode,
  nlink: number,
): Inode {
  const type = wish.mode & S_IFMT || S_IFREG;
  const directory = type === S_IFDIR;
  const inherited = type === S_IFLNK ? undefined : fs.metadata.xattr(parent.ino, ACL_DEFAULT);
  let mode = type | (wish.mode & 0o7777);
  let access: Uint8Array | undefined;
  if (inherited === undefined) {
    if (type !== S_IFLNK) mode &= ~wish.umask;
  } else {
    const result = inheritAcl(decodeAcl(inherited), mode);
    mode = result.mode;
    if (!isModeOnly(result.acl)) access = encodeAcl(result.acl);
  }
  const setgid = (parent.mode & S_ISGID) !== 0;
  if (setgid && directory) mode |= S_ISGID;
  const { sec, nsec } = fs.now();
  const inode = fs.metadata.createInode({
    mode,
    uid: caller.uid,
    gid: setgid ? parent.gid : caller.gid,
    nlink: directory ? 2 : nlink,
    rdev: wish.rdev ?? 0,
    target: wish.target ?? null,
    sizeBytes: wish.target === undefined ? 0 : targetBytes(wish.target),
    flags: inheritedFlags(parent, type),
    projectId: (parent.flags & FS_PROJINHERIT_FL) === 0 ? 0 : parent.projectId,
    parentIno: directory ? parent.ino : 0,
    atimeSec: sec,
    atimeNsec: nsec,
    mtimeSec: sec,
    mtimeNsec: nsec,
    ctimeSec: sec,
    ctimeNsec: nsec,
    btimeSec: sec,
    btimeNsec: nsec,
  });
  if (access !== undefined) fs.metadata.setXattr(inode.ino, ACL_ACCESS, access);
  if (inherited !== undefined && directory) {
    fs.metadata.setXattr(inode.ino, ACL_DEFAULT, inherited);
  }
  return inode;
}

function inheritedFlags(parent: Inode, type: number): number {
  if (type !== S_IFDIR && type !== S_IFREG) return parent.flags & FS_NODUMP_FL;
  return parent.flags & FLAGS_INHERITED;
}

/** Bytes of a decoded target: one for each escaped byte, UTF-8 for the rest (DESIGN.md, Names). */
function targetBytes(target: string): number {
  let bytes = 0;
  for (const character of target) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0x10ff00) bytes += 1;
    else bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

/** @throws {Errno} EEXIST, EMLINK, EPERM (directories, immutable), EROFS */
export function link(fs: Filesystem, ino: number, parentIno: number, name: string): Inode {
  const parent = fs.directory(parentIno);
  const inode = fs.inode(ino);
  fs.assertMutable(parent);
  fs.assertRemovable({ ...parent, flags: 0 }, inode);
  if (isDirectory(inode)) throw new Errno('EPERM', 'hard link to a directory');
  if (inode.nlink >= LINK_COUNT_MAX) throw new Errno('EMLINK', `inode ${ino}`);
  if (fs.metadata.lookup(parent.ino, name) !== undefined) throw new Errno('EEXIST', name);
  fs.metadata.addName(parent.ino, name, ino);
  changeLinks(fs, inode, 1);
  touchDirectory(fs, parent, 0);
  fs.endOperation();
  return inode;
}

/** unlink(2). An inode that is open or referenced lives on without a name. */
export function unlink(fs: Filesystem, parentIno: number, name: string): void {
  const parent = fs.directory(parentIno);
  const inode = named(fs, parent, name);
  if (isDirectory(inode)) throw new Errno('EISDIR', name);
  fs.assertRemovable(parent, inode);
  fs.metadata.removeName(parent.ino, name);
  dropName(fs, inode);
  touchDirectory(fs, parent, 0);
  fs.endOperation();
}

/** @throws {Errno} ENOTEMPTY, ENOTDIR, ENOENT */
export function rmdir(fs: Filesystem, parentIno: number, name: string): void {
  const parent = fs.directory(parentIno);
  const inode = named(fs, parent, name);
  if (!isDirectory(inode)) throw new Errno('ENOTDIR', name);
  fs.assertRemovable(parent, inode);
  if (fs.metadata.hasNames(inode.ino)) throw new Errno('ENOTEMPTY', name);
  fs.metadata.removeName(parent.ino, name);
  dropName(fs, inode);
  touchDirectory(fs, parent, -1);
  fs.endOperation();
}

export interface Place {
  parentIno: number;
  name: string;
}

/**
 * rename(2) and renameat2(2) with NOREPLACE or EXCHANGE; atomic in every crash state.
 * @throws {Errno} ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EINVAL (other flags)
 */
export function rename(fs: Filesystem, from: Place, to: Place, flags: number): void {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0 || flags === 3) {
    throw new Errno('EINVAL', `rename flags ${flags}`);
  }
  const fromParent = fs.directory(from.parentIno);
  const toParent = fs.directory(to.parentIno);
  const moving = named(fs, fromParent, from.name);
  const targetIno = fs.metadata.lookup(toParent.ino, to.name);
  const target = targetIno === undefined ? undefined : fs.inode(targetIno);
  fs.assertRemovable(fromParent, moving);
  fs.assertMutable(toParent);
  if (flags === RENAME_EXCHANGE) {
    if (target === undefined) throw new Errno('ENOENT', to.name);
    fs.assertRemovable(toParent, target);
    exchange(
      fs,
      { parent: fromParent, inode: moving, name: from.name },
      { parent: toParent, inode: target, name: to.name },
    );
    return;
  }
  if (target !== undefined) {
    if (flags === RENAME_NOREPLACE) throw new Errno('EEXIST', to.name);
    if (target.ino === moving.ino) return; // two names of one inode: rename(2) does nothing
    assertReplaceable(fs, toParent, moving, target, to.name);
  }
  move(fs, fromParent, toParent, moving, target, { from: from.name, to: to.name });
}

function assertReplaceable(
  fs: Filesystem,
  parent: Inode,
  moving: Inode,
  target: Inode,
  name: string,
): void {
  fs.assertRemovable(parent, target);
  if (isDirectory(target) && !isDirectory(moving)) throw new Errno('EISDIR', name);
  if (!isDirectory(target) && isDirectory(moving)) throw new Errno('ENOTDIR', name);
  if (isDirectory(target) && fs.metadata.hasNames(target.ino)) throw new Errno('ENOTEMPTY', name);
}

function move(
  fs: Filesystem,
  fromParent: Inode,
  toParent: Inode,
  moving: Inode,
  target: Inode | undefined,
  names: { from: string; to: string },
): void {
  const directory = isDirectory(moving);
  fs.metadata.removeName(fromParent.ino, names.from);
  if (target === undefined) {
    fs.metadata.addName(toParent.ino, names.to, moving.ino);
  } else {
    fs.metadata.replaceName(toParent.ino, names.to, moving.ino);
    dropName(fs, target);
  }
  fs.nodes.moved(moving.ino, toParent.ino, names.to);
  if (directory) fs.metadata.updateInode(moving, { parentIno: toParent.ino });
  changeLinks(fs, moving, 0);
  touchDirectory(fs, fromParent, directory ? -1 : 0);
  const gained = directory && (target === undefined || !isDirectory(target)) ? 1 : 0;
  touchDirectory(fs, toParent, gained);
  fs.endOperation();
}

interface Named {
  parent: Inode;
  inode: Inode;
  name: string;
}

function exchange(fs: Filesystem, a: Named, b: Named): void {
  if (a.inode.ino === b.inode.ino) return;
  fs.metadata.replaceName(a.parent.ino, a.name, b.inode.ino);
  fs.metadata.replaceName(b.parent.ino, b.name, a.inode.ino);
  fs.nodes.moved(a.inode.ino, b.parent.ino, b.name);
  fs.nodes.moved(b.inode.ino, a.parent.ino, a.name);
  if (isDirectory(a.inode)) fs.metadata.updateInode(a.inode, { parentIno: b.parent.ino });
  if (isDirectory(b.inode)) fs.metadata.updateInode(b.inode, { parentIno: a.parent.ino });
  changeLinks(fs, a.inode, 0);
  changeLinks(fs, b.inode, 0);
  const shift = Number(isDirectory(b.inode)) - Number(isDirectory(a.inode));
  const across = a.parent.ino !== b.parent.ino;
  touchDirectory(fs, a.parent, across ? shift : 0);
  touchDirectory(fs, b.parent, across ? -shift : 0);
  fs.endOperation();
}

function named(fs: Filesystem, parent: Inode, name: string): Inode {
  const ino = fs.metadata.lookup(parent.ino, name);
  if (ino === undefined) throw new Errno('ENOENT', name);
  return fs.inode(ino);
}

/** An inode lost one name; a directory loses its own "." with it. */
function dropName(fs: Filesystem, inode: Inode): void {
  changeLinks(fs, inode, isDirectory(inode) ? -inode.nlink : -1);
  if (inode.nlink > 0) return;
  if (fs.nodes.get(inode.ino) === undefined) fs.metadata.removeInode(inode);
  else if (isRegular(inode)) fs.freeUnreachable(inode);
}

function changeLinks(fs: Filesystem, inode: Inode, delta: number): void {
  const { sec, nsec } = fs.now();
  fs.metadata.updateInode(inode, { nlink: inode.nlink + delta, ctimeSec: sec, ctimeNsec: nsec });
}

/** A directory's contents changed, and with subdirectories its link count. */
function touchDirectory(fs: Filesystem, directory: Inode, linksDelta: number): void {
  const { sec, nsec } = fs.now();
  fs.noteChange(directory);
  fs.metadata.updateInode(directory, {
    nlink: directory.nlink + linksDelta,
    mtimeSec: sec,
    mtimeNsec: nsec,
    ctimeSec: sec,
    ctimeNsec: nsec,
  });
}
