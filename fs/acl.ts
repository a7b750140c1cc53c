/**
 * POSIX access control lists in the kernel's xattr form (linux/posix_acl_xattr.h, version 2). The
 * kernel enforces them (FUSE_POSIX_ACL); our part is what a filesystem must do: keep mode and
 * access list in step, and hand a directory's default list down to what is created in it. Pure.
 */
import { Errno } from '../lib/errno.js';

export const ACL_ACCESS = 'system.posix_acl_access';
export const ACL_DEFAULT = 'system.posix_acl_default';

const VERSION = 2;
const USER_OBJ = 0x01;
const USER = 0x02;
const GROUP_OBJ = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
const ID_UNDEFINED = 0xffffffff;
const ENTRIES_MAX = 8191; // of a 64 KiB value

export interface AclEntry {
  tag: number;
  /** Bits 4 read, 2 write, 1 execute. */
  perm: number;
  id: number;
}

/**
 * @throws {Errno} EINVAL when the value is no well-formed list with owner, group and other once,
 * and a mask when it names anybody; EOPNOTSUPP for another version
 */
export function decodeAcl(value: Uint8Array): AclEntry[] {
  if (value.length < 4 || (value.length - 4) % 8 !== 0) throw invalid('length');
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (view.getUint32(0, true) !== VERSION) throw new Errno('EOPNOTSUPP', 'ACL version');
  const entries: AclEntry[] = [];
  for (let at = 4; at < value.length; at += 8) {
    const entry = {
      tag: view.getUint16(at, true),
      perm: view.getUint16(at + 2, true),
      id: view.getUint32(at + 4, true),
    };
    if (entry.perm > 7) throw invalid('permission');
    entries.push(entry);
  }
  checkEntries(entries);
  return entries;
}

function checkEntries(entries: readonly AclEntry[]): void {
  if (entries.length > ENTRIES_MAX) throw invalid('too many entries');
  const count = (tag: number): number => entries.filter((entry) => entry.tag === tag).length;
  if (count(USER_OBJ) !== 1 || count(GROUP_OBJ) !== 1 || count(OTHER) !== 1) throw invalid('base');
  const named = count(USER) + count(GROUP);
  if (count(MASK) > 1 || (named > 0 && count(MASK) === 0)) throw invalid('mask');
  if (3 + named + count(MASK) !== entries.length) throw invalid('unknown tag');
  const seen = new Set<string>();
  for (const { tag, id } of entries) {
    if (tag !== USER && tag !== GROUP) continue;
    if (id === ID_UNDEFINED || seen.has(`${tag}:${id}`)) throw invalid('duplicate or no id');
    seen.add(`${tag}:${id}`);
  }
}

function invalid(what: string): Errno {
  return new Errno('EINVAL', `malformed ACL: ${what}`);
}

export function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const value = new Uint8Array(4 + entries.length * 8);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  entries.forEach((entry, index) => {
    const at = 4 + index * 8;
    view.setUint16(at, entry.tag, true);
    view.setUint16(at + 2, entry.perm, true);
    view.setUint32(at + 4, entry.id, true);
  });
  return value;
}

/** The nine permission bits a list stands for: the mask, when there is one, is the group's. */
export function modeOfAcl(entries: readonly AclEntry[]): number {
  const perm = (tag: number): number | undefined =>
    entries.find((entry) => entry.tag === tag)?.perm;
  const group = perm(MASK) ?? perm(GROUP_OBJ) ?? 0;
  return ((perm(USER_OBJ) ?? 0) << 6) | (group << 3) | (perm(OTHER) ?? 0);
}

/** True when the list says no more than the mode bits do, and need not be kept. */
export function isModeOnly(entries: readonly AclEntry[]): boolean {
  return entries.length === 3;
}

/** The access list after chmod(2): owner, mask (or group) and other follow the mode. */
export function aclWithMode(entries: readonly AclEntry[], mode: number): AclEntry[] {
  const masked = entries.some((entry) => entry.tag === MASK);
  return entries.map((entry) => {
    if (entry.tag === USER_OBJ) return { ...entry, perm: (mode >> 6) & 7 };
    if (entry.tag === OTHER) return { ...entry, perm: mode & 7 };
    if (entry.tag === (masked ? MASK : GROUP_OBJ)) return { ...entry, perm: (mode >> 3) & 7 };
    return entry;
  });
}

/**
 * What an object created with `mode` in a directory with default list `entries` gets: the list
 * narrowed by the mode, and the mode narrowed by the list (acl(5), "Object creation").
 */
export function inheritAcl(
  entries: readonly AclEntry[],
  mode: number,
): { acl: AclEntry[]; mode: number } {
  const narrowed = mode & modeOfAcl(entries) & 0o777;
  return { acl: aclWithMode(entries, narrowed), mode: (mode & ~0o777) | narrowed };
}
