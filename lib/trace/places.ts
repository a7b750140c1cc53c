/**
 * Which file shows a page of the region, at one position of a trace: the extents of its base, then
 * every change of them as the events go by. For words about stores and flushes, which say where in
 * the region they were. Of a page that was freed the last file is remembered.
 */
import type { MetadataRecord } from '../metadata/records.js';
import { openDatabaseBytes } from '../metadata/schema.js';
import { PAGE_BYTES, pageOf } from '../units.js';
import type { TraceEvent } from './event.js';
import type { BaseImage } from './source.js';

/** A byte of a file. */
export interface FilePlace {
  ino: number;
  offset: number;
}

interface FilePage {
  ino: number;
  filePage: number;
}

interface Run extends FilePage {
  regionPage: number;
  pageCount: number;
}

export class PlaceTracker {
  /** Ascending by region page. */
  private readonly baseRuns: Run[];
  /** By region page: what the trace mapped. */
  private readonly mapped = new Map<number, FilePage>();

  /** At position 0. */
  constructor(base: Pick<BaseImage, 'database'>) {
    const db = openDatabaseBytes(base.database);
    try {
      const columns =
        'ino, file_page AS filePage, region_page AS regionPage, page_count AS pageCount';
      const query = `SELECT ${columns} FROM extent ORDER BY region_page`;
      this.baseRuns = db.prepare(query).all() as Run[];
    } finally {
      db.close();
    }
  }

  /** Takes the events of a trace in their order. */
  observe(event: TraceEvent): void {
    if (event.type === 'metadata') this.apply(event.record);
  }

  /** @param offset in the region. Undefined: no file has had the page. */
  find(offset: number): FilePlace | undefined {
    const regionPage = pageOf(offset);
    const found = this.mapped.get(regionPage) ?? this.inBase(regionPage);
    if (found === undefined) return undefined;
    const inPage = offset - regionPage * PAGE_BYTES;
    return { ino: found.ino, offset: found.filePage * PAGE_BYTES + inPage };
  }

  /** The region page of a file's first page before the first event; undefined: a hole. */
  firstPageInBase(ino: number): number | undefined {
    return this.baseRuns.find((run) => run.ino === ino && run.filePage === 0)?.regionPage;
  }

  private apply(record: MetadataRecord): void {
    if (record.type === 'map') {
      const { ino, filePage, regionPage, pageCount } = record;
      for (let index = 0; index < pageCount; index++) {
        this.mapped.set(regionPage + index, { ino, filePage: filePage + index });
      }
    } else if (record.type === 'shift') {
      this.shift(record.ino, record.fromPage, record.deltaPages);
    }
  }

  private shift(ino: number, fromPage: number, deltaPages: number): void {
    for (const run of this.baseRuns) {
      if (run.ino !== ino) continue;
      for (let index = 0; index < run.pageCount; index++) {
        const page = run.regionPage + index;
        if (this.mapped.has(page)) continue;
        this.mapped.set(page, { ino, filePage: run.filePage + index });
      }
    }
    for (const place of this.mapped.values()) {
      if (place.ino === ino && place.filePage >= fromPage) place.filePage += deltaPages;
    }
  }

  private inBase(regionPage: number): FilePage | undefined {
    let [low, high] = [0, this.baseRuns.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.baseRuns[middle]!.regionPage <= regionPage) low = middle + 1;
      else high = middle;
    }
    const run = this.baseRuns[low - 1];
    if (run === undefined || regionPage >= run.regionPage + run.pageCount) return undefined;
    return { ino: run.ino, filePage: run.filePage + regionPage - run.regionPage };
  }
}
