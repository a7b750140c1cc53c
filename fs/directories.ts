/**
 * Reading directories. A position is the cookie of the last name returned: the hash of the name
 * itself, so it means the same whatever is added or removed meanwhile. "." and ".." are 1 and 2.
 */
import type { Inode } from '../lib/metadata/inode.js';
import type { Filesystem } from './filesystem.js';

export interface Entry {
  name: string;
  inode: Inode;
  /** Position after this entry. */
  cookie: number;
}

const COOKIE_DOT = 1;
const COOKIE_DOTDOT = 2;
/** Names fetched at once; a reply holds fewer. */
const BATCH_NAMES = 256;

/**
 * Entries after position `after`, in cookie order, until `add` says the reply is full.
 * @param add false when the entry did not fit; it is the first of the next call
 */
export function readdir(
  fs: Filesystem,
  ino: number,
  after: number,
  add: (entry: Entry) => boolean,
): void {
  const directory = fs.directory(ino);
  if (after < COOKIE_DOT && !add({ name: '.', inode: directory, cookie: COOKIE_DOT })) return;
  if (after < COOKIE_DOTDOT) {
    const parent = fs.metadata.inode(directory.parentIno) ?? directory;
    if (!add({ name: '..', inode: parent, cookie: COOKIE_DOTDOT })) return;
  }
  let position = Math.max(after, COOKIE_DOTDOT);
  for (;;) {
    const names = fs.metadata.list(ino, position, BATCH_NAMES);
    for (const { name, cookie, ino: entryIno } of names) {
      if (!add({ name, inode: fs.inode(entryIno), cookie })) return;
      position = cookie;
    }
    if (names.length < BATCH_NAMES) return;
  }
}
