/**
 * The model `sector`: a disk with atomic sectors of 512 bytes behind a page cache, a filesystem
 * with a journal, ordered data and delayed allocation. Namespace and attributes are journaled: a
 * suffix since the last commit is lost. What writes give a file, pages and size, is delayed: a
 * suffix of it is lost for each file by itself, whatever was committed, until a sync of that file.
 * Pages that a kept write allocated hold what was written to them up to then, and so do the sectors
 * that a kept growth of a file took in; other sectors overwritten in place have any value since the
 * last sync of their file.
 */
import { UNWRITTEN, WRITTEN } from '../../space/extent_list.js';
import type { ForceEvent, TraceEvent } from '../../trace/event.js';
import type { Fold, FoldOperation, Operation } from '../fold/fold.js';
import { ForcedPages } from '../fold/forced_pages.js';
import type { MetadataChoice, PointSpace } from './model.js';
import { LINES_PER_SECTOR } from '../fold/page_history.js';
import { LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES, pageOf, pagesFor } from '../../units.js';
import {
  type Choices,
  type Kept,
  keepSome,
  type Persistence,
  type PersistenceModel,
  SAME_PAGES,
  zigzag,
} from './persistence.js';

/** Calls that write data; with them what they do to sizes is delayed too. */
const DATA_CALLS = new Set(['WRITE', 'FALLOCATE', 'COPY_FILE_RANGE', 'COPY_FILE_RANGE_64']);
const DELAYED_FIELDS = /^(sizeBytes|mode|[amcb]time(Sec|Nsec))$/;

export const SECTOR: PersistenceModel = {
  name: 'sector',
  promise: 'a synced file is durable; metadata is a prefix, new pages and sizes of files come late',
  begin: (fold) => new Sector(fold),
};

class Sector implements Persistence {
  readonly unitLines = LINES_PER_SECTOR;
  readonly order = 'free';
  /** Delayed operations of each file that no sync followed, oldest first. */
  private readonly delayed = new Map<number, FoldOperation[]>();
  /** Numbers of all delayed operations since the last commit, or undecided. */
  private readonly isDelayed = new Set<number>();
  /** Which operations brought bytes of an undecided page into their file, oldest first. */
  private readonly ordered = new Map<number, Ordered[]>();
  private readonly calls = new Map<number, string>();
  private readonly forcedPages = new ForcedPages();
  private operationCount = 0;

  constructor(private readonly fold: Fold) {}

  pointBefore({ type }: TraceEvent): PointSpace['reason'] | undefined {
    if (type === 'force') return 'fence';
    return type === 'commit' || type === 'output' ? type : undefined;
  }

  pointAfter(): undefined {
    return undefined;
  }

  settle(event: TraceEvent): void {
    const { fold } = this;
    this.forcedPages.take(event);
    if (event.type === 'call') this.calls.set(event.callId, event.operation);
    if (event.type === 'return') this.calls.delete(event.callId);
    for (const operation of fold.operations(this.operationCount)) this.classify(operation);
    this.operationCount = fold.operationCount;
    if (event.type === 'commit') {
      this.isDelayed.clear();
      for (const { number } of [...this.delayed.values()].flat()) this.isDelayed.add(number);
    }
    if (event.type === 'force') this.force(event);
  }

  undecided(): Operation[] {
    const late = [...this.delayed.values()].flat();
    return [...this.journaled(), ...late].sort((a, b) => a.number - b.number);
  }

  choices(): Choices {
    const journaled = this.journaled();
    const groups = zigzag(journaled.length).map((lostCount) => this.group(journaled, lostCount));
    let count = 0n;
    for (const { optional } of groups) {
      count += optional.reduce((product, { length }) => product * BigInt(length + 1), 1n);
    }
    return { count, list: () => listGroups(groups) };
  }

  keep(lost: readonly number[]): Kept {
    const lostSet = new Set(lost);
    // Copied: the fold goes on while states of this moment live.
    const ordered = new Map(this.ordered);
    const floors = new Map<number, Float64Array>();
    return {
      ...keepSome(this.fold, lost),
      ...SAME_PAGES,
      floor: (page, _moment, line) => {
        let ofPage = floors.get(page);
        if (ofPage === undefined) {
          ofPage = floorsOf(ordered.get(page) ?? [], lostSet);
          floors.set(page, ofPage);
        }
        return ofPage[line]!;
      },
    };
  }

  private journaled(): FoldOperation[] {
    const since = this.fold.operations(this.fold.committedCount);
    return since.filter(({ number }) => !this.isDelayed.has(number));
  }

  /** What is lost when the last `lostCount` journaled operations are: those, and late ones. */
  private group(journaled: FoldOperation[], lostCount: number): Group {
    const lost = journaled.slice(journaled.length - lostCount).map(({ number }) => number);
    const firstLost = lost[0] ?? Infinity;
    const optional: number[][] = [];
    for (const operations of this.delayed.values()) {
      const numbers = operations.map(({ number }) => number);
      lost.push(...numbers.filter((number) => number > firstLost));
      const before = numbers.filter((number) => number < firstLost);
      if (before.length > 0) optional.push(before);
    }
    return { lost, optional };
  }

  private classify(operation: FoldOperation): void {
    for (const record of operation.records) {
      if (record.type === 'map' && record.state === WRITTEN) {
        for (let page = record.regionPage; page < record.regionPage + record.pageCount; page++) {
          this.orderLines(page, operation, 0, LINES_PER_PAGE);
        }
      } else if (record.type === 'set-inode' && record.patch.sizeBytes !== undefined) {
        this.orderGrowth(record.ino, operation);
      }
    }
    const ino = this.delayedFile(operation);
    if (ino === undefined) return;
    this.isDelayed.add(operation.number);
    const late = this.delayed.get(ino);
    if (late === undefined) this.delayed.set(ino, [operation]);
    else late.push(operation);
  }

  /** What is between the old end of a file and the new one is on disk before the new size is. */
  private orderGrowth(ino: number, operation: FoldOperation): void {
    const inode = this.fold.catalog(operation.number + 1).inode(ino);
    if (inode === undefined) return;
    const { sizeBytes } = inode.fields;
    const sizeBefore = this.fold.catalog(operation.number).inode(ino)?.fields.sizeBytes ?? 0;
    if (sizeBytes <= sizeBefore) return;
    const firstPage = pageOf(sizeBefore);
    for (const extent of inode.extents.slice(firstPage, pagesFor(sizeBytes))) {
      if (extent.state !== WRITTEN) continue;
      for (let index = 0; index < extent.pageCount; index++) {
        const offset = (extent.filePage + index) * PAGE_BYTES;
        const firstLine = Math.floor(Math.max(0, sizeBefore - offset) / LINE_BYTES);
        const endLine = Math.ceil(Math.min(PAGE_BYTES, sizeBytes - offset) / LINE_BYTES);
        this.orderLines(extent.regionPage + index, operation, firstLine, endLine);
      }
    }
  }

  /** Lines [firstLine, endLine) of a page, whole sectors of them, are on disk before `operation`. */
  private orderLines(
    page: number,
    operation: FoldOperation,
    firstLine: number,
    endLine: number,
  ): void {
    if (!this.fold.pages.isUndecided(page)) return;
    const ordered: Ordered = {
      operation,
      firstLine: firstLine - (firstLine % LINES_PER_SECTOR),
      endLine: Math.ceil(endLine / LINES_PER_SECTOR) * LINES_PER_SECTOR,
    };
    const others = this.ordered.get(page);
    this.ordered.set(page, others === undefined ? [ordered] : [...others, ordered]);
  }

  /** The file whose new pages or size are all that the operation is about. */
  private delayedFile({ records, callId, number }: FoldOperation): number | undefined {
    const call = this.calls.get(callId);
    if (call !== undefined && !DATA_CALLS.has(call)) return undefined;
    const before = this.fold.catalog(number);
    let file: number | undefined;
    let isGrowth = false;
    for (const record of records) {
      if (record.type === 'map') {
        const end = record.filePage + record.pageCount;
        const old = before.inode(record.ino)?.extents.slice(record.filePage, end) ?? [];
        const delta = record.regionPage - record.filePage;
        if (old.some((extent) => extent.regionPage - extent.filePage !== delta)) return undefined;
        if (record.state === UNWRITTEN && old.length > 0) return undefined;
        isGrowth = true;
      } else if (record.type === 'set-inode') {
        const fields = Object.keys(record.patch);
        if (!fields.every((field) => DELAYED_FIELDS.test(field))) return undefined;
        if (fields.includes('sizeBytes') && call !== undefined) isGrowth = true;
        if (!fields.includes('sizeBytes') && file !== undefined && record.ino !== file) continue;
      } else {
        return undefined;
      }
      if (file !== undefined && record.ino !== file) return undefined;
      file = record.ino;
    }
    return isGrowth ? file : undefined;
  }

  private force(force: ForceEvent): void {
    const { fold } = this;
    let pages = fold.pages.undecidedPages();
    if (force.kind === 'syncfs') {
      this.delayed.clear();
    } else {
      this.delayed.delete(force.ino);
      const inode = fold.catalog(fold.operationCount).inode(force.ino);
      pages = inode === undefined ? [] : this.forcedPages.of(force, inode, pages);
    }
    for (const page of pages) this.ordered.delete(page);
    fold.pages.force(fold.position, pages);
  }
}

/** Lines of a page whose stores up to the end of an operation are durable when it is kept. */
interface Ordered {
  readonly operation: FoldOperation;
  readonly firstLine: number;
  readonly endLine: number;
}

/** Of each line, the end of the last operation kept that it was durable before. */
function floorsOf(ordered: readonly Ordered[], lost: ReadonlySet<number>): Float64Array {
  const floors = new Float64Array(LINES_PER_PAGE);
  for (const { operation, firstLine, endLine } of ordered) {
    if (!lost.has(operation.number)) floors.fill(operation.position, firstLine, endLine);
  }
  return floors;
}

interface Group {
  /** Lost in every set of the group. */
  lost: number[];
  /** Of each file, operations of which any suffix may be lost as well. */
  optional: number[][];
}

/** The first set of the first group first, the last of the last second. */
function* listGroups(groups: readonly Group[]): IterableIterator<MetadataChoice> {
  const none = groups[0]!;
  const all = groups.length === 1 ? none : groups[1]!;
  const allCounts = all.optional.map(({ length }) => length);
  yield lose(
    none,
    none.optional.map(() => 0),
  );
  if (all !== none || allCounts.length > 0) yield lose(all, allCounts);
  for (const group of groups) {
    const counts = group.optional.map(() => 0);
    for (let isFirst = group === none; ; isFirst = false) {
      const isAll = group === all && counts.every((count, index) => count === allCounts[index]);
      if (!isFirst && !isAll) yield lose(group, counts);
      if (!next(counts, group.optional)) break;
    }
  }
}

function lose({ lost, optional }: Group, counts: readonly number[]): MetadataChoice {
  const more = optional.flatMap((numbers, index) => numbers.slice(numbers.length - counts[index]!));
  return { lostOperations: [...lost, ...more].sort((a, b) => a - b) };
}

/** @returns false after the last one */
function next(counts: number[], optional: readonly number[][]): boolean {
  for (let index = 0; index < counts.length; index++) {
    if (++counts[index]! <= optional[index]!.length) return true;
    counts[index] = 0;
  }
  return false;
}
