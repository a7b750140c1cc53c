/**
 * Applies operations to metadata that some earlier operations are missing from: what a model makes
 * of a choice that loses one operation and keeps a later one. An operation is applied whole or not
 * at all. It is not applied when it makes no sense there: a name in a directory that is not there
 * or has no name, removal of a name that is not there or names another inode, creation of a name
 * that is there, removal or replacement of a directory that is not empty, a directory moved into
 * itself. A rename of an inode whose name is not there is applied: it implies the creation.
 *
 * Link counts, parents and what is removed with the last name follow the names that are there, not
 * the records. The records that come out fit the metadata they start from, one after the other.
 */
import { S_IFDIR, S_IFMT } from '../../metadata/inode.js';
import type { MetadataRecord } from '../../metadata/records.js';
import { type Catalog, type CatalogInode, extentOf, isDirectoryInode } from './catalog.js';
import type { Fold, FoldOperation } from './fold.js';

const DEPTH_MAX = 10_000;

type NameRecord = MetadataRecord & { type: 'add-name' | 'replace-name' | 'remove-name' };

/** A name record with the inode it is about, as the recording saw it. */
interface NameChange {
  readonly record: NameRecord;
  /** Which the name shows afterwards; of a removal, which it showed. */
  readonly ino: number;
  /** A rename: the inode loses one name and gets another. */
  readonly isMove: boolean;
}

export class Replay {
  readonly records: MetadataRecord[] = [];
  /** Inodes that operations kept will name. */
  private readonly needed = new Set<number>();
  /** Region pages after the last one of the base, by the use that was put there. */
  private readonly elsewhere = new Map<number, number>();
  private readonly links = new Map<number, number>();

  /**
   * @param catalog what the first operation of `tail` was made on, nothing lost
   * @param tail operations from there on, some of them lost
   */
  constructor(
    private readonly fold: Fold,
    public catalog: Catalog,
    tail: readonly FoldOperation[],
    lost: ReadonlySet<number>,
  ) {
    for (const { number, records } of tail) {
      if (lost.has(number)) continue;
      for (const record of records) {
        if (record.type === 'add-name' || record.type === 'replace-name')
          this.needed.add(record.ino);
      }
    }
    for (const operation of tail) {
      if (lost.has(operation.number) || !this.apply(operation)) this.applyImplied(operation);
    }
  }

  /** @returns false when it makes no sense here; nothing is changed then */
  private apply(operation: FoldOperation): boolean {
    const changes = this.nameChanges(operation);
    const created = new Set<number>();
    for (const record of operation.records) {
      if (record.type === 'create-inode') created.add(record.ino);
    }
    if (!changes.every((change) => this.makesSense(change, created))) return false;
    for (const record of operation.records) if (record.type === 'create-inode') this.create(record);
    for (const change of changes) this.applyName(change);
    this.recount(changes);
    const after = this.fold.catalog(operation.number + 1);
    for (const record of operation.records) this.applyOther(record, after);
    return true;
  }

  /** Inodes made by an operation that was lost, as far as one that was kept names them. */
  private applyImplied({ records }: FoldOperation): void {
    for (const record of records) {
      if (record.type === 'create-inode' && this.needed.has(record.ino)) this.create(record);
    }
  }

  /** Of the region that the records need. */
  get pageCount(): number {
    return this.fold.base.pageCount + this.elsewhere.size;
  }

  /** The page of the fold that a region page of the state shows. */
  pageKey(regionPage: number): number {
    const { tenures, base } = this.fold;
    if (regionPage >= base.pageCount) {
      for (const [key, page] of this.elsewhere) if (page === regionPage) return key;
    }
    if (tenures?.isReused(regionPage) !== true) return regionPage;
    const keys = tenures.keysOf(regionPage);
    return keys.find((key) => this.isAtHome(key)) ?? keys[0]!;
  }

  /** The region page of the state that shows a page of the fold. */
  regionPage(key: number): number {
    return this.elsewhere.get(key) ?? this.fold.tenures?.page(key) ?? key;
  }

  private emit(record: MetadataRecord): void {
    if (record.type === 'map') this.placeRun(record);
    else this.records.push(record);
    this.catalog = this.catalog.apply(record);
  }

  /** Puts pages that the state uses twice, and the recording one after the other, elsewhere. */
  private placeRun(record: MetadataRecord & { type: 'map' }): void {
    const runs: (MetadataRecord & { type: 'map' })[] = [];
    for (let index = 0; index < record.pageCount; index++) {
      const regionPage = this.place(record.regionPage + index);
      const last = runs.at(-1);
      if (last !== undefined && last.regionPage + last.pageCount === regionPage) last.pageCount++;
      else runs.push({ ...record, filePage: record.filePage + index, regionPage, pageCount: 1 });
    }
    const isAsRecorded = runs.length === 1 && runs[0]!.regionPage === record.regionPage;
    this.records.push(...(isAsRecorded ? [record] : runs));
  }

  private place(key: number): number {
    const { tenures } = this.fold;
    if (tenures === undefined) return key;
    const page = tenures.page(key);
    const placed = this.elsewhere.get(key);
    if (placed !== undefined || !tenures.isReused(page)) return placed ?? page;
    const isTaken = tenures.keysOf(page).some((other) => other !== key && this.isAtHome(other));
    if (!isTaken) return page;
    this.elsewhere.set(key, this.pageCount);
    return this.regionPage(key);
  }

  /** Whether the state maps this use of a page, at the page itself. */
  private isAtHome(key: number): boolean {
    if (this.elsewhere.has(key)) return false;
    return this.fold.owners.candidates(key).some((ino) => {
      const inode = this.catalog.inode(ino);
      return inode !== undefined && extentOf(inode, key) !== undefined;
    });
  }

  private create(record: MetadataRecord & { type: 'create-inode' }): void {
    this.emit({ ...record, fields: { ...record.fields, nlink: 0 } });
  }

  private nameChanges(operation: FoldOperation): NameChange[] {
    const before = this.fold.catalog(operation.number);
    const removed = new Set<number>();
    const found: { record: NameRecord; ino: number }[] = [];
    for (const record of operation.records) {
      if (record.type === 'remove-name') {
        const ino = before.lookup(record.parentIno, record.name) ?? 0;
        removed.add(ino);
        found.push({ record, ino });
      } else if (record.type === 'add-name' || record.type === 'replace-name') {
        found.push({ record, ino: record.ino });
      }
    }
    const added = new Set(
      found.flatMap(({ record, ino }) => (record.type === 'remove-name' ? [] : ino)),
    );
    return found.map((change) => ({
      ...change,
      isMove: removed.has(change.ino) && added.has(change.ino),
    }));
  }

  private makesSense({ record, ino, isMove }: NameChange, created: ReadonlySet<number>): boolean {
    const { parentIno, name } = record;
    const parent = this.catalog.inode(parentIno);
    if (parent === undefined || parent.fields.nlink === 0) return false;
    const existing = this.catalog.lookup(parentIno, name);
    if (record.type === 'remove-name') {
      if (isMove) return existing === undefined || existing === ino;
      return existing === ino && this.isRemovable(ino);
    }
    if (!created.has(ino) && this.catalog.inode(ino) === undefined) return false;
    if (record.type === 'add-name' && !isMove) return existing === undefined;
    if (this.isInside(parentIno, ino)) return false;
    if (isMove) return existing === undefined || this.isReplaceable(existing, ino);
    // An exchange: both names as they were, to be told by the one that is replaced.
    return existing !== undefined;
  }

  private isRemovable(ino: number): boolean {
    const inode = this.catalog.inode(ino);
    return inode !== undefined && (!isDirectoryInode(inode) || this.catalog.isEmpty(ino));
  }

  private isReplaceable(existing: number, byIno: number): boolean {
    const old = this.catalog.inode(existing);
    const moving = this.catalog.inode(byIno);
    if (old === undefined || moving === undefined) return false;
    if (isDirectoryInode(old) !== isDirectoryInode(moving)) return false;
    return this.isRemovable(existing);
  }

  /** Whether a directory is `ino` or below it. */
  private isInside(directoryIno: number, ino: number): boolean {
    for (let at = directoryIno, depth = 0; depth < DEPTH_MAX; depth++) {
      if (at === ino) return true;
      const parentIno = this.catalog.inode(at)?.fields.parentIno ?? at;
      if (parentIno === at) return false;
      at = parentIno;
    }
    return true;
  }

  private applyName({ record, ino }: NameChange): void {
    const { parentIno, name } = record;
    const existing = this.catalog.lookup(parentIno, name);
    if (existing !== undefined) this.link(existing, parentIno, -1);
    if (record.type === 'remove-name') {
      if (existing !== undefined) this.emit({ type: 'remove-name', parentIno, name });
      return;
    }
    const type = existing === undefined ? 'add-name' : 'replace-name';
    this.emit({ type, parentIno, name, ino });
    this.link(ino, parentIno, 1);
  }

  /** Counts a name more or less; a directory counts in its parent too. */
  private link(ino: number, parentIno: number, delta: 1 | -1): void {
    this.links.set(ino, (this.links.get(ino) ?? 0) + delta);
    const inode = this.catalog.inode(ino)!;
    if (!isDirectoryInode(inode)) return;
    const parent = this.catalog.inode(parentIno)!;
    this.set(parent, { nlink: parent.fields.nlink + delta });
    if (delta > 0) this.set(inode, { parentIno });
  }

  private recount(changes: readonly NameChange[]): void {
    if (changes.length === 0) return;
    for (const [ino, delta] of this.links) {
      const inode = this.catalog.inode(ino)!;
      if (delta === 0) continue;
      const { mode, nlink } = inode.fields;
      const isDirectory = (mode & S_IFMT) === S_IFDIR;
      this.set(inode, { nlink: isDirectory ? (delta > 0 ? 2 : 0) : nlink + delta });
    }
    this.links.clear();
  }

  private set({ ino }: CatalogInode, patch: { nlink?: number; parentIno?: number }): void {
    this.emit({ type: 'set-inode', ino, patch });
  }

  /** @param after the metadata that the recording had after the operation */
  private applyOther(record: MetadataRecord, after: Catalog): void {
    if (!('ino' in record)) return;
    const inode = this.catalog.inode(record.ino);
    if (inode === undefined) return;
    // What was done to an inode without names must not be seen when it has one here.
    const wasUnnamed = (after.inode(record.ino)?.fields.nlink ?? 0) === 0;
    if (wasUnnamed && inode.fields.nlink > 0) return;
    switch (record.type) {
      case 'set-inode': {
        const { nlink, parentIno, ...patch } = record.patch;
        const isWhole = nlink === undefined && parentIno === undefined;
        if (isWhole) this.emit(record);
        else if (Object.keys(patch).length > 0) this.emit({ ...record, patch });
        return;
      }
      case 'remove-inode':
        if (inode.fields.nlink === 0) this.emit(record);
        return;
      case 'remove-xattr':
        if (inode.xattrs.has(record.name)) this.emit(record);
        return;
      case 'set-xattr':
      case 'map':
      case 'unmap':
      case 'shift':
        this.emit(record);
    }
  }
}
