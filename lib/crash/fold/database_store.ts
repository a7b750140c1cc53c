/**
 * Databases of metadata versions: the base's database with the records of the operations kept,
 * applied by the code that made them. Built from the nearest version below that is still here, so
 * that going through a trace costs as much as its records.
 */
import { Metadata } from '../../metadata/metadata.js';
import { applyRecord, type MetadataRecord } from '../../metadata/records.js';
import { Allocator, type FreedRun } from '../../space/allocator.js';
import type { Fold } from './fold.js';
import { openDatabaseBytes } from '../../metadata/schema.js';

const CACHE_BYTES_MAX = 128 * 1024 * 1024;
const CACHED_MAX = 256;
/**
 * Operations between two versions that are made for states that lose some operation in between:
 * those share all that comes before it, whichever one they lose.
 */
const PREFIX_STEP = 32;

/** Metadata to be built: the first operations of the trace, then records that fit there. */
export interface MetadataPlan {
  /** Operations [0, prefix) are kept. */
  readonly prefix: number;
  /** What operations after them, of which some are lost, still do; empty when none is kept. */
  readonly tail: readonly MetadataRecord[];
  readonly key: string;
  /** Of the state's region: more than the base's when pages had to be put elsewhere. */
  readonly pageCount: number;
}

export class DatabaseStore {
  /** By key; the most recently used last. */
  private readonly cache = new Map<string, { bytes: Uint8Array; prefix: number | undefined }>();
  private cachedBytes = 0;

  constructor(private readonly fold: Fold) {}

  database(plan: MetadataPlan): Uint8Array {
    const { key, prefix, tail } = plan;
    const cached = this.cache.get(key);
    if (cached !== undefined) {
      this.cache.delete(key);
      this.cache.set(key, cached);
      return cached.bytes;
    }
    if (prefix === 0 && tail.length === 0) return this.fold.base.database;
    const shared = prefix - (prefix % PREFIX_STEP);
    if (tail.length > 0 && shared > 0) {
      const { pageCount } = this.fold.base;
      this.database({ prefix: shared, tail: [], key: this.fold.key(shared), pageCount });
    }
    const from = this.nearest(prefix);
    const records: MetadataRecord[] = [];
    for (const operation of this.fold.operations(from.prefix, prefix)) {
      for (const record of operation.records) records.push(this.onRegion(record));
    }
    records.push(...tail);
    const bytes = records.length === 0 ? from.bytes : build(from.bytes, records, plan.pageCount);
    this.keep(key, bytes, tail.length === 0 ? prefix : undefined);
    return bytes;
  }

  /** Uses of pages are by key in the fold; with nothing lost a page has one use at a time. */
  private onRegion(record: MetadataRecord): MetadataRecord {
    const { tenures } = this.fold;
    if (record.type !== 'map' || tenures === undefined) return record;
    return { ...record, regionPage: tenures.page(record.regionPage) };
  }

  private nearest(prefix: number): { bytes: Uint8Array; prefix: number } {
    let best = { bytes: this.fold.base.database, prefix: 0 };
    for (const { bytes, prefix: cached } of this.cache.values()) {
      if (cached === undefined || cached > prefix || cached < best.prefix) continue;
      best = { bytes, prefix: cached };
    }
    return best;
  }

  private keep(key: string, bytes: Uint8Array, prefix: number | undefined): void {
    this.cache.set(key, { bytes, prefix });
    this.cachedBytes += bytes.length;
    for (const [oldKey, old] of this.cache) {
      const isFull = this.cachedBytes > CACHE_BYTES_MAX || this.cache.size > CACHED_MAX;
      if (!isFull || oldKey === key) break;
      this.cache.delete(oldKey);
      this.cachedBytes -= old.bytes.length;
    }
  }
}

function build(
  from: Uint8Array,
  records: readonly MetadataRecord[],
  pageCount: number,
): Uint8Array {
  const db = openDatabaseBytes(from);
  try {
    const metadata = new Metadata(db, { allocator: new RecordedPages(pageCount) });
    for (const record of records) applyRecord(metadata, record);
    metadata.endOperation();
    metadata.commit();
    db.prepare('UPDATE image SET page_count = ?').run(pageCount);
    return db.serialize();
  } finally {
    db.close();
  }
}

/** Which pages are free was decided by the recording, rightly or, with a bug switched on, wrongly. */
class RecordedPages extends Allocator {
  override readonly pageCount: number;

  constructor(pageCount: number) {
    super(2);
    this.pageCount = pageCount;
  }

  override markUsed(): boolean {
    return true;
  }

  override free(): void {
    // Nothing is handed out here.
  }

  override releaseBusy(): FreedRun[] {
    return [];
  }
}
