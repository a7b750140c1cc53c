/**
 * The metadata of one image: inodes, names, extents, extended attributes, and the one running
 * transaction that all changes go to until commit() or rollback(). Inodes and extents are live
 * objects written behind at commit; names, xattrs and removals go to SQLite at once. Synchronous,
 * on the JavaScript thread that owns the filesystem; nothing here waits.
 *
 * Every change is also a record (records.ts) for the sink, if one is set; endOperation() ends the
 * group of records that a crash keeps or loses together.
 */
import assert from 'node:assert/strict';
import type Database from 'better-sqlite3';
import { type BugSwitches, NO_BUGS } from '../dax/bugs.js';
import { Errno } from '../errno.js';
import type { Allocator, FreedRun } from '../space/allocator.js';
import { type Extent, ExtentList, UNWRITTEN } from '../space/extent_list.js';
import type { Inode, InodeFields } from './inode.js';
import { CachedInode, InodeCache } from './inode_cache.js';
import { InodeTable, type TableCounts } from './inode_table.js';
import { type NameEntry, NameTable, nameSeed } from './name_table.js';
import type { MetadataRecord } from './records.js';
import { Transaction } from './transaction.js';
import { XattrTable } from './xattr_table.js';

export interface MetadataOptions {
  /** Knows every page that the saved extents use. */
  allocator: Allocator;
  bugs?: Readonly<BugSwitches>;
  /** Of `db`, when it is not to end as others do. */
  transaction?: Transaction;
}

export interface MetadataCounts extends TableCounts {
  /** Pages that extents map, in either state. */
  usedPages: number;
}

const NEW_INODE: InodeFields = {
  mode: 0,
  uid: 0,
  gid: 0,
  nlink: 0,
  rdev: 0,
  sizeBytes: 0,
  flags: 0,
  projectId: 0,
  atimeSec: 0,
  atimeNsec: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  ctimeSec: 0,
  ctimeNsec: 0,
  btimeSec: 0,
  btimeNsec: 0,
  parentIno: 0,
  target: null,
};

export class Metadata {
  /** Gets every record as it is made; it must not call back. */
  sink: ((record: MetadataRecord) => void) | undefined;
  /** Called after each commit with the pages that it made free, before anyone gets them. */
  readonly afterCommit: ((released: FreedRun[]) => void)[] = [];
  /** Called at the first change after a commit or rollback; it must not call back. */
  onDirty: (() => void) | undefined;

  private readonly allocator: Allocator;
  private readonly bugs: Readonly<BugSwitches>;
  private readonly transaction: Transaction;
  private readonly cache: InodeCache;
  private readonly table: InodeTable;
  private readonly names: NameTable;
  private readonly xattrs: XattrTable;
  private readonly dirtyInodes = new Set<CachedInode>();
  /** Inodes whose row the running transaction made, for a commit that fails. */
  private newRows: CachedInode[] = [];
  private nextIno: number;
  private live: TableCounts;
  private committed: TableCounts;
  private records = 0;
  private recordsInOperation = 0;

  constructor(
    readonly db: Database.Database,
    options: MetadataOptions,
  ) {
    this.allocator = options.allocator;
    this.bugs = options.bugs ?? NO_BUGS;
    this.transaction = options.transaction ?? new Transaction(db);
    // Inodes read back would show what this bug saved; it must stay hidden until a crash.
    this.cache = new InodeCache(!this.bugs.noCompletionConversion);
    this.table = new InodeTable(db, this.transaction, { pageCount: this.allocator.pageCount });
    const uuid = db.prepare('SELECT uuid FROM image').pluck().get() as string;
    this.names = new NameTable(db, this.transaction, nameSeed(uuid));
    this.xattrs = new XattrTable(db, this.transaction);
    this.nextIno = this.table.lastIno() + 1;
    this.live = this.table.counts();
    this.committed = { ...this.live };
  }

  // Inodes

  /** The live object of an inode; undefined when there is none. */
  inode(ino: number): Inode | undefined {
    return this.cache.get(ino) ?? this.load(ino);
  }

  /** The live object of an inode that must exist. */
  existingInode(ino: number): Inode {
    const inode = this.inode(ino);
    assert(inode !== undefined, `no inode ${ino}`);
    return inode;
  }

  /**
   * Makes an inode; fields left out are 0, the target null. Its number was never used while this
   * object lives.
   *
   * @param ino only for records applied again
   */
  createInode(fields: Partial<InodeFields> & { mode: number }, ino = this.nextIno): Inode {
    assert(this.cache.get(ino) === undefined && fields.mode > 0);
    const all = { ...NEW_INODE, ...fields };
    const inode = new CachedInode(ino, all, false);
    inode.extents = new ExtentList();
    this.nextIno = Math.max(this.nextIno, ino + 1);
    inode.isSettled = false;
    this.cache.add(inode);
    this.touch(inode);
    this.live.inodes++;
    if (this.sink !== undefined) this.sink({ type: 'create-inode', ino, fields: all });
    this.count();
    return inode;
  }

  /** Changes fields of an inode. */
  updateInode(inode: Inode, patch: Partial<InodeFields>): void {
    const cached = liveInode(inode);
    Object.assign(cached, patch);
    this.touch(cached);
    if (patch.sizeBytes !== undefined) cached.isSettled = false;
    if (this.sink !== undefined) {
      this.sink({ type: 'set-inode', ino: inode.ino, patch: { ...patch } });
    }
    this.count();
  }

  /** Removes an inode with its extents (busy until commit) and xattrs; no name may point to it. */
  removeInode(inode: Inode): void {
    const cached = liveInode(inode);
    const { ino } = cached;
    const extents = this.extents(cached);
    this.live.extents -= extents.length;
    this.freeAll(extents.remove(0, Infinity), ino);
    if (this.hasXattrs(cached)) this.xattrs.removeAll(ino);
    if (cached.hasRow) this.table.remove(ino);
    this.dirtyInodes.delete(cached);
    this.cache.remove(cached);
    this.live.inodes--;
    if (this.sink !== undefined) this.sink({ type: 'remove-inode', ino });
    this.count();
  }

  /** Inodes that no name points to, saved or not. */
  orphans(): number[] {
    const found = new Set<number>();
    for (const ino of this.table.orphans()) {
      if ((this.cache.get(ino)?.nlink ?? 0) === 0) found.add(ino);
    }
    for (const inode of this.dirtyInodes) if (inode.nlink === 0) found.add(inode.ino);
    return [...found].sort((a, b) => a - b);
  }

  /** Keeps the live object of an inode until as many unpin() calls; also across rollback(). */
  pin(ino: number): void {
    this.cache.pin(ino);
  }

  unpin(ino: number): void {
    assert(this.cache.unpin(ino), `inode ${ino} is not pinned`);
  }

  // Names

  /** The inode that a name points to. */
  lookup(parentIno: number, name: string): number | undefined {
    return this.names.lookup(parentIno, name);
  }

  /**
   * Adds a name that is not there (the caller looked).
   * @throws {Errno} ENOSPC when too many names of the directory share one hash
   */
  addName(parentIno: number, name: string, ino: number): void {
    this.names.add(parentIno, name, ino);
    this.live.names++;
    if (this.sink !== undefined) this.sink({ type: 'add-name', parentIno, name, ino });
    this.count();
  }

  /** Removes a name that is there. */
  removeName(parentIno: number, name: string): void {
    this.names.remove(parentIno, name);
    this.live.names--;
    if (this.sink !== undefined) this.sink({ type: 'remove-name', parentIno, name });
    this.count();
  }

  /** Points a name that is there to another inode. */
  replaceName(parentIno: number, name: string, ino: number): void {
    this.names.replace(parentIno, name, ino);
    if (this.sink !== undefined) this.sink({ type: 'replace-name', parentIno, name, ino });
    this.count();
  }

  hasNames(directoryIno: number): boolean {
    return this.names.hasAny(directoryIno);
  }

  /** Up to `countMax` entries after `afterCookie` (0 for the first), ordered; cookies are > 15. */
  list(directoryIno: number, afterCookie: number, countMax: number): NameEntry[] {
    return this.names.list(directoryIno, afterCookie, countMax);
  }

  // Extents

  /** The live map of a file. Read only: changes go through map(), unmap() and shift(). */
  extents(inode: Inode): ExtentList {
    const cached = liveInode(inode);
    cached.extents ??= this.table.loadExtents(cached.ino);
    return cached.extents;
  }

  /**
   * Maps file pages to region pages that the caller allocated. Pages mapped there before are freed
   * (busy until commit), but those that stay the same page: mapping them again changes their state.
   */
  map(inode: Inode, extent: Extent): void {
    const { filePage, regionPage, pageCount } = extent;
    const state = this.bugs.noCompletionConversion ? UNWRITTEN : extent.state;
    assert(regionPage > 0 && regionPage + pageCount <= this.allocator.pageCount);
    const list = this.change(inode);
    const lengthBefore = list.length;
    const displaced = list.remove(filePage, filePage + pageCount);
    const isOther = (old: Extent) => old.regionPage - old.filePage !== regionPage - filePage;
    this.freeAll(displaced.filter(isOther), inode.ino);
    list.insert({ filePage, regionPage, pageCount, state: extent.state });
    this.live.extents += list.length - lengthBefore;
    if (this.sink !== undefined) {
      this.sink({ type: 'map', ino: inode.ino, filePage, regionPage, pageCount, state });
    }
    this.count();
  }

  /** Makes file pages a hole; their region pages are busy until commit. */
  unmap(inode: Inode, range: { filePage: number; pageCount: number }): void {
    const { filePage, pageCount } = range;
    const list = this.change(inode);
    const lengthBefore = list.length;
    this.freeAll(list.remove(filePage, filePage + pageCount), inode.ino);
    this.live.extents += list.length - lengthBefore;
    if (this.sink !== undefined) {
      this.sink({ type: 'unmap', ino: inode.ino, filePage, pageCount });
    }
    this.count();
  }

  /** Moves all mappings from `fromPage` on; down (negative) only over a hole of that size. */
  shift(inode: Inode, by: { fromPage: number; deltaPages: number }): void {
    const { fromPage, deltaPages } = by;
    const list = this.change(inode);
    const lengthBefore = list.length;
    list.shift(fromPage, deltaPages);
    this.live.extents += list.length - lengthBefore;
    if (this.sink !== undefined) {
      this.sink({ type: 'shift', ino: inode.ino, fromPage, deltaPages });
    }
    this.count();
  }

  /** Takes from the allocator the pages of an extent that the file does not map there yet. */
  claimPages(inode: Inode, extent: Omit<Extent, 'state'>): void {
    const { filePage, regionPage, pageCount } = extent;
    let next = filePage;
    const claim = (endPage: number) => {
      if (endPage === next) return;
      const page = regionPage + (next - filePage);
      assert(this.allocator.markUsed({ page, pageCount: endPage - next }), `page ${page} in use`);
    };
    for (const old of this.extents(inode).slice(filePage, filePage + pageCount)) {
      if (old.regionPage - old.filePage !== regionPage - filePage) continue;
      claim(old.filePage);
      next = old.filePage + old.pageCount;
    }
    claim(filePage + pageCount);
  }

  // Extended attributes

  xattr(ino: number, name: string): Uint8Array | undefined {
    return this.hasXattrs(liveInode(this.existingInode(ino)))
      ? this.xattrs.get(ino, name)
      : undefined;
  }

  /** Adds or replaces; the value is copied. */
  setXattr(ino: number, name: string, value: Uint8Array): void {
    liveInode(this.existingInode(ino)).hasXattrs = true;
    this.xattrs.set(ino, name, value);
    if (this.sink !== undefined) {
      this.sink({ type: 'set-xattr', ino, name, value: new Uint8Array(value) });
    }
    this.count();
  }

  /** @returns false when there was none, and nothing changed */
  removeXattr(ino: number, name: string): boolean {
    if (this.xattr(ino, name) === undefined) return false;
    assert(this.xattrs.remove(ino, name));
    if (this.sink !== undefined) this.sink({ type: 'remove-xattr', ino, name });
    this.count();
    return true;
  }

  /** Names in order. */
  listXattrs(ino: number): string[] {
    return this.hasXattrs(liveInode(this.existingInode(ino))) ? this.xattrs.list(ino) : [];
  }

  // The running transaction

  /** The records since the last call are one operation. */
  endOperation(): void {
    if (this.recordsInOperation === 0) return;
    this.recordsInOperation = 0;
    if (this.sink !== undefined) this.sink({ type: 'end-operation' });
  }

  /** The running transaction holds something. */
  get dirty(): boolean {
    return this.records > 0;
  }

  /** Existence, size and map of the inode are as the last commit has them. */
  isSettled(inode: Inode): boolean {
    return liveInode(inode).isSettled;
  }

  /** Records since the last commit, without operation ends. */
  get pendingRecordCount(): number {
    return this.records;
  }

  /**
   * Makes the running transaction durable. The caller has fenced the region, so that no data is
   * younger than the map that shows it. Busy pages become free.
   *
   * @throws {Errno} ENOSPC when the host's disk is full, EIO when it fails; nothing is lost then,
   * and a later commit may succeed
   */
  commit(): void {
    if (!this.dirty) return;
    try {
      this.writeBehind();
      this.transaction.commit();
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      for (const inode of this.newRows) inode.hasRow = false;
      this.newRows = [];
      throw error;
    }
    for (const inode of this.dirtyInodes) {
      inode.dirty = false;
      inode.isSettled = true;
      inode.extents?.markSaved();
    }
    this.dirtyInodes.clear();
    this.newRows = [];
    this.committed = { ...this.live };
    this.records = 0;
    this.recordsInOperation = 0;
    const released = this.allocator.releaseBusy();
    for (const listener of this.afterCommit) listener(released);
  }

  /**
   * Forgets the running transaction and every live inode object: the state is that of the last
   * commit, in SQLite, in the allocator, in the counts. Pins stay.
   */
  rollback(): void {
    this.transaction.rollback();
    this.dirtyInodes.clear();
    this.newRows = [];
    this.cache.clear();
    this.names.forgetCached();
    this.live = { ...this.committed };
    this.records = 0;
    this.recordsInOperation = 0;
    this.allocator.rollback();
  }

  counts(): MetadataCounts {
    const { allocator } = this;
    return { ...this.live, usedPages: allocator.usedPages };
  }

  /** Writes inodes and extents to the running transaction, where other readers of `db` see them. */
  writeBehind(): void {
    for (const inode of this.dirtyInodes) {
      if (!inode.hasRow) this.newRows.push(inode);
      this.table.save(inode, this.bugs.noCompletionConversion);
    }
  }

  /** Closes the database. What was not committed is lost. May be called twice. */
  close(): void {
    if (!this.db.open) return;
    this.transaction.rollback();
    this.cache.clear();
    this.db.close();
  }

  private load(ino: number): CachedInode | undefined {
    const inode = this.table.load(ino);
    if (inode !== undefined) this.cache.add(inode);
    return inode;
  }

  private hasXattrs(inode: CachedInode): boolean {
    inode.hasXattrs ??= this.xattrs.hasAny(inode.ino);
    return inode.hasXattrs;
  }

  private freeAll(extents: readonly Extent[], ownerIno: number): void {
    for (const { regionPage, pageCount } of extents) {
      this.allocator.free({ page: regionPage, pageCount }, ownerIno);
    }
  }

  private change(inode: Inode): ExtentList {
    const list = this.extents(inode);
    const cached = liveInode(inode);
    this.touch(cached);
    cached.isSettled = false;
    return list;
  }

  private touch(inode: CachedInode): void {
    if (inode.dirty) return;
    inode.dirty = true;
    this.dirtyInodes.add(inode);
  }

  private count(): void {
    if (this.records === 0) this.onDirty?.();
    this.records++;
    this.recordsInOperation++;
  }
}

function liveInode(inode: Inode): CachedInode {
  assert(inode instanceof CachedInode && inode.live, `inode ${inode.ino} is gone`);
  return inode;
}
