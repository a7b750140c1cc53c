/**
 * The model `posix`: what the standard promises and nothing else. A sync of a file makes its data,
 * size, pages, attributes and extended attributes durable, and that it exists, not its names; a
 * sync of a directory its names and the inodes they name; syncfs everything. Of all other
 * operations each is kept or lost by itself (replay.ts says when one makes no sense), and sectors
 * of 512 bytes have any value since the last sync of their file. Data that is lost reads as zeroes.
 *
 * The fold gives each use of a region page a page of its own here (Tenures): an operation that
 * freed a page may be lost long after the page was given to another file.
 */
import assert from 'node:assert/strict';
import type { ForceEvent, TraceEvent } from '../../trace/event.js';
import type { Fold, FoldOperation, Operation } from '../fold/fold.js';
import { ForcedPages } from '../fold/forced_pages.js';
import type { MetadataChoice, PointSpace } from './model.js';
import { LINES_PER_SECTOR } from '../fold/page_history.js';
import {
  type Choices,
  type Kept,
  keepSome,
  type Persistence,
  type PersistenceModel,
  zigzag,
} from './persistence.js';

export const POSIX: PersistenceModel = {
  name: 'posix',
  promise: 'only what a sync of the file or of the directory named is durable',
  begin: (fold) => new Posix(fold),
};

class Posix implements Persistence {
  readonly unitLines = LINES_PER_SECTOR;
  readonly order = 'free';
  private readonly open = new Map<number, FoldOperation>();
  /** Numbers of undecided operations by what makes them durable: `name/7`, `inode/7`. */
  private readonly bySubject = new Map<string, Set<number>>();
  private readonly forcedPages = new ForcedPages();
  private operationCount = 0;

  constructor(private readonly fold: Fold) {
    fold.separateTenures();
  }

  pointBefore({ type }: TraceEvent): PointSpace['reason'] | undefined {
    if (type === 'force') return 'fence';
    return type === 'output' ? type : undefined;
  }

  pointAfter(): undefined {
    return undefined;
  }

  settle(event: TraceEvent): void {
    for (const operation of this.fold.operations(this.operationCount)) this.add(operation);
    this.operationCount = this.fold.operationCount;
    this.forcedPages.take(event);
    if (event.type !== 'force') return;
    if (event.kind === 'syncfs') {
      this.open.clear();
      this.bySubject.clear();
      this.fold.pages.force(this.fold.position, this.fold.pages.undecidedPages());
    } else {
      this.force(event);
    }
    const [firstOpen] = this.open.keys();
    this.fold.retireTenures(firstOpen ?? this.operationCount);
  }

  undecided(): Operation[] {
    return [...this.open.values()];
  }

  choices(): Choices {
    const numbers = [...this.open.keys()];
    return { count: 2n ** BigInt(numbers.length), list: () => subsets(numbers) };
  }

  keep(lost: readonly number[]): Kept {
    assert(
      lost.every((number) => this.open.has(number)),
      'a synced operation is not lost',
    );
    return { ...keepSome(this.fold, lost), floor: () => 0 };
  }

  private add(operation: FoldOperation): void {
    this.open.set(operation.number, operation);
    for (const subject of subjectsOf(operation)) {
      const numbers = this.bySubject.get(subject) ?? new Set();
      this.bySubject.set(subject, numbers.add(operation.number));
    }
  }

  private force(force: ForceEvent): void {
    const { fold } = this;
    const { ino } = force;
    for (const subject of [`name/${ino}`, `inode/${ino}`]) {
      for (const number of this.bySubject.get(subject) ?? []) this.open.delete(number);
      this.bySubject.delete(subject);
    }
    const inode = fold.catalog(fold.operationCount).inode(ino);
    if (inode === undefined) return;
    const pages = this.forcedPages.of(force, inode, fold.pages.undecidedPages());
    fold.pages.force(fold.position, pages);
  }
}

/** Directories whose names change; without any, the inodes whose data does, or else that change. */
function subjectsOf({ records }: FoldOperation): Set<string> {
  const names = new Set<string>();
  const data = new Set<string>();
  const others = new Set<string>();
  for (const record of records) {
    if ('parentIno' in record) names.add(`name/${record.parentIno}`);
    else if ('ino' in record) {
      others.add(`inode/${record.ino}`);
      const isSize = record.type === 'set-inode' && record.patch.sizeBytes !== undefined;
      const isMap = record.type === 'map' || record.type === 'unmap' || record.type === 'shift';
      if (isSize || isMap) data.add(`inode/${record.ino}`);
    }
  }
  if (names.size > 0) return names;
  return data.size > 0 ? data : others;
}

/** All subsets: none, all, the suffixes, then by size from both ends. */
function* subsets(numbers: readonly number[]): IterableIterator<MetadataChoice> {
  const total = numbers.length;
  for (const count of zigzag(total)) yield { lostOperations: numbers.slice(total - count) };
  for (const count of zigzag(total)) {
    if (count === 0 || count === total) continue;
    for (const indexes of combinations(total, count)) {
      const isSuffix = indexes[0] === total - count;
      if (!isSuffix) yield { lostOperations: indexes.map((index) => numbers[index]!) };
    }
  }
}

/** All ascending choices of `count` indexes below `total`. */
function* combinations(total: number, count: number): IterableIterator<number[]> {
  const indexes = Array.from({ length: count }, (_, index) => index);
  for (;;) {
    yield indexes.slice();
    let at = count - 1;
    while (at >= 0 && indexes[at] === total - count + at) at--;
    if (at < 0) return;
    indexes[at]!++;
    for (let index = at + 1; index < count; index++) indexes[index] = indexes[index - 1]! + 1;
  }
}
