/**
 * The map of one file: sorted, disjoint extents from file pages to region pages, neighbours joined
 * when they continue each other in both. Pure algebra: it owns no page and frees none; callers get
 * back what a change displaced. It remembers the start pages at which it differs from what was
 * last saved, so that a commit writes only changed rows. All numbers are pages of 4 KiB.
 */
import assert from 'node:assert/strict';

export const UNWRITTEN = 0;
export const WRITTEN = 1;
export type ExtentState = typeof UNWRITTEN | typeof WRITTEN;

export interface Extent {
  readonly filePage: number;
  readonly regionPage: number;
  readonly pageCount: number;
  /** UNWRITTEN: allocated, reads as zeroes, its bytes must never be seen. */
  readonly state: ExtentState;
}

const NO_KEYS: ReadonlySet<number> = new Set();

export class ExtentList {
  private readonly extents: Extent[];
  private changed: Set<number> | undefined;
  private mappedPages = 0;

  /** @param saved extents as saved, in order of file page; owned by the list from here */
  constructor(saved: Extent[] = []) {
    let endPage = 0;
    for (const extent of saved) {
      assert(extent.filePage >= endPage, `extents overlap at file page ${extent.filePage}`);
      endPage = extent.filePage + extent.pageCount;
      this.mappedPages += extent.pageCount;
    }
    this.extents = saved;
  }

  /** Number of extents. */
  get length(): number {
    return this.extents.length;
  }

  /** Pages mapped, in either state. */
  get pageCount(): number {
    return this.mappedPages;
  }

  /** Page after the last mapped one; 0 when nothing is mapped. */
  get endPage(): number {
    const last = this.extents.at(-1);
    return last === undefined ? 0 : last.filePage + last.pageCount;
  }

  [Symbol.iterator](): IterableIterator<Extent> {
    return this.extents[Symbol.iterator]();
  }

  at(index: number): Extent | undefined {
    return this.extents[index];
  }

  /** Index of the first extent that ends after `filePage`; `length` when there is none. */
  indexFrom(filePage: number): number {
    let low = 0;
    let high = this.extents.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const extent = this.extents[middle]!;
      if (extent.filePage + extent.pageCount <= filePage) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The extent that covers `filePage`; undefined in a hole. */
  find(filePage: number): Extent | undefined {
    const extent = this.extents[this.indexFrom(filePage)];
    return extent !== undefined && extent.filePage <= filePage ? extent : undefined;
  }

  /** The mapped parts of [filePage, endPage), cut to that range, in order. */
  slice(filePage: number, endPage: number): Extent[] {
    const parts: Extent[] = [];
    if (filePage >= endPage) return parts;
    for (let index = this.indexFrom(filePage); index < this.extents.length; index++) {
      const extent = this.extents[index]!;
      if (extent.filePage >= endPage) break;
      parts.push(cut(extent, filePage, endPage));
    }
    return parts;
  }

  /** Unmaps [filePage, endPage) and returns what was mapped there, cut to the range. */
  remove(filePage: number, endPage: number): Extent[] {
    if (filePage >= endPage) return [];
    const first = this.indexFrom(filePage);
    const removed: Extent[] = [];
    const kept: Extent[] = [];
    let index = first;
    for (; index < this.extents.length; index++) {
      const extent = this.extents[index]!;
      if (extent.filePage >= endPage) break;
      const part = cut(extent, filePage, endPage);
      removed.push(part);
      this.mappedPages -= part.pageCount;
      this.change(extent.filePage);
      const extentEnd = extent.filePage + extent.pageCount;
      if (extent.filePage < filePage) kept.push(cut(extent, extent.filePage, filePage));
      if (extentEnd > endPage) {
        kept.push(cut(extent, endPage, extentEnd));
        this.change(endPage);
      }
    }
    if (removed.length > 0) this.extents.splice(first, index - first, ...kept);
    return removed;
  }

  /** Maps a hole; the whole range of `extent` must be one. Joins it to its neighbours. */
  insert(extent: Extent): void {
    assert(extent.pageCount > 0 && extent.filePage >= 0 && extent.regionPage > 0);
    const index = this.indexFrom(extent.filePage);
    const before = this.extents[index - 1];
    const after = this.extents[index];
    const endPage = extent.filePage + extent.pageCount;
    assert(after === undefined || after.filePage >= endPage, `page ${extent.filePage} is mapped`);

    let joined = extent;
    let from = index;
    let count = 0;
    if (before !== undefined && continues(before, extent)) {
      joined = { ...before, pageCount: before.pageCount + extent.pageCount };
      from--;
      count++;
    }
    if (after !== undefined && continues(extent, after)) {
      joined = { ...joined, pageCount: joined.pageCount + after.pageCount };
      this.change(after.filePage);
      count++;
    }
    this.change(joined.filePage);
    this.mappedPages += extent.pageCount;
    if (count === 1) this.extents[from] = joined;
    else this.extents.splice(from, count, joined);
  }

  /**
   * Moves every mapping from `fromPage` on by `deltaPages`, splitting an extent that spans
   * `fromPage`. Moving down needs a hole of that size before `fromPage`.
   */
  shift(fromPage: number, deltaPages: number): void {
    const moved = this.remove(fromPage, Infinity);
    assert(this.endPage <= fromPage + Math.min(0, deltaPages), 'shift onto a mapped page');
    for (const extent of moved) this.insert({ ...extent, filePage: extent.filePage + deltaPages });
  }

  /** Start pages at which rows must be written or, where nothing starts any more, deleted. */
  changedPages(): ReadonlySet<number> {
    return this.changed ?? NO_KEYS;
  }

  /** The extent that starts exactly at `filePage`. */
  startingAt(filePage: number): Extent | undefined {
    const extent = this.extents[this.indexFrom(filePage)];
    return extent !== undefined && extent.filePage === filePage ? extent : undefined;
  }

  /** What is mapped now is saved. */
  markSaved(): void {
    this.changed = undefined;
  }

  private change(filePage: number): void {
    this.changed ??= new Set();
    this.changed.add(filePage);
  }
}

/** The part of `extent` inside [filePage, endPage); they must meet. */
function cut(extent: Extent, filePage: number, endPage: number): Extent {
  const start = Math.max(extent.filePage, filePage);
  const end = Math.min(extent.filePage + extent.pageCount, endPage);
  assert(start < end);
  if (start === extent.filePage && end - start === extent.pageCount) return extent;
  return {
    filePage: start,
    regionPage: extent.regionPage + (start - extent.filePage),
    pageCount: end - start,
    state: extent.state,
  };
}

function continues(first: Extent, second: Extent): boolean {
  return (
    first.state === second.state &&
    first.filePage + first.pageCount === second.filePage &&
    first.regionPage + first.pageCount === second.regionPage
  );
}
