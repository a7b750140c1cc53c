/**
 * Power cuts: what they would leave at one moment of a schedule, recovered by the filesystem's own code.
 * Of the lines that are not durable none, the flushed ones or all are kept; of the operations since the
 * last commit each number of first ones. A cut changes nothing: the schedule goes on beside it.
 */
import assert from 'node:assert/strict';
import { NO_BUGS } from '../dax/bugs.js';
import { FileData } from '../dax/file_data.js';
import type { Inode } from '../metadata/inode.js';
import { Metadata } from '../metadata/metadata.js';
import { applyRecord, type MetadataRecord } from '../metadata/records.js';
import type { Region } from '../region.js';
import { Allocator, type FreedRun } from '../space/allocator.js';
import { WRITTEN } from '../space/extent_list.js';
import { PAGE_BYTES, pageOf } from '../units.js';
import { type Content, WORD_BYTES, WORDS_PER_PAGE, wordOf } from './content.js';
import { valueText } from './program.js';
import type { Kept } from './region.js';
import type { Invariant } from './scenario.js';
import { Violation } from './violation.js';
import { type LabFile, prepareDatabase, type World } from './world.js';

/** Which pages are free was decided before the cut, rightly or wrongly. */
class RecordedPages extends Allocator {
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

export interface Cut {
  readonly kept: Kept;
  /** Of the operations since the last commit. */
  readonly operationsKept: number;
  readonly operations: number;
  readonly undecidedPages: readonly number[];
}

export class Recovery {
  private readonly metadata: Metadata;
  private kept: Kept = 'none';
  private operationsKept = 0;
  private readonly fileData: FileData;
  /** Moments that were looked at and held. */
  private readonly seen = new Set<string>();
  /** Cuts looked at. */
  count = 0;

  constructor(private readonly world: World) {
    const allocator = new RecordedPages(world.allocator.pageCount);
    const { db } = prepareDatabase(world.scenario, allocator);
    this.metadata = new Metadata(db, { allocator });
    const { metadata } = this;
    const region = recoveredRegion((page) =>
      world.region.contentAfterCut(page, this.kept, this.operationsKept),
    );
    this.fileData = new FileData({ region, metadata, allocator, bugs: NO_BUGS });
  }

  /**
   * All cuts at this moment, whatever they would leave.
   * @throws {CutViolation}
   */
  check(): void {
    const { world } = this;
    const { watch } = world.scenario;
    const models = [...world.files.values()].map(({ model }) => model.text()).join('\n');
    const moment = `${world.durableText()}\n${world.region.text()}\n${models}`;
    if (this.seen.has(moment)) return;
    const operations = world.pendingOperations();
    const undecidedPages = world.region.undecidedPages();
    const keeps: Kept[] = undecidedPages.length === 0 ? ['none'] : ['none', 'flushed', 'all'];
    for (let operationsKept = 0; operationsKept <= operations.length; operationsKept++) {
      this.recover(operations.slice(0, operationsKept));
      for (const kept of keeps) {
        this.count++;
        this.kept = kept;
        this.operationsKept = operationsKept;
        const cut = { kept, operationsKept, operations: operations.length, undecidedPages };
        this.checkFiles(cut, watch);
      }
    }
    this.seen.add(moment);
  }

  private recover(operations: readonly (readonly MetadataRecord[])[]): void {
    const { metadata, world } = this;
    metadata.rollback();
    const committed = world.log.slice(0, world.log.lastIndexOf('commit') + 1);
    for (const record of committed) if (record !== 'commit') applyRecord(metadata, record);
    for (const records of operations) for (const record of records) applyRecord(metadata, record);
  }

  private checkFiles(cut: Cut, watch: readonly Invariant[] | undefined): void {
    const isWatched = (name: Invariant) => watch === undefined || watch.includes(name);
    const owners = new Map<number, string>();
    for (const file of this.world.files.values()) {
      const inode = this.metadata.existingInode(file.ino);
      if (isWatched('foreign')) this.checkForeign(file, inode, cut, owners);
      if (isWatched('synced') && !file.model.isMoved) this.checkSynced(file, inode, cut);
    }
  }

  private checkForeign(file: LabFile, inode: Inode, cut: Cut, owners: Map<number, string>): void {
    for (const extent of this.metadata.extents(inode)) {
      const { filePage, regionPage, pageCount, state } = extent;
      for (let at = 0; at < pageCount; at++) {
        const page = regionPage + at;
        const owner = owners.get(page);
        if (owner !== undefined) {
          fail('foreign', `region page ${page} belongs to ${owner} and to ${file.name}`, cut);
        }
        owners.set(page, file.name);
        if (state !== WRITTEN) continue;
        const content = this.world.region.contentAfterCut(page, cut.kept, cut.operationsKept);
        const values = [content.fill, ...content.words.values()];
        const foreign = values.find((value) => !file.model.ownValues.has(value));
        if (foreign === undefined) continue;
        fail(
          'foreign',
          `page ${filePage + at} of ${file.name} (region page ${page}) shows ${valueText(foreign)}`,
          cut,
        );
      }
    }
  }

  private checkSynced(file: LabFile, inode: Inode, cut: Cut): void {
    const bytes = Buffer.alloc(WORD_BYTES);
    for (const [at, { values, floor }] of file.model.words) {
      const [page, word] = [Math.floor(at / WORDS_PER_PAGE), at % WORDS_PER_PAGE];
      bytes.fill(0);
      this.fileData.read(inode, page * PAGE_BYTES + word * WORD_BYTES, bytes);
      const value = bytes.readUInt32LE();
      const allowed = values.slice(floor);
      if (allowed.includes(value)) continue;
      fail(
        'synced',
        `page ${page} of ${file.name} holds ${valueText(value)}; synced was ${allowed.map(valueText).join(' or later ')}`,
        cut,
      );
    }
  }
}

/** An invariant that breaks when the power goes now. */
export class CutViolation extends Violation {
  constructor(
    invariant: Invariant,
    message: string,
    readonly cut: Cut,
  ) {
    super(invariant, message);
  }
}

function fail(invariant: Invariant, message: string, cut: Cut): never {
  throw new CutViolation(invariant, `after the power cut ${message}`, cut);
}

export function cutText({ kept, operationsKept, operations, undecidedPages }: Cut): string {
  const lines =
    undecidedPages.length === 0
      ? 'all lines are durable'
      : `of the lines in region page ${undecidedPages.length > 4 ? `${undecidedPages[0]} and ${undecidedPages.length - 1} more` : undecidedPages.join(', ')} that are not durable ${kept === 'flushed' ? 'those that were flushed are' : `${kept} are`} kept`;
  const records =
    operations === 0
      ? 'every operation is committed'
      : `of ${operations} operation${operations === 1 ? '' : 's'} not committed ${operationsKept === 0 ? 'none' : `the first ${operationsKept}`} is kept`;
  return `power is cut: ${lines}; ${records}`;
}

/** Reads what a cut left; nobody writes. */
function recoveredRegion(contentOf: (page: number) => Content): Region {
  const read = (offset: number, target: Uint8Array) => {
    const view = new DataView(target.buffer, target.byteOffset, target.length);
    for (let done = 0; done < target.length; done += WORD_BYTES) {
      const at = offset + done;
      const word = (at % PAGE_BYTES) / WORD_BYTES;
      view.setUint32(done, wordOf(contentOf(pageOf(at)), word), true);
    }
  };
  const refuse = () => assert.fail('a cut is only looked at');
  return {
    pageCount: Infinity,
    read,
    store: refuse,
    storeFlushed: refuse,
    zeroFlushed: refuse,
    copyFlushed: refuse,
    flush: refuse,
    fence: refuse,
    fillCanary: refuse,
    poison: refuse,
    heal: refuse,
    poisonedPages: () => [],
    trackUndecided: refuse,
    undecidedLineCount: () => 0,
    crash: refuse,
    syncHost: refuse,
    close: refuse,
  };
}
