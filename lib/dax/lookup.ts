/**
 * What backs a file page that somebody touches through a mapping, and how much around it can be
 * shown at once. A question only: nothing is changed. Numbers are pages of 4 KiB.
 */
import type { Inode } from '../metadata/inode.js';
import type { Metadata } from '../metadata/metadata.js';
import type { Region } from '../region.js';
import { type Extent, type ExtentList, WRITTEN } from '../space/extent_list.js';
import { pieceAt } from '../space/pieces.js';
import { PAGES_PER_HUGE, pagesFor } from '../units.js';
import type { Entries } from './entries.js';
import type { PageRange } from './mmu.js';
import type { View } from './view.js';

export type BackingState = 'hole' | 'unwritten' | 'written';

export interface Found {
  readonly state: BackingState;
  /** What to show: all of it is backed alike, and in one piece of the region. */
  readonly window: PageRange;
  /** The window is one entry of 2 MiB. */
  readonly isHuge: boolean;
  /** Region page of the window's first page; undefined in a hole. */
  readonly regionPage: number | undefined;
  /** The page itself cannot be read. */
  readonly isPoisoned: boolean;
}

export interface Question {
  readonly inode: Inode;
  readonly view: View;
  readonly entries: Entries;
  readonly filePage: number;
  /** A store to a shared mapping: needs a written page. */
  readonly isStore: boolean;
  /** How many pages such a store may allocate, from the page on, without an entry of 2 MiB. */
  readonly aheadPages: number;
  /** A store to a private mapping: the one page that the kernel is about to copy. */
  readonly isCopy: boolean;
  /** Neither page entries nor a huge wish of the caller stand against one entry of 2 MiB. */
  readonly mayBeHuge: boolean;
  /** Nothing outside of these pages. */
  readonly within: PageRange;
}

export function lookUp(question: Question, metadata: Metadata, region: Region): Found {
  const { inode, filePage, within } = question;
  const list = metadata.extents(inode);
  const chunkStart = filePage - (filePage % PAGES_PER_HUGE);
  const start = Math.max(chunkStart, within.filePage);
  const end = Math.min(
    chunkStart + PAGES_PER_HUGE,
    within.filePage + within.pageCount,
    pagesFor(inode.sizeBytes),
  );
  const extent = list.find(filePage);
  const state = extent === undefined ? 'hole' : extent.state === WRITTEN ? 'written' : 'unwritten';
  const mayBeHuge = question.mayBeHuge && !question.isCopy && isCongruent(question.view);
  const page = { filePage, pageCount: 1 };
  const allocates = question.isStore && state !== 'written';

  let around: PageRange;
  if (allocates) around = backedAlike(list, extent, start, end);
  else if (extent !== undefined && state === 'written') around = clip(extent, start, end);
  else around = unwrittenAround(list, filePage, start, end);
  const healthy = state === 'written' ? clearOfPoison(region, extent!, filePage, around) : around;

  const needsRegion = state === 'written' || (allocates && extent !== undefined);
  const isHuge =
    mayBeHuge &&
    healthy?.pageCount === PAGES_PER_HUGE &&
    (!needsRegion || regionOf(extent, around)! % PAGES_PER_HUGE === 0);
  let window = around;
  if (!isHuge) {
    if (allocates) window = ahead(list, question, end);
    else window = question.isCopy ? page : unshownAround(question, healthy ?? page);
  }
  const isPoisoned = healthy === undefined;
  return { state, window, isHuge, regionPage: regionOf(extent, window), isPoisoned };
}

/** Huge entries need file page and address to lie alike in their 2 MiB. */
function isCongruent(view: View): boolean {
  const { addressPage, filePage } = view.mapping;
  return (addressPage - filePage) % PAGES_PER_HUGE === 0;
}

function regionOf(extent: Extent | undefined, window: PageRange): number | undefined {
  return extent === undefined ? undefined : extent.regionPage + (window.filePage - extent.filePage);
}

/** Where a store may allocate: the extent, or the pages of the hole, if it is all of the range. */
function backedAlike(
  list: ExtentList,
  extent: Extent | undefined,
  start: number,
  end: number,
): PageRange {
  if (extent !== undefined) return clip(extent, start, end);
  const piece = pieceAt(list, start, end);
  const isHole = piece.extent === undefined && piece.pageCount === end - start;
  return { filePage: start, pageCount: isHole ? end - start : 1 };
}

function clip(range: PageRange, start: number, end: number): PageRange {
  const filePage = Math.max(range.filePage, start);
  return { filePage, pageCount: Math.min(range.filePage + range.pageCount, end) - filePage };
}

/** The pages around one that read as zeroes. */
function unwrittenAround(
  list: ExtentList,
  filePage: number,
  start: number,
  end: number,
): PageRange {
  let first = start;
  for (const extent of list.slice(start, end)) {
    if (extent.state !== WRITTEN) continue;
    if (extent.filePage > filePage) return { filePage: first, pageCount: extent.filePage - first };
    first = extent.filePage + extent.pageCount;
  }
  return { filePage: first, pageCount: end - first };
}

/** The pages of the window around the asked one that the mapping does not show yet. */
function unshownAround(question: Question, window: PageRange): PageRange {
  const { filePage, view } = question;
  const isFree = (page: number) => {
    const shown = view.shownAt(page);
    return shown === 'none' || shown === 'bus';
  };
  let first = filePage;
  let end = filePage + 1;
  if (isFree(filePage)) {
    while (first > window.filePage && isFree(first - 1)) first--;
    while (end < window.filePage + window.pageCount && isFree(end)) end++;
  }
  return { filePage: first, pageCount: end - first };
}

/** The pages that a store allocates: those backed alike from its own on. */
function ahead(list: ExtentList, { filePage, aheadPages }: Question, end: number): PageRange {
  const { pageCount } = pieceAt(list, filePage, Math.min(filePage + aheadPages, end));
  return { filePage, pageCount };
}

/** The part of a window around a page that can be read; undefined when the page cannot. */
function clearOfPoison(
  region: Region,
  extent: Extent,
  filePage: number,
  window: PageRange,
): PageRange | undefined {
  let start = window.filePage;
  let end = window.filePage + window.pageCount;
  for (const regionPage of region.poisonedPages()) {
    const page = extent.filePage + (regionPage - extent.regionPage);
    if (page === filePage) return undefined;
    if (page < filePage) start = Math.max(start, page + 1);
    else end = Math.min(end, page);
  }
  return { filePage: start, pageCount: end - start };
}
