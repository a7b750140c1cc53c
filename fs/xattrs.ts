/**
 * Extended attributes in the namespaces user, trusted, security and system.posix_acl_*. The VFS
 * checks who may touch which; we keep limits, the access list in step with the mode, and the rule
 * that an attribute is durable with the next commit.
 */
import { Errno } from '../lib/errno.js';
import { isDirectory, isSymlink, S_ISGID } from '../lib/metadata/inode.js';
import { NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX } from '../lib/units.js';
import { ACL_ACCESS, ACL_DEFAULT, decodeAcl, isModeOnly, modeOfAcl } from './acl.js';
import type { Filesystem } from './filesystem.js';

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** listxattr(2) can return no more; a name beyond it would be unlistable. */
const LIST_BYTES_MAX = 65536;
const NAMESPACES = ['user.', 'trusted.', 'security.'];

/** @throws {Errno} ENODATA, EOPNOTSUPP */
export function getxattr(fs: Filesystem, ino: number, name: string): Uint8Array {
  fs.inode(ino);
  checkName(name);
  const value = fs.metadata.xattr(ino, name);
  if (value === undefined) throw new Errno('ENODATA', name);
  return value;
}

export function listxattr(fs: Filesystem, ino: number): string[] {
  fs.inode(ino);
  return fs.metadata.listXattrs(ino);
}

/** @throws {Errno} EEXIST, ENODATA, ERANGE, E2BIG, ENOSPC, EOPNOTSUPP, EPERM, EROFS */
export function setxattr(
  fs: Filesystem,
  ino: number,
  name: string,
  value: Uint8Array,
  how: { flags: number; killSetgid: boolean },
): void {
  const inode = fs.inode(ino);
  fs.assertMutable(inode);
  checkName(name);
  if (value.length > XATTR_VALUE_BYTES_MAX) throw new Errno('E2BIG', name);
  const old = fs.metadata.xattr(ino, name);
  if ((how.flags & XATTR_CREATE) !== 0 && old !== undefined) throw new Errno('EEXIST', name);
  if ((how.flags & XATTR_REPLACE) !== 0 && old === undefined) throw new Errno('ENODATA', name);
  if (old === undefined) checkListRoom(fs, ino, name);
  if (name === ACL_ACCESS || name === ACL_DEFAULT) setAcl(fs, ino, name, value, how.killSetgid);
  else fs.metadata.setXattr(ino, name, value);
  changed(fs, ino);
}

/** @throws {Errno} ENODATA, EOPNOTSUPP, EPERM, EROFS */
export function removexattr(fs: Filesystem, ino: number, name: string): void {
  const inode = fs.inode(ino);
  fs.assertMutable(inode);
  checkName(name);
  const had = fs.metadata.removeXattr(ino, name);
  // acl_delete_def_file(3) succeeds where there is nothing to delete.
  if (!had && name !== ACL_DEFAULT && name !== ACL_ACCESS) throw new Errno('ENODATA', name);
  changed(fs, ino);
}

function changed(fs: Filesystem, ino: number): void {
  const inode = fs.inode(ino);
  const { sec, nsec } = fs.now();
  fs.metadata.updateInode(inode, { ctimeSec: sec, ctimeNsec: nsec });
  fs.sharing.refresh(inode);
  fs.endOperation();
}

function checkName(name: string): void {
  if (name === ACL_ACCESS || name === ACL_DEFAULT) return;
  const prefix = NAMESPACES.find((candidate) => name.startsWith(candidate));
  if (prefix === undefined) throw new Errno('EOPNOTSUPP', `xattr namespace of ${name}`);
  if (name === prefix) throw new Errno('EINVAL', name);
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new Errno('ERANGE', name);
}

function checkListRoom(fs: Filesystem, ino: number, name: string): void {
  let bytes = Buffer.byteLength(name) + 1;
  for (const other of fs.metadata.listXattrs(ino)) bytes += Buffer.byteLength(other) + 1;
  if (bytes > LIST_BYTES_MAX) throw new Errno('ENOSPC', 'no room for another attribute name');
}

/** An access list sets the mode's permission bits; one that says no more than they do is dropped. */
function setAcl(
  fs: Filesystem,
  ino: number,
  name: string,
  value: Uint8Array,
  killSetgid: boolean,
): void {
  const inode = fs.inode(ino);
  if (isSymlink(inode)) throw new Errno('EOPNOTSUPP', 'ACL of a symbolic link');
  const acl = decodeAcl(value);
  if (name === ACL_DEFAULT) {
    if (!isDirectory(inode)) throw new Errno('EACCES', 'default ACL of a non-directory');
    fs.metadata.setXattr(ino, name, value);
    return;
  }
  let mode = (inode.mode & ~0o777) | modeOfAcl(acl);
  if (killSetgid) mode &= ~S_ISGID;
  if (isModeOnly(acl)) fs.metadata.removeXattr(ino, ACL_ACCESS);
  else fs.metadata.setXattr(ino, ACL_ACCESS, value);
  fs.metadata.updateInode(inode, { mode });
}
