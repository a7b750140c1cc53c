/**
 * A trace folded up to a position: the pages (page_history.ts), the operations with the metadata
 * after each (catalog.ts), what was committed, what was acknowledged. Events go in, in order; the
 * persistence model that is explored (models/) says at which of them stores become durable and
 * which operations are still undecided.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { MetadataRecord } from '../../metadata/records.js';
import type { MetadataEvent, TraceEvent } from '../../trace/event.js';
import type { BaseImage } from '../../trace/source.js';
import { Catalog, CatalogBase, filePageOf } from './catalog.js';
import { openDatabaseBytes } from '../../metadata/schema.js';
import { PageHistories } from './page_history.js';
import { PAGE_BYTES } from '../../units.js';
import { Tenures } from './tenure.js';

const ZEROES = new Uint8Array(PAGE_BYTES);

/** A group of metadata records that is kept or lost as one. */
export interface Operation {
  /** Number in the trace; see StateChoice. */
  number: number;
  callId: number;
  /** Position after its `end-operation`. */
  position: number;
}

/** With what it did. */
export interface FoldOperation extends Operation {
  readonly records: readonly MetadataRecord[];
  /** Position after its first record. */
  readonly firstPosition: number;
}

export class Fold {
  readonly pages: PageHistories;
  readonly owners: PageOwners;
  /** Events taken. */
  position = 0;
  /** Lines that the program had printed or marked. */
  readonly acknowledged: string[] = [];
  lastCallId = 0;
  /** Operations below this number were committed. */
  committedCount = 0;
  private readonly log: FoldOperation[] = [];
  /** catalogs[n]: after the first n operations; keys likewise. */
  private readonly catalogs: Catalog[];
  private readonly keys: string[];
  private group: MetadataRecord[] = [];
  private groupPosition = 0;
  private current: Catalog;
  private separated: Tenures | undefined;

  constructor(readonly base: BaseImage) {
    const catalogBase = new CatalogBase(openDatabaseBytes(base.database));
    this.pages = new PageHistories((key) => this.basePage(key));
    this.owners = new PageOwners(catalogBase);
    this.current = Catalog.of(catalogBase);
    this.catalogs = [this.current];
    this.keys = [createHash('sha256').update(base.database).digest('hex')];
  }

  /**
   * From here on pages are keyed by their use (tenure.ts), and what was not written in a use reads
   * as zeroes. Before the first event.
   */
  separateTenures(): void {
    assert(this.position === 0);
    this.separated = new Tenures(this.base.pageCount);
  }

  get tenures(): Tenures | undefined {
    return this.separated;
  }

  /** Uses of pages that ended in operations below `number` are seen in no later state. */
  retireTenures(number: number): void {
    const ended = this.separated?.ended ?? [];
    const keep = ended.findIndex(({ operation }) => operation >= number);
    for (const { key } of ended.splice(0, keep < 0 ? ended.length : keep)) this.pages.retire(key);
  }

  /** Complete operations so far. */
  get operationCount(): number {
    return this.log.length;
  }

  operation(number: number): FoldOperation {
    const operation = this.log[number];
    assert(operation !== undefined, `there is no operation ${number}`);
    return operation;
  }

  /** Operations [from, to). */
  operations(from: number, to: number = this.log.length): FoldOperation[] {
    return this.log.slice(from, to);
  }

  /** The metadata after the first `count` operations. */
  catalog(count: number): Catalog {
    return this.catalogs[count]!;
  }

  /** Identity of that metadata. */
  key(count: number): string {
    return this.keys[count]!;
  }

  /** Takes the next event, but for what makes stores durable: that is the model's. */
  take(event: TraceEvent): void {
    this.position++;
    if ('callId' in event && event.callId !== 0) this.lastCallId = event.callId;
    switch (event.type) {
      case 'store':
        this.pages.store(this.position, event, (page) => this.separated?.key(page) ?? page);
        return;
      case 'flush':
        this.pages.flush(this.position, event);
        return;
      case 'canary':
        if (this.separated === undefined) this.pages.canary(this.position, event);
        return;
      case 'metadata':
        this.takeRecord(event);
        return;
      case 'commit':
        // A commit ends the group that is open, whether the recording said so or not.
        this.endGroup(event.callId);
        this.committedCount = this.log.length;
        this.separated?.commit();
        return;
      case 'output':
        this.acknowledged.push(...event.lines);
    }
  }

  private takeRecord({ record, callId }: MetadataEvent): void {
    if (record.type === 'end-operation') {
      this.endGroup(callId);
      return;
    }
    if (this.group.length === 0) this.groupPosition = this.position;
    const number = this.log.length;
    const records = this.separated?.translate(record, this.current, number) ?? [record];
    for (const each of records) {
      this.group.push(each);
      this.current = this.current.apply(each);
      if (each.type === 'map') this.owners.note(each, this.current);
    }
  }

  private basePage(key: number): Uint8Array {
    const { base, separated } = this;
    if (separated === undefined) return base.page(key);
    const catalog = this.catalogs[0]!;
    const owner = key < base.pageCount ? catalog.base.owner(key) : undefined;
    const inode = owner === undefined ? undefined : catalog.inode(owner);
    const isWritten = inode !== undefined && filePageOf(inode, key) !== undefined;
    return isWritten ? base.page(key) : ZEROES;
  }

  private endGroup(callId: number): void {
    if (this.group.length === 0) return;
    const { position } = this;
    const number = this.log.length;
    const records = this.group;
    this.group = [];
    this.log.push({ number, callId, position, records, firstPosition: this.groupPosition });
    this.catalogs.push(this.current);
    this.keys.push(chainKey(this.keys[number]!, records));
  }
}

/** Identity of metadata after one operation more. */
export function chainKey(key: string, records: readonly MetadataRecord[]): string {
  const hash = createHash('sha256').update(key);
  for (const record of records) hash.update(digestOf(record));
  return hash.digest('hex');
}

/** Of records that are there already: most states apply the same thousands again. */
const digests = new WeakMap<MetadataRecord, Buffer>();

function digestOf(record: MetadataRecord): Buffer {
  let digest = digests.get(record);
  if (digest === undefined) {
    digest = createHash('sha256').update(JSON.stringify(record, binaryAsHex)).digest();
    digests.set(record, digest);
  }
  return digest;
}

function binaryAsHex(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

/** Which inodes may map a region page in some version of the metadata that can still be chosen. */
export class PageOwners {
  private readonly later = new Map<number, number[]>();

  constructor(private readonly base: CatalogBase) {}

  candidates(regionPage: number): number[] {
    const owner = this.base.owner(regionPage);
    const later = this.later.get(regionPage) ?? [];
    return owner === undefined || later.includes(owner) ? later : [owner, ...later];
  }

  note(extent: { ino: number; regionPage: number; pageCount: number }, now: Catalog): void {
    const { ino, regionPage } = extent;
    for (let page = regionPage; page < regionPage + extent.pageCount; page++) {
      const inos = this.later.get(page);
      if (inos === undefined) this.later.set(page, [ino]);
      else if (!inos.includes(ino)) {
        // Long gone owners of a page that is reused all the time.
        const known = inos.length < 16 ? inos : inos.filter((other) => now.inode(other));
        this.later.set(page, [...known, ino]);
      }
    }
  }
}
