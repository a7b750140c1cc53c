/**
 * The entries of one file: for each file page that some mapping was given, whether it was zeroes or
 * the region, and whether somebody may have stored to it since it was last written back. An entry
 * covers one page (PTE) or an aligned 2 MiB chunk (PMD). Numbers are file pages of 4 KiB.
 *
 * Dirty chunks are kept apart, so that writeback costs what is dirty, not what is mapped.
 */
import { PAGES_PER_HUGE, chunkOf } from '../units.js';
import type { PageRange } from './mmu.js';

export type EntryKind = 'zero' | 'page';

export interface EntryRange extends PageRange {
  /** One entry of 2 MiB; otherwise as many entries as pages. */
  readonly isHuge: boolean;
}

export interface EntryCounts {
  zeroPages: number;
  pages: number;
  zeroHuge: number;
  huge: number;
  /** Entries, of either size. */
  dirty: number;
}

const ZERO = 1;
const PAGE = 2;
const DIRTY = 4;
/** Being written back: a store meanwhile takes it away, so that the entry stays dirty. */
const TOWRITE = 8;

class Chunk {
  /** Flags of the entry that covers the chunk; 0 when there is none. */
  huge = 0;
  /** Flags of the entries of one page each. */
  readonly flags = new Uint8Array(PAGES_PER_HUGE);
  pageEntries = 0;
  dirtyPages = 0;

  get isEmpty(): boolean {
    return this.huge === 0 && this.pageEntries === 0;
  }

  get isDirty(): boolean {
    return this.dirtyPages > 0 || (this.huge & DIRTY) !== 0;
  }

  setPage(index: number, flags: number): void {
    const before = this.flags[index]!;
    if ((before === 0) !== (flags === 0)) this.pageEntries += flags === 0 ? -1 : 1;
    this.dirtyPages += (flags & DIRTY ? 1 : 0) - (before & DIRTY ? 1 : 0);
    this.flags[index] = flags;
  }
}

export class Entries {
  private readonly chunks = new Map<number, Chunk>();
  private readonly dirtyChunks = new Set<number>();

  isDirty(filePage: number): boolean {
    return (this.flagsAt(filePage) & DIRTY) !== 0;
  }

  /** The entry of 2 MiB that covers the page. */
  hugeAt(filePage: number): EntryKind | undefined {
    const huge = this.chunks.get(chunkOf(filePage))?.huge ?? 0;
    if (huge === 0) return undefined;
    return (huge & ZERO) !== 0 ? 'zero' : 'page';
  }

  /** Whether the chunk of the page has entries of one page. */
  hasPagesAround(filePage: number): boolean {
    return (this.chunks.get(chunkOf(filePage))?.pageEntries ?? 0) > 0;
  }

  /** Whether a page of [filePage, endPage) has an entry, of either size. */
  hasAny(filePage: number, endPage: number): boolean {
    return this.chunksIn(filePage, endPage).some((number) => {
      const chunk = this.chunks.get(number)!;
      const first = Math.max(0, filePage - number * PAGES_PER_HUGE);
      const end = Math.min(PAGES_PER_HUGE, endPage - number * PAGES_PER_HUGE);
      return chunk.huge !== 0 || chunk.flags.subarray(first, end).some((flags) => flags !== 0);
    });
  }

  /**
   * Enters pages, or one chunk. An entry that is there stays when it shows the same, and keeps
   * whether it is dirty; one of 2 MiB that shows the region serves the pages under it.
   */
  insert(range: EntryRange, kind: EntryKind): void {
    const flag = kind === 'zero' ? ZERO : PAGE;
    if (range.isHuge) {
      const chunk = this.chunk(chunkOf(range.filePage));
      for (let index = 0; index < PAGES_PER_HUGE; index++) chunk.setPage(index, 0);
      if ((chunk.huge & flag) === 0) chunk.huge = flag;
      this.note(chunkOf(range.filePage), chunk);
      return;
    }
    const endPage = range.filePage + range.pageCount;
    for (let page = range.filePage; page < endPage; page++) {
      const chunk = this.chunk(chunkOf(page));
      const index = page % PAGES_PER_HUGE;
      if ((chunk.huge & flag) !== 0 || (chunk.flags[index]! & flag) !== 0) continue;
      if (chunk.huge !== 0) this.split(chunkOf(page));
      chunk.setPage(index, flag);
      this.note(chunkOf(page), chunk);
    }
  }

  /** Notes a store to a page that has an entry for the region; nothing where there is none. */
  markDirty(filePage: number): void {
    const chunk = this.chunks.get(chunkOf(filePage));
    if (chunk === undefined) return;
    if ((chunk.huge & PAGE) !== 0) {
      chunk.huge = PAGE | DIRTY;
    } else {
      const index = filePage % PAGES_PER_HUGE;
      if ((chunk.flags[index]! & PAGE) !== 0) chunk.setPage(index, PAGE | DIRTY);
    }
    this.note(chunkOf(filePage), chunk);
  }

  get hasDirty(): boolean {
    return this.dirtyChunks.size > 0;
  }

  /** Dirty entries that touch [filePage, endPage), whole, in order; neighbouring pages in one. */
  dirty(filePage: number, endPage: number): EntryRange[] {
    const found: EntryRange[] = [];
    this.eachDirty(filePage, endPage, (range) => found.push(range));
    return found;
  }

  /** As dirty(), and marks them for clean() but for those of pages that `isLocked`. */
  tagDirty(
    filePage: number,
    endPage: number,
    isLocked: (filePage: number) => boolean,
  ): EntryRange[] {
    const found: EntryRange[] = [];
    this.eachDirty(filePage, endPage, (range) => {
      found.push(range);
      const chunk = this.chunks.get(chunkOf(range.filePage))!;
      if (range.isHuge) {
        let page = range.filePage;
        while (page < range.filePage + PAGES_PER_HUGE && !isLocked(page)) page++;
        if (page === range.filePage + PAGES_PER_HUGE) chunk.huge |= TOWRITE;
        return;
      }
      for (let page = range.filePage; page < range.filePage + range.pageCount; page++) {
        if (!isLocked(page)) chunk.flags[page % PAGES_PER_HUGE]! |= TOWRITE;
      }
    });
    return found;
  }

  /** What tagDirty() marked in these ranges and no store has touched since is clean. */
  clean(ranges: readonly EntryRange[]): void {
    for (const { filePage, pageCount, isHuge } of ranges) {
      const chunk = this.chunks.get(chunkOf(filePage));
      if (chunk === undefined) continue;
      if (isHuge) {
        if ((chunk.huge & TOWRITE) !== 0) chunk.huge &= ~(DIRTY | TOWRITE);
      } else {
        for (let page = filePage; page < filePage + pageCount; page++) {
          const flags = chunk.flags[page % PAGES_PER_HUGE]!;
          if ((flags & TOWRITE) === 0) continue;
          chunk.setPage(page % PAGES_PER_HUGE, flags & ~(DIRTY | TOWRITE));
        }
      }
      this.note(chunkOf(filePage), chunk);
    }
  }

  /** Drops the entries of pages [filePage, endPage); one of 2 MiB that lies across is split. */
  remove(filePage: number, endPage: number): void {
    for (const number of this.chunksIn(filePage, endPage)) {
      const chunk = this.chunks.get(number)!;
      const first = Math.max(0, filePage - number * PAGES_PER_HUGE);
      const end = Math.min(PAGES_PER_HUGE, endPage - number * PAGES_PER_HUGE);
      if (chunk.huge !== 0) {
        if (first === 0 && end === PAGES_PER_HUGE) chunk.huge = 0;
        else this.split(number);
      }
      for (let index = first; index < end; index++) chunk.setPage(index, 0);
      this.note(number, chunk);
    }
  }

  counts(): EntryCounts {
    const counts = { zeroPages: 0, pages: 0, zeroHuge: 0, huge: 0, dirty: 0 };
    for (const chunk of this.chunks.values()) {
      if ((chunk.huge & ZERO) !== 0) counts.zeroHuge++;
      if ((chunk.huge & PAGE) !== 0) counts.huge++;
      if ((chunk.huge & DIRTY) !== 0) counts.dirty++;
      for (const flags of chunk.flags) {
        if ((flags & ZERO) !== 0) counts.zeroPages++;
        if ((flags & PAGE) !== 0) counts.pages++;
        if ((flags & DIRTY) !== 0) counts.dirty++;
      }
    }
    return counts;
  }

  /** All entries in order; neighbouring pages that are alike in one. */
  all(): (EntryRange & { kind: EntryKind; isDirty: boolean })[] {
    const found: (EntryRange & { kind: EntryKind; isDirty: boolean; pageCount: number })[] = [];
    for (const number of this.chunksIn(0, Infinity)) {
      const start = number * PAGES_PER_HUGE;
      const chunk = this.chunks.get(number)!;
      if (chunk.huge !== 0) {
        const range = { filePage: start, pageCount: PAGES_PER_HUGE, isHuge: true };
        found.push({ ...range, ...meaningOf(chunk.huge) });
      }
      for (const [index, flags] of chunk.flags.entries()) {
        if (flags === 0) continue;
        const meaning = meaningOf(flags);
        const last = found.at(-1);
        const continues =
          last?.isHuge === false && last.filePage + last.pageCount === start + index;
        if (continues && last.kind === meaning.kind && last.isDirty === meaning.isDirty) {
          last.pageCount++;
        } else {
          found.push({ filePage: start + index, pageCount: 1, isHuge: false, ...meaning });
        }
      }
    }
    return found;
  }

  /** All entries as text, in order: the same text, the same state. */
  text(): string {
    const lines: string[] = [];
    for (const number of this.chunksIn(0, Infinity)) {
      const chunk = this.chunks.get(number)!;
      if (chunk.huge !== 0) lines.push(`${number * PAGES_PER_HUGE}H${chunk.huge}`);
      if (chunk.pageEntries === 0) continue;
      for (const [index, flags] of chunk.flags.entries()) {
        if (flags !== 0) lines.push(`${number * PAGES_PER_HUGE + index}:${flags}`);
      }
    }
    return lines.join(' ');
  }

  private eachDirty(filePage: number, endPage: number, found: (range: EntryRange) => void): void {
    for (const number of sorted(this.dirtyChunks)) {
      const start = number * PAGES_PER_HUGE;
      if (start >= endPage || start + PAGES_PER_HUGE <= filePage) continue;
      const chunk = this.chunks.get(number)!;
      if ((chunk.huge & DIRTY) !== 0) {
        found({ filePage: start, pageCount: PAGES_PER_HUGE, isHuge: true });
        continue;
      }
      const end = Math.min(PAGES_PER_HUGE, endPage - start);
      for (let index = Math.max(0, filePage - start); index < end; index++) {
        const first = index;
        while (index < end && (chunk.flags[index]! & DIRTY) !== 0) index++;
        if (index === first) continue;
        found({ filePage: start + first, pageCount: index - first, isHuge: false });
      }
    }
  }

  /** One entry of 2 MiB becomes 512 that are as it was. */
  private split(number: number): void {
    const chunk = this.chunks.get(number)!;
    const { huge } = chunk;
    chunk.huge = 0;
    for (let index = 0; index < PAGES_PER_HUGE; index++) chunk.setPage(index, huge);
  }

  private flagsAt(filePage: number): number {
    const chunk = this.chunks.get(chunkOf(filePage));
    if (chunk === undefined) return 0;
    return chunk.huge !== 0 ? chunk.huge : chunk.flags[filePage % PAGES_PER_HUGE]!;
  }

  private chunk(number: number): Chunk {
    let chunk = this.chunks.get(number);
    if (chunk === undefined) {
      chunk = new Chunk();
      this.chunks.set(number, chunk);
    }
    return chunk;
  }

  private chunksIn(filePage: number, endPage: number): number[] {
    const numbers: number[] = [];
    for (const number of this.chunks.keys()) {
      const start = number * PAGES_PER_HUGE;
      if (start < endPage && start + PAGES_PER_HUGE > filePage) numbers.push(number);
    }
    return sorted(numbers);
  }

  private note(number: number, chunk: Chunk): void {
    if (chunk.isDirty) this.dirtyChunks.add(number);
    else this.dirtyChunks.delete(number);
    if (chunk.isEmpty) this.chunks.delete(number);
  }
}

function meaningOf(flags: number): { kind: EntryKind; isDirty: boolean } {
  return { kind: (flags & ZERO) !== 0 ? 'zero' : 'page', isDirty: (flags & DIRTY) !== 0 };
}

function sorted(numbers: Iterable<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}
