/**
 * Inode and extent rows: how live objects are read from SQLite and written behind to it. Rows are
 * checked against their invariants where they are read back.
 */
import assert from 'node:assert/strict';
import type Database from 'better-sqlite3';
import { type Extent, ExtentList, UNWRITTEN, WRITTEN } from '../space/extent_list.js';
import type { InodeFields } from './inode.js';
import { CachedInode } from './inode_cache.js';
import { Prepared } from './prepared.js';
import type { Transaction } from './transaction.js';

type InodeRow = [
  mode: number,
  uid: number,
  gid: number,
  nlink: number,
  rdev: number,
  sizeBytes: number,
  flags: number,
  projectId: number,
  atimeSec: number,
  atimeNsec: number,
  mtimeSec: number,
  mtimeNsec: number,
  ctimeSec: number,
  ctimeNsec: number,
  btimeSec: number,
  btimeNsec: number,
  parentIno: number,
  target: string | null,
];

type ExtentRow = [filePage: number, regionPage: number, pageCount: number, state: number];

export interface TableCounts {
  inodes: number;
  names: number;
  extents: number;
}

export class InodeTable {
  private readonly getInode: Prepared;
  private readonly putInode: Prepared;
  private readonly deleteInode: Prepared;
  private readonly listOrphans: Prepared;
  private readonly listExtents: Prepared;
  private readonly putExtent: Prepared;
  private readonly deleteExtent: Prepared;
  private readonly deleteExtents: Prepared;
  private readonly pageCount: number;

  constructor(
    private readonly db: Database.Database,
    private readonly transaction: Transaction,
    options: { pageCount: number },
  ) {
    this.pageCount = options.pageCount;
    this.getInode = new Prepared(
      db,
      `SELECT mode, uid, gid, nlink, rdev, size_bytes, flags, project_id, atime_sec, atime_nsec,
           mtime_sec, mtime_nsec, ctime_sec, ctime_nsec, btime_sec, btime_nsec, parent_ino, target
         FROM inode WHERE ino = ?`,
      'array',
    );
    this.putInode = new Prepared(
      db,
      `INSERT OR REPLACE INTO inode VALUES (${Array(19).fill('?').join(', ')})`,
    );
    this.deleteInode = new Prepared(db, 'DELETE FROM inode WHERE ino = ?');
    this.listOrphans = new Prepared(
      db,
      'SELECT ino FROM inode WHERE nlink = 0 ORDER BY ino',
      'column',
    );
    this.listExtents = new Prepared(
      db,
      'SELECT file_page, region_page, page_count, state FROM extent WHERE ino = ? ' +
        'ORDER BY file_page',
      'array',
    );
    this.putExtent = new Prepared(db, 'INSERT OR REPLACE INTO extent VALUES (?, ?, ?, ?, ?)');
    this.deleteExtent = new Prepared(db, 'DELETE FROM extent WHERE ino = ? AND file_page = ?');
    this.deleteExtents = new Prepared(db, 'DELETE FROM extent WHERE ino = ?');
  }

  load(ino: number): CachedInode | undefined {
    const row = this.getInode.get(ino) as InodeRow | undefined;
    if (row === undefined) return undefined;
    // By index: destructuring a row of 18 costs more than reading it.
    const fields: InodeFields = {
      mode: row[0],
      uid: row[1],
      gid: row[2],
      nlink: row[3],
      rdev: row[4],
      sizeBytes: row[5],
      flags: row[6],
      projectId: row[7],
      atimeSec: row[8],
      atimeNsec: row[9],
      mtimeSec: row[10],
      mtimeNsec: row[11],
      ctimeSec: row[12],
      ctimeNsec: row[13],
      btimeSec: row[14],
      btimeNsec: row[15],
      parentIno: row[16],
      target: row[17],
    };
    return new CachedInode(ino, fields, true);
  }

  loadExtents(ino: number): ExtentList {
    const extents: Extent[] = [];
    for (const row of this.listExtents.all(ino) as ExtentRow[]) {
      const [filePage, regionPage, pageCount, state] = row;
      assert(state === WRITTEN || state === UNWRITTEN);
      assert(regionPage > 0 && pageCount > 0 && regionPage + pageCount <= this.pageCount);
      extents.push({ filePage, regionPage, pageCount, state });
    }
    return new ExtentList(extents);
  }

  /** @param keepsUnwritten the bug that never commits an extent as written */
  save(inode: CachedInode, keepsUnwritten: boolean): void {
    this.transaction.runWriteBehind(this.putInode, [
      inode.ino,
      inode.mode,
      inode.uid,
      inode.gid,
      inode.nlink,
      inode.rdev,
      inode.sizeBytes,
      inode.flags,
      inode.projectId,
      inode.atimeSec,
      inode.atimeNsec,
      inode.mtimeSec,
      inode.mtimeNsec,
      inode.ctimeSec,
      inode.ctimeNsec,
      inode.btimeSec,
      inode.btimeNsec,
      inode.parentIno,
      inode.target,
    ]);
    inode.hasRow = true;
    const { extents } = inode;
    if (extents === undefined) return;
    for (const filePage of extents.changedPages()) {
      const extent = extents.startingAt(filePage);
      if (extent === undefined) {
        this.transaction.runWriteBehind(this.deleteExtent, [inode.ino, filePage]);
      } else {
        const { regionPage, pageCount } = extent;
        const state = keepsUnwritten ? UNWRITTEN : extent.state;
        const values = [inode.ino, filePage, regionPage, pageCount, state];
        this.transaction.runWriteBehind(this.putExtent, values);
      }
    }
  }

  /** Removes the inode's row and its extents' rows. */
  remove(ino: number): void {
    this.transaction.run(this.deleteExtents, [ino]);
    this.transaction.run(this.deleteInode, [ino]);
  }

  orphans(): number[] {
    return this.listOrphans.all() as number[];
  }

  /** The highest inode number in use. */
  lastIno(): number {
    return this.db.prepare('SELECT coalesce(max(ino), 0) FROM inode').pluck().get() as number;
  }

  counts(): TableCounts {
    const count = (table: string) =>
      this.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
    return { inodes: count('inode'), names: count('name'), extents: count('extent') };
  }
}
