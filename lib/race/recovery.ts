/**
 * Power cuts: what they would leave at one moment of a schedule, recovered by the filesystem's own code.
 * Of the operations since the last commit each number of first ones is kept. Of the lines that are not
 * durable each may be left at any age it has (region.ts), whatever the others are: all subsets. They need
 * not be made one by one, because what is checked looks at one word at a time, and recovery reads none:
 * if every word holds at every age of its line, every subset holds. A cut changes nothing: the schedule
 * goes on beside it.
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
import { type Content, WORD_BYTES, WORDS_PER_PAGE, wordOf, valueText } from './content.js';
import type { Invariant } from './scenario.js';
import { Violation } from './violation.js';
import { prepareDatabase } from './setup.js';
import type { LabFile, World } from './world.js';

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
  /** Of the operations since the last commit. */
  readonly operationsKept: number;
  readonly operations: number;
  /** Lines that were not durable. */
  readonly undecidedLines: number;
  /** The region page that matters, and its age: 0 is what is durable. */
  readonly regionPage: number;
  readonly age: number;
  readonly ages: number;
}

/** What a page may hold; undefined for a page that no choice is about. */
interface Chosen {
  readonly page: number;
  readonly content: Content;
}

export class Recovery {
  private readonly metadata: Metadata;
  private operationsKept = 0;
  private chosen: Chosen | undefined;
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
      page === this.chosen?.page
        ? this.chosen.content
        : world.region.contentsAfterCut(page, this.operationsKept)[0]!,
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
    for (let kept = 0; kept <= operations.length; kept++) {
      this.recover(operations.slice(0, kept));
      this.operationsKept = kept;
      this.count++;
      this.checkFiles(operations.length, watch);
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

  private checkFiles(operations: number, watch: readonly Invariant[] | undefined): void {
    const isWatched = (name: Invariant) => watch === undefined || watch.includes(name);
    const owners = new Map<number, string>();
    for (const file of this.world.files.values()) {
      const inode = this.metadata.existingInode(file.ino);
      if (isWatched('foreign')) this.checkForeign(file, inode, operations, owners);
      if (isWatched('synced')) this.checkSynced(file, inode, operations);
    }
  }

  private checkForeign(
    file: LabFile,
    inode: Inode,
    operations: number,
    owners: Map<number, string>,
  ): void {
    const { ownValues } = file.model;
    for (const { filePage, regionPage, pageCount, state } of this.metadata.extents(inode)) {
      for (let at = 0; at < pageCount; at++) {
        const page = regionPage + at;
        const owner = owners.get(page);
        if (owner !== undefined) {
          const message = `region page ${page} belongs to ${owner} and to ${file.name}`;
          this.fail('foreign', message, operations, { page, age: 0 });
        }
        owners.set(page, file.name);
        if (state !== WRITTEN) continue;
        for (const [age, { fill, words }] of this.contentsOf(page).entries()) {
          const foreign = [fill, ...words.values()].find((value) => !ownValues.has(value));
          if (foreign === undefined) continue;
          const message = `page ${filePage + at} of ${file.name} (region page ${page}) shows ${valueText(foreign)}`;
          this.fail('foreign', message, operations, { page, age });
        }
      }
    }
  }

  private checkSynced(file: LabFile, inode: Inode, operations: number): void {
    for (const [at, { values, floor }] of file.model.wordsAfterCut(this.operationsKept)) {
      const allowed = values.slice(floor);
      const filePage = Math.floor(at / WORDS_PER_PAGE);
      const extent = this.metadata.extents(inode).find(filePage);
      const page = extent === undefined ? -1 : extent.regionPage + (filePage - extent.filePage);
      const contents = extent === undefined ? [undefined] : this.contentsOf(page);
      for (const [age, content] of contents.entries()) {
        this.chosen = content === undefined ? undefined : { page, content };
        const value = this.read(inode, at);
        if (allowed.includes(value)) continue;
        const promised = [...new Set(allowed.map(valueText))].join(' or later ');
        const message = `page ${filePage} of ${file.name} holds ${valueText(value)}; synced was ${promised}`;
        this.fail('synced', message, operations, { page, age });
      }
    }
  }

  /** A word as the filesystem's own code reads it after recovery. */
  private read(inode: Inode, at: number): number {
    const bytes = Buffer.alloc(WORD_BYTES);
    const word = at % WORDS_PER_PAGE;
    this.fileData.read(
      inode,
      ((at - word) / WORDS_PER_PAGE) * PAGE_BYTES + word * WORD_BYTES,
      bytes,
    );
    return bytes.readUInt32LE();
  }

  private contentsOf(page: number): readonly Content[] {
    return this.world.region.contentsAfterCut(page, this.operationsKept);
  }

  private fail(
    invariant: Invariant,
    message: string,
    operations: number,
    { page, age }: { page: number; age: number },
  ): never {
    const { region } = this.world;
    throw new CutViolation(invariant, `after the power cut ${message}`, {
      operations,
      operationsKept: this.operationsKept,
      undecidedLines: region.undecidedLineCount(),
      regionPage: page,
      age,
      ages: page < 0 ? 1 : this.contentsOf(page).length,
    });
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

export function cutText(cut: Cut): string {
  const { operationsKept, operations, undecidedLines, regionPage, age, ages } = cut;
  const records =
    operations === 0
      ? 'every operation is committed'
      : `of ${operations} operation${operations === 1 ? '' : 's'} not committed ${operationsKept === 0 ? 'none' : `the first ${operationsKept}`} is kept`;
  return `power is cut: ${linesText()}; ${records}`;

  function linesText(): string {
    if (undecidedLines === 0) return 'all lines are durable';
    const which =
      undecidedLines === 1
        ? '1 line is not durable, and'
        : `${undecidedLines} lines are not durable; what is of region page ${regionPage}`;
    if (ages === 1) return which.replace(/[,;].*/, '');
    if (age === 0) return `${which} is lost`;
    return `${which} is kept${age === ages - 1 ? '' : ' as it was before its last store'}`;
  }
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
