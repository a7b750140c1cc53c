/**
 * The metadata of an image as immutable versions: what a trace's records make of the base's
 * database, operation by operation. A version costs what its records change; every version of a
 * trace can be asked at any time which inode has which name, size and pages. The databases that a
 * filesystem runs on are made from the same records (database_store.ts).
 *
 * The base's rows are read when they are asked for and kept.
 */
import assert from 'node:assert/strict';
import type Database from 'better-sqlite3';
import { type InodeFields, S_IFDIR, S_IFMT } from '../../metadata/inode.js';
import type { MetadataRecord } from '../../metadata/records.js';
import { type Extent, ExtentList, WRITTEN } from '../../space/extent_list.js';
import { PAGE_BYTES } from '../../units.js';
import { PersistentMap } from './persistent_map.js';

/** Never changed once it is in a version. */
export interface CatalogInode {
  readonly ino: number;
  readonly fields: Readonly<InodeFields>;
  /** Read only. */
  readonly extents: ExtentList;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** A name, as a key: `parent/name`. */
type NameKey = string;

const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

/** Extents of a file above which an index by region page is worth it. */
const SCANNED_MAX = 32;
const byRegion = new WeakMap<ExtentList, Extent[]>();

/** Where a file shows a region page. */
export interface Place {
  inode: CatalogInode;
  filePage: number;
  /** Bytes of the page before the end of the file: 0 when it lies wholly beyond. */
  visibleBytes: number;
}

export const isDirectoryInode = (inode: CatalogInode): boolean =>
  (inode.fields.mode & S_IFMT) === S_IFDIR;

const nameKey = (parentIno: number, name: string): NameKey => `${parentIno}/${name}`;

export class Catalog {
  private constructor(
    readonly base: CatalogBase,
    /** Inodes that differ from the base; null: gone. */
    readonly inodes: PersistentMap<number, CatalogInode | null>,
    /** Names that differ from the base; 0: gone. */
    readonly names: PersistentMap<NameKey, number>,
  ) {}

  static of(base: CatalogBase): Catalog {
    return new Catalog(base, PersistentMap.none(), PersistentMap.none());
  }

  inode(ino: number): CatalogInode | undefined {
    const changed = this.inodes.get(ino);
    return changed === undefined ? this.base.inode(ino) : (changed ?? undefined);
  }

  lookup(parentIno: number, name: string): number | undefined {
    const changed = this.names.get(nameKey(parentIno, name));
    return changed === undefined ? this.base.lookup(parentIno, name) : changed || undefined;
  }

  /** The version after one record, which must fit this one. */
  apply(record: MetadataRecord): Catalog {
    switch (record.type) {
      case 'create-inode': {
        const { ino, fields } = record;
        return this.withInode(ino, { ino, fields, extents: new ExtentList(), xattrs: NO_XATTRS });
      }
      case 'set-inode': {
        const inode = this.existing(record.ino);
        return this.withInode(record.ino, {
          ...inode,
          fields: { ...inode.fields, ...record.patch },
        });
      }
      case 'remove-inode':
        return this.withInode(record.ino, null);
      case 'add-name':
      case 'replace-name':
        return this.withName(nameKey(record.parentIno, record.name), record.ino);
      case 'remove-name':
        return this.withName(nameKey(record.parentIno, record.name), 0);
      case 'set-xattr':
      case 'remove-xattr': {
        const inode = this.existing(record.ino);
        const xattrs = new Map(inode.xattrs);
        if (record.type === 'set-xattr') xattrs.set(record.name, record.value);
        else xattrs.delete(record.name);
        return this.withInode(record.ino, { ...inode, xattrs });
      }
      case 'map':
      case 'unmap':
      case 'shift':
        return this.withExtents(record);
      case 'end-operation':
        return this;
    }
  }

  /** Whether a directory has no names. */
  isEmpty(directoryIno: number): boolean {
    const prefix = nameKey(directoryIno, '');
    for (const [key, , ino] of PersistentMap.none<NameKey, number>().differences(this.names)) {
      if (ino !== 0 && key.startsWith(prefix)) return false;
    }
    return this.base.namesIn(directoryIno).every((key) => this.names.get(key) === 0);
  }

  /** Where written pages of files show `regionPage`; a page with two owners is a bug's. */
  places(regionPage: number, candidates: Iterable<number>): Place[] {
    const places: Place[] = [];
    for (const ino of candidates) {
      const inode = this.inode(ino);
      if (inode === undefined || inode.fields.nlink === 0) continue;
      const filePage = filePageOf(inode, regionPage);
      if (filePage === undefined) continue;
      const visibleBytes = visibleBytesOf(inode, filePage);
      if (visibleBytes > 0) places.push({ inode, filePage, visibleBytes });
    }
    return places;
  }

  private existing(ino: number): CatalogInode {
    const inode = this.inode(ino);
    assert(inode !== undefined, `a record names inode ${ino}, which is not there`);
    return inode;
  }

  withInode(ino: number, inode: CatalogInode | null): Catalog {
    return new Catalog(this.base, this.inodes.set(ino, inode), this.names);
  }

  private withName(key: NameKey, ino: number): Catalog {
    return new Catalog(this.base, this.inodes, this.names.set(key, ino));
  }

  private withExtents(record: MetadataRecord & { type: 'map' | 'unmap' | 'shift' }): Catalog {
    const inode = this.existing(record.ino);
    const extents = new ExtentList([...inode.extents]);
    if (record.type === 'shift') {
      extents.shift(record.fromPage, record.deltaPages);
    } else {
      const { filePage, pageCount } = record;
      extents.remove(filePage, filePage + pageCount);
      if (record.type === 'map') {
        const { regionPage, state } = record;
        extents.insert({ filePage, regionPage, pageCount, state });
      }
    }
    return this.withInode(record.ino, { ...inode, extents });
  }
}

/** The base image's rows. */
export class CatalogBase {
  private readonly inodes = new Map<number, CatalogInode | undefined>();
  private readonly names = new Map<NameKey, number | undefined>();
  private owners: BaseOwners | undefined;

  /** @param db the base's database; stays open as long as this is used */
  constructor(private readonly db: Database.Database) {}

  inode(ino: number): CatalogInode | undefined {
    if (!this.inodes.has(ino)) this.inodes.set(ino, this.load(ino));
    return this.inodes.get(ino);
  }

  lookup(parentIno: number, name: string): number | undefined {
    const key = nameKey(parentIno, name);
    if (!this.names.has(key)) {
      const select = 'SELECT ino FROM name WHERE parent_ino = ? AND name = ?';
      this.names.set(key, this.db.prepare(select).pluck().get(parentIno, name) as number);
    }
    return this.names.get(key);
  }

  namesIn(directoryIno: number): NameKey[] {
    const select = this.db.prepare('SELECT name FROM name WHERE parent_ino = ?').pluck();
    return (select.all(directoryIno) as string[]).map((name) => nameKey(directoryIno, name));
  }

  /** The inode that maps a region page. */
  owner(regionPage: number): number | undefined {
    this.owners ??= loadOwners(this.db);
    const { firstPages, endPages, inos } = this.owners;
    let low = 0;
    let high = firstPages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (endPages[middle]! <= regionPage) low = middle + 1;
      else high = middle;
    }
    return low < firstPages.length && firstPages[low]! <= regionPage ? inos[low] : undefined;
  }

  private load(ino: number): CatalogInode | undefined {
    const row = this.db.prepare('SELECT * FROM inode WHERE ino = ?').get(ino);
    if (row === undefined) return undefined;
    const extents = this.db
      .prepare(
        `SELECT file_page AS filePage, region_page AS regionPage, page_count AS pageCount, state
         FROM extent WHERE ino = ? ORDER BY file_page`,
      )
      .all(ino) as Extent[];
    const xattrs = this.db.prepare('SELECT name, value FROM xattr WHERE ino = ?').raw().all(ino);
    return {
      ino,
      fields: fieldsOf(row as Record<string, number | string | null>),
      extents: new ExtentList(extents),
      xattrs: new Map(xattrs as [string, Uint8Array][]),
    };
  }
}

/** Extents in order of region page. */
interface BaseOwners {
  firstPages: Float64Array;
  endPages: Float64Array;
  inos: Float64Array;
}

function loadOwners(db: Database.Database): BaseOwners {
  const rows = db
    .prepare('SELECT region_page, region_page + page_count, ino FROM extent ORDER BY region_page')
    .raw()
    .all() as [number, number, number][];
  return {
    firstPages: Float64Array.from(rows, ([page]) => page),
    endPages: Float64Array.from(rows, ([, endPage]) => endPage),
    inos: Float64Array.from(rows, ([, , ino]) => ino),
  };
}

/** snake_case columns to camelCase fields. */
function fieldsOf(row: Record<string, number | string | null>): InodeFields {
  const fields: Record<string, unknown> = {};
  for (const [column, value] of Object.entries(row)) {
    if (column === 'ino') continue;
    fields[column.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())] = value;
  }
  return fields as unknown as InodeFields;
}

/** The extent of `inode`, in either state, that maps something to a region page. */
export function extentOf(inode: CatalogInode, regionPage: number): Extent | undefined {
  const { extents } = inode;
  if (extents.length <= SCANNED_MAX) return scan(extents, regionPage);
  let sorted = byRegion.get(extents);
  if (sorted === undefined) {
    sorted = [...extents].sort((a, b) => a.regionPage - b.regionPage);
    byRegion.set(extents, sorted);
  }
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const extent = sorted[middle]!;
    if (extent.regionPage + extent.pageCount <= regionPage) low = middle + 1;
    else high = middle;
  }
  const found = sorted[low];
  return found !== undefined && found.regionPage <= regionPage ? found : undefined;
}

function scan(extents: ExtentList, regionPage: number): Extent | undefined {
  for (const extent of extents) {
    if (regionPage < extent.regionPage) continue;
    if (regionPage < extent.regionPage + extent.pageCount) return extent;
  }
  return undefined;
}

/** The file page that a written extent of `inode` maps to a region page. */
export function filePageOf(inode: CatalogInode, regionPage: number): number | undefined {
  const extent = extentOf(inode, regionPage);
  if (extent === undefined || extent.state !== WRITTEN) return undefined;
  return extent.filePage + regionPage - extent.regionPage;
}

/** Bytes of a file page before the end of the file. */
export function visibleBytesOf(inode: CatalogInode, filePage: number): number {
  const before = inode.fields.sizeBytes - filePage * PAGE_BYTES;
  return Math.max(0, Math.min(PAGE_BYTES, before));
}
