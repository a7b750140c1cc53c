/**
 * What is read before an image is used: whether a database belongs to a region, and which pages its
 * extents take. Every extent is checked on the way, so that a mount never serves a page twice.
 */
import type Database from 'better-sqlite3';
import type { BugSwitches } from '../dax/bugs.js';
import { Allocator } from '../space/allocator.js';
import type { Superblock } from '../superblock.js';
import { ROOT_INO, S_IFDIR, S_IFMT } from './inode.js';
import { APPLICATION_ID, SCHEMA_VERSION } from './schema.js';

type ExtentRow = [ino: number, filePage: number, regionPage: number, pageCount: number];

/** @returns what is wrong and what to do, in one sentence; undefined when all is well */
export function verifyDatabase(db: Database.Database, superblock: Superblock): string | undefined {
  if (db.pragma('application_id', { simple: true }) !== APPLICATION_ID) {
    return 'it is not the metadata of an image; run fauxdax fsck';
  }
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version !== SCHEMA_VERSION) {
    return `its schema version is ${version}, this program knows version ${SCHEMA_VERSION}`;
  }
  const image = db.prepare('SELECT uuid, page_count FROM image').get() as
    | { uuid: string; page_count: number }
    | undefined;
  if (image === undefined) return 'it does not say which region it belongs to; run fauxdax fsck';
  if (image.uuid !== superblock.uuid) {
    return `it belongs to image ${image.uuid}, the region to ${superblock.uuid}; restore its own`;
  }
  if (image.page_count !== superblock.pageCount) {
    return `it is for ${image.page_count} pages, the region has ${superblock.pageCount}`;
  }
  const mode = db.prepare(`SELECT mode FROM inode WHERE ino = ${ROOT_INO}`).pluck().get();
  if (mode === undefined || ((mode as number) & S_IFMT) !== S_IFDIR) {
    return 'it has no root directory; run fauxdax fsck';
  }
  return undefined;
}

/** An allocator in which all saved extents are used; a string names the first bad extent. */
export function loadAllocator(
  db: Database.Database,
  pageCount: number,
  bugs: Readonly<BugSwitches>,
): Allocator | string {
  const allocator = new Allocator(pageCount, { reuseBeforeCommit: bugs.reuseBeforeCommit });
  const select = db.prepare(
    'SELECT ino, file_page, region_page, page_count FROM extent ORDER BY ino, file_page',
  );
  let lastIno = 0;
  let endPage = 0;
  for (const row of select.raw().iterate() as IterableIterator<ExtentRow>) {
    const [ino, filePage, regionPage, count] = row;
    const where = `extent at page ${filePage} of inode ${ino}`;
    if (count < 1 || regionPage < 1 || regionPage + count > pageCount) {
      return `${where} lies outside the region`;
    }
    if (filePage < (ino === lastIno ? endPage : 0)) return `${where} overlaps the one before it`;
    if (!allocator.markUsed({ page: regionPage, pageCount: count })) {
      return `${where} shares region pages with another`;
    }
    lastIno = ino;
    endPage = filePage + count;
  }
  allocator.markCommitted();
  return allocator;
}
