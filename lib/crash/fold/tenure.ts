/**
 * Uses of region pages told apart. A page that a commit made free and that another file got is two
 * pages to a model that may lose what freed it long before: each use, its tenure, has a key of its
 * own, page + pageCount * generation. Extents, stores and versions of the fold are by key then.
 *
 * A tenure ends at the commit after the page was unmapped, and when a written page becomes an
 * unwritten one (its bytes must not be seen again).
 */
import type { MetadataRecord } from '../../metadata/records.js';
import { type Extent, UNWRITTEN, WRITTEN } from '../../space/extent_list.js';
import type { Catalog } from './catalog.js';

export class Tenures {
  private readonly generations = new Map<number, number>();
  /** Unmapped since the last commit. */
  private freed: number[] = [];
  /** Keys that ended, with the number of the operation that ended them, ascending. */
  readonly ended: { key: number; operation: number }[] = [];

  constructor(readonly pageCount: number) {}

  /** The key of a page's present use. */
  key(page: number): number {
    return page + this.pageCount * (this.generations.get(page) ?? 0);
  }

  page(key: number): number {
    return key % this.pageCount;
  }

  /** Keys that a page has had, the newest first. */
  keysOf(page: number): number[] {
    const last = this.generations.get(page) ?? 0;
    return Array.from({ length: last + 1 }, (_, index) => page + this.pageCount * (last - index));
  }

  isReused(page: number): boolean {
    return this.generations.has(page);
  }

  /** A record over keys; a map may become several. @param operation the number it belongs to */
  translate(record: MetadataRecord, catalog: Catalog, operation: number): MetadataRecord[] {
    if (record.type === 'remove-inode') {
      this.free([...(catalog.inode(record.ino)?.extents ?? [])], operation);
      return [record];
    }
    if (record.type !== 'map' && record.type !== 'unmap') return [record];
    const { filePage, pageCount } = record;
    const old = catalog.inode(record.ino)?.extents.slice(filePage, filePage + pageCount) ?? [];
    if (record.type === 'unmap') {
      this.free(old, operation);
      return [record];
    }
    return this.translateMap(record, old, operation);
  }

  /** The pages unmapped before are free, to be used by anybody. */
  commit(): void {
    for (const key of this.freed) if (this.key(this.page(key)) === key) this.end(this.page(key));
    this.freed = [];
  }

  private translateMap(
    record: MetadataRecord & { type: 'map' },
    old: readonly Extent[],
    operation: number,
  ): MetadataRecord[] {
    for (const extent of old) {
      const sameFrom = record.regionPage + extent.filePage - record.filePage;
      const isSame = this.page(extent.regionPage) === sameFrom;
      if (!isSame) {
        this.free([extent], operation);
      } else if (record.state === UNWRITTEN && extent.state === WRITTEN) {
        for (let index = 0; index < extent.pageCount; index++) {
          this.ended.push({ key: extent.regionPage + index, operation });
          this.end(this.page(extent.regionPage + index));
        }
      }
    }
    const records: (MetadataRecord & { type: 'map' })[] = [];
    for (let index = 0; index < record.pageCount; index++) {
      const regionPage = this.key(record.regionPage + index);
      const last = records.at(-1);
      if (last !== undefined && last.regionPage + last.pageCount === regionPage) {
        last.pageCount++;
      } else {
        records.push({ ...record, filePage: record.filePage + index, regionPage, pageCount: 1 });
      }
    }
    return records;
  }

  private free(extents: readonly Extent[], operation: number): void {
    for (const { regionPage, pageCount } of extents) {
      for (let key = regionPage; key < regionPage + pageCount; key++) {
        this.freed.push(key);
        this.ended.push({ key, operation });
      }
    }
  }

  private end(page: number): void {
    this.generations.set(page, (this.generations.get(page) ?? 0) + 1);
  }
}
