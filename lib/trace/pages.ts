/**
 * The pages of a base image: those a trace lists, and what all others hold. Pages that an extent
 * maps are zeroes when they are not listed; free ones are canaries of nobody, so that whoever is
 * shown one is found out.
 */
import { canaryPage } from '../canary.js';
import { openDatabaseBytes } from '../metadata/schema.js';
import { PAGE_BYTES } from '../units.js';
import type { BaseImage } from './source.js';

const CACHED_PAGES_MAX = 1024;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/** Runs of region pages, ascending, not touching each other's. */
export class PageRuns {
  constructor(readonly runs: readonly { page: number; pageCount: number }[]) {}

  has(page: number): boolean {
    let low = 0;
    let high = this.runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.runs[middle]!.page <= page) low = middle + 1;
      else high = middle;
    }
    const run = this.runs[low - 1];
    return run !== undefined && page < run.page + run.pageCount;
  }
}

/** The region pages that the extents of a serialized database map, in either state. */
export function mappedPages(database: Uint8Array): PageRuns {
  const db = openDatabaseBytes(database);
  try {
    const select = 'SELECT region_page AS page, page_count AS pageCount FROM extent ORDER BY page';
    return new PageRuns(db.prepare(select).all() as { page: number; pageCount: number }[]);
  } finally {
    db.close();
  }
}

export interface BaseParts {
  pageCount: number;
  uuid: string;
  database: Uint8Array;
  /** Reads a page that is listed; undefined for others. The bytes are the caller's. */
  listed: (regionPage: number) => Buffer | undefined;
}

/** Pages as SPEC.md says; the ones used last stay in memory. */
export class PagedBase implements BaseImage {
  readonly pageCount: number;
  readonly uuid: string;
  readonly database: Uint8Array;
  private readonly listed: BaseParts['listed'];
  private readonly mapped: PageRuns;
  /** In the order of their last use. */
  private readonly cache = new Map<number, Buffer>();

  constructor(parts: BaseParts) {
    this.pageCount = parts.pageCount;
    this.uuid = parts.uuid;
    this.database = parts.database;
    this.listed = parts.listed;
    this.mapped = mappedPages(parts.database);
  }

  page(regionPage: number): Uint8Array {
    let bytes = this.cache.get(regionPage);
    if (bytes === undefined) {
      bytes = this.make(regionPage);
      // Zeroes are shared, and need no room.
      if (bytes === ZERO_PAGE) return bytes;
      if (this.cache.size >= CACHED_PAGES_MAX) {
        this.cache.delete(this.cache.keys().next().value as number);
      }
    } else {
      this.cache.delete(regionPage);
    }
    this.cache.set(regionPage, bytes);
    return bytes;
  }

  private make(regionPage: number): Buffer {
    if (!(regionPage >= 0 && regionPage < this.pageCount)) {
      throw new RangeError(`region page ${regionPage} of ${this.pageCount}`);
    }
    const listed = this.listed(regionPage);
    if (listed !== undefined) return listed;
    if (regionPage === 0 || this.mapped.has(regionPage)) return ZERO_PAGE;
    return canaryPage(Buffer.alloc(PAGE_BYTES), regionPage, 0);
  }
}
