/**
 * What one mapping may show, as the engine last had it shown: a page table in marks. A page is marked
 * when it is about to be shown, and not before it is gone for certain is the mark taken away. File
 * pages of 4 KiB.
 */
import { PAGES_PER_HUGE, chunkOf } from '../units.js';
import type { Mapping, PageRange } from './mmu.js';

/**
 * `bus`: the caller of fault() shows SIGBUS. `own`: a private mapping's page that was taken away
 * unless a store had made it the process's own, which nobody tells: it may be there or not.
 */
export type Shown = 'none' | 'zero' | 'region' | 'bus' | 'own';

/**
 * An entry of 2 MiB and entries of pages at one place, in the order in which they came: whichever came
 * first no walk finds any more, and counters of the process are not zero when it ends.
 */
export type Collision = 'pte-under-pmd' | 'pmd-over-pte';

/** What an access to the page finds there that a change of the file has to take away. */
export const SHOWN = ['zero', 'region', 'bus'] as const;

const MARKS: readonly Shown[] = ['none', 'zero', 'region', 'bus', 'own'];

interface Chunk {
  /** One huge entry of the page table. */
  isHuge: boolean;
  readonly marks: Uint8Array;
}

export class View {
  /** What is left of the mapping, in order. */
  private parts: PageRange[];
  private readonly chunks = new Map<number, Chunk>();
  /** Pages of which faults were told although they are marked, and of which threads; see fault.ts. */
  private readonly doubted = new Map<number, Set<number>>();

  constructor(readonly mapping: Mapping) {
    this.parts = [{ filePage: mapping.filePage, pageCount: mapping.pageCount }];
  }

  /** The part of the mapping that has the page. */
  partAt(filePage: number): PageRange | undefined {
    return this.parts.find(
      (part) => part.filePage <= filePage && filePage < part.filePage + part.pageCount,
    );
  }

  /** Those pages are no part of it any more. @returns whether anything is left */
  detach(range: PageRange): boolean {
    const endPage = range.filePage + range.pageCount;
    const kept: PageRange[] = [];
    for (const part of this.parts) {
      const partEnd = part.filePage + part.pageCount;
      const beforeEnd = Math.min(partEnd, range.filePage);
      const afterStart = Math.max(part.filePage, endPage);
      if (beforeEnd > part.filePage) {
        kept.push({ filePage: part.filePage, pageCount: beforeEnd - part.filePage });
      }
      if (partEnd > afterStart) {
        kept.push({ filePage: afterStart, pageCount: partEnd - afterStart });
      }
    }
    this.parts = kept;
    this.mark(range, 'none');
    return kept.length > 0;
  }

  shownAt(filePage: number): Shown {
    const mark = this.chunks.get(chunkOf(filePage))?.marks[filePage % PAGES_PER_HUGE] ?? 0;
    return MARKS[mark]!;
  }

  isHugeAt(filePage: number): boolean {
    return this.chunks.get(chunkOf(filePage))?.isHuge ?? false;
  }

  /** Whether the page table has entries of single pages in the chunk of the page. */
  hasPagesAround(filePage: number): boolean {
    const chunk = this.chunks.get(chunkOf(filePage));
    if (chunk === undefined || chunk.isHuge) return false;
    return chunk.marks.some((mark) => mark !== 0 && MARKS[mark] !== 'bus');
  }

  /**
   * What is marked is about to be shown by an entry of 2 MiB, or by entries of pages.
   * @returns what that collides with: never, but for a bug
   */
  install(range: PageRange, shown: 'zero' | 'region', isHuge: boolean): Collision | undefined {
    const { filePage } = range;
    const isUnder = !isHuge && this.isHugeAt(filePage);
    const isOver = isHuge && this.hasPagesAround(filePage);
    this.mark(range, shown, isHuge);
    return isUnder ? 'pte-under-pmd' : isOver ? 'pmd-over-pte' : undefined;
  }

  /** Pages of an entry of 2 MiB are missing: what is left of it are entries of pages. */
  split(filePage: number): void {
    const chunk = this.chunks.get(chunkOf(filePage));
    if (chunk !== undefined) chunk.isHuge = false;
  }

  /** Marks pages; of a chunk that is one huge entry and not marked whole, single pages remain. */
  mark(range: PageRange, shown: Shown, isHuge = false): void {
    const mark = MARKS.indexOf(shown);
    const endPage = range.filePage + range.pageCount;
    for (const number of this.chunksOf(range, mark !== 0)) {
      const start = number * PAGES_PER_HUGE;
      const first = Math.max(0, range.filePage - start);
      const end = Math.min(PAGES_PER_HUGE, endPage - start);
      const chunk = this.chunks.get(number) ?? newChunk();
      this.chunks.set(number, chunk);
      chunk.marks.fill(mark, first, end);
      chunk.isHuge = isHuge;
      if (mark === 0 && chunk.marks.every((each) => each === 0)) this.chunks.delete(number);
    }
    if (this.doubted.size === 0) return;
    for (const page of this.doubted.keys()) {
      if (range.filePage <= page && page < endPage) this.doubted.delete(page);
    }
  }

  /** A thread says that a page is missing, and is sent to look again. Held until the page is marked. */
  doubt(filePage: number, thread: number): void {
    const threads = this.doubted.get(filePage) ?? new Set();
    this.doubted.set(filePage, threads.add(thread));
  }

  isDoubted(filePage: number, thread: number): boolean {
    return this.doubted.get(filePage)?.has(thread) ?? false;
  }

  /** Runs of pages in the range that are marked as one of `kinds`, in order. */
  runs(range: PageRange, kinds: readonly Shown[]): PageRange[] {
    const { filePage, pageCount } = this.mapping;
    const endPage = range.filePage + range.pageCount;
    // Most of a file's, when it has thousands of mappings.
    if (endPage <= filePage || filePage + pageCount <= range.filePage) return [];
    const wanted = MARKS.map((shown) => kinds.includes(shown));
    const found: { filePage: number; pageCount: number }[] = [];
    for (const number of this.chunksOf(range, false)) {
      const start = number * PAGES_PER_HUGE;
      const { marks } = this.chunks.get(number)!;
      const end = Math.min(PAGES_PER_HUGE, endPage - start);
      for (let index = Math.max(0, range.filePage - start); index < end; index++) {
        const first = index;
        while (index < end && wanted[marks[index]!] === true) index++;
        if (index === first) continue;
        const last = found.at(-1);
        if (last !== undefined && last.filePage + last.pageCount === start + first) {
          last.pageCount += index - first;
        } else {
          found.push({ filePage: start + first, pageCount: index - first });
        }
      }
    }
    return found;
  }

  /** All marks as text, in order: the same text, the same state. */
  text(): string {
    const everything = { filePage: 0, pageCount: Infinity };
    const marks = MARKS.slice(1).flatMap((shown) =>
      this.runs(everything, [shown]).map(
        ({ filePage, pageCount }) => `${shown} ${filePage}+${pageCount}`,
      ),
    );
    const huge = [...this.chunks].flatMap(([number, { isHuge }]) => (isHuge ? [number] : []));
    const parts = this.parts.map(({ filePage, pageCount }) => `${filePage}+${pageCount}`);
    const doubted = [...this.doubted]
      .map(([page, threads]) => `${page}:${[...threads].sort()}`)
      .sort();
    return [
      ...marks,
      'huge',
      ...huge.sort((a, b) => a - b),
      'of',
      ...parts,
      'doubted',
      ...doubted,
    ].join(' ');
  }

  /** Numbers of the chunks in the range, in order: those that have marks, or all. */
  private chunksOf(range: PageRange, isAll: boolean): number[] {
    const first = chunkOf(range.filePage);
    const end = chunkOf(range.filePage + range.pageCount - 1) + 1;
    const numbers: number[] = [];
    if (isAll || end - first <= this.chunks.size) {
      for (let number = first; number < end; number++) {
        if (isAll || this.chunks.has(number)) numbers.push(number);
      }
      return numbers;
    }
    for (const number of this.chunks.keys()) {
      if (first <= number && number < end) numbers.push(number);
    }
    return numbers.sort((a, b) => a - b);
  }
}

function newChunk(): Chunk {
  return { isHuge: false, marks: new Uint8Array(PAGES_PER_HUGE) };
}
