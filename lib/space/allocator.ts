/**
 * Which region pages are free. A page is free, used, or busy: freed by the running transaction and
 * not to be handed out before the commit, because until then a crash gives it back to its old
 * owner. Page 0 (the superblock) is never free. Units are pages of 4 KiB, chunks of 512 pages
 * (2 MiB) and groups of 512 chunks (1 GiB); counts per chunk and group keep a search short in a
 * region of a terabyte that is nearly full.
 *
 * A journal of the running transaction lets rollback() restore the last commit exactly.
 */
import assert from 'node:assert/strict';
import { PAGES_PER_HUGE } from '../units.js';
import { PageBitmap } from './page_bitmap.js';

export const REGION_PAGES_MAX = 2 ** 31 - PAGES_PER_HUGE;
const CHUNKS_PER_GROUP = 512;
/** Partly used chunks looked at before a whole free chunk is broken for a small request. */
const PARTIAL_CHUNKS_TRIED_MAX = 64;

export interface PageRun {
  page: number;
  pageCount: number;
}

export interface FreedRun extends PageRun {
  ownerIno: number;
}

export interface AllocateRequest {
  /** Less than this is no use. */
  pageCountMin: number;
  /** Wanted; what is returned may be shorter. */
  pageCountMax: number;
  /** Preferred first page: the one after the file's previous extent. */
  goalPage?: number | undefined;
  /** Starts in a whole free chunk, at its first page, when there is one and no goal is met. */
  alignHuge?: boolean | undefined;
}

type JournalEntry = { kind: 'allocate' | 'free'; run: PageRun };

export class Allocator {
  readonly pageCount: number;
  private readonly used: PageBitmap;
  private readonly chunkFree: Uint16Array;
  private readonly groupFree: Uint32Array;
  /** Wholly free chunks. */
  private readonly groupWhole: Uint16Array;
  private readonly reuseBeforeCommit: boolean;
  private cursorChunk = 0;
  private freeCount: number;
  private busyCount = 0;
  private asideCount = 0;
  private busyRuns: FreedRun[] = [];
  private journal: JournalEntry[] = [];

  /** All pages but page 0 are free. */
  constructor(pageCount: number, options: { reuseBeforeCommit?: boolean } = {}) {
    assert(pageCount > 1 && pageCount <= REGION_PAGES_MAX);
    this.pageCount = pageCount;
    this.reuseBeforeCommit = options.reuseBeforeCommit ?? false;
    const chunkCount = Math.ceil(pageCount / PAGES_PER_HUGE);
    const groupCount = Math.ceil(chunkCount / CHUNKS_PER_GROUP);
    const roundedCount = chunkCount * PAGES_PER_HUGE;
    this.used = new PageBitmap(roundedCount);
    this.chunkFree = new Uint16Array(chunkCount);
    this.groupFree = new Uint32Array(groupCount);
    this.groupWhole = new Uint16Array(groupCount);
    this.freeCount = 0;
    this.setFree({ page: 0, pageCount: roundedCount });
    this.setUsed({ page: 0, pageCount: 1 });
    if (roundedCount > pageCount) {
      this.setUsed({ page: pageCount, pageCount: roundedCount - pageCount });
    }
    assert(this.freeCount === pageCount - 1);
  }

  /** Another allocator in the same state. Nothing may have changed since the last commit. */
  copy(): Allocator {
    assert(this.journal.length === 0 && this.busyCount === 0);
    const copy = Object.create(Allocator.prototype) as Allocator;
    return Object.assign(copy, this, {
      used: this.used.copy(),
      chunkFree: this.chunkFree.slice(),
      groupFree: this.groupFree.slice(),
      groupWhole: this.groupWhole.slice(),
      busyRuns: [],
      journal: [],
    });
  }

  /** Pages that allocate() can give out now. */
  get freePages(): number {
    return this.freeCount;
  }

  /** Pages that the next commit makes free, and those set aside. */
  get busyPages(): number {
    return this.busyCount + this.asideCount;
  }

  /** Data pages neither free nor busy. */
  get usedPages(): number {
    return this.pageCount - 1 - this.freeCount - this.busyPages;
  }

  /**
   * Takes free pages in one run of pageCountMin to pageCountMax pages; undefined when there is no
   * run of pageCountMin. First choice is to continue at the goal; 512 pages and more start at a
   * 2 MiB boundary where one is free; small runs fill partly used chunks.
   */
  allocate(request: AllocateRequest): PageRun | undefined {
    const { pageCountMin, pageCountMax } = request;
    assert(pageCountMin > 0 && pageCountMin <= pageCountMax);
    if (pageCountMin > this.freeCount) return undefined;
    const run = this.search(request);
    if (run === undefined) return undefined;
    assert(run.pageCount >= pageCountMin && run.pageCount <= pageCountMax);
    this.setUsed(run);
    this.journal.push({ kind: 'allocate', run });
    return run;
  }

  /**
   * So many pages more (or less) are allocated that no map has: before the next commit each is mapped
   * or cancelled. They count as busy.
   */
  setAside(pageCount: number): void {
    this.asideCount += pageCount;
    assert(this.asideCount >= 0);
  }

  /** Takes a run that the metadata says is used. @returns false when a page of it is not free */
  markUsed(run: PageRun): boolean {
    const endPage = run.page + run.pageCount;
    assert(run.page > 0 && run.pageCount > 0 && endPage <= this.pageCount);
    if (this.used.nextSet(run.page, endPage) !== endPage) return false;
    this.setUsed(run);
    this.journal.push({ kind: 'allocate', run });
    return true;
  }

  /** What is used now is the state of the last commit; for after loading. */
  markCommitted(): void {
    assert(this.busyCount === 0);
    this.journal = [];
  }

  /** Gives back used pages: busy until releaseBusy(). */
  free(run: PageRun, ownerIno: number): void {
    this.assertUsed(run);
    this.journal.push({ kind: 'free', run });
    if (this.reuseBeforeCommit) {
      this.setFree(run);
      return;
    }
    this.busyCount += run.pageCount;
    this.busyRuns.push({ page: run.page, pageCount: run.pageCount, ownerIno });
  }

  /** Gives back pages just allocated that no map ever showed: free at once. */
  cancel(run: PageRun): void {
    this.assertUsed(run);
    this.setFree(run);
    const last = this.journal.at(-1);
    if (last !== undefined && last.run === run && last.kind === 'allocate') this.journal.pop();
    else this.journal.push({ kind: 'free', run });
  }

  /** The running transaction was committed: busy pages become free. @returns them and their owners */
  releaseBusy(): FreedRun[] {
    const released = this.busyRuns;
    for (const run of released) this.setFree(run);
    this.busyRuns = [];
    this.busyCount = 0;
    this.journal = [];
    return released;
  }

  /** Restores the state of the last releaseBusy() or markCommitted(). */
  rollback(): void {
    this.busyRuns = [];
    this.busyCount = 0;
    for (let index = this.journal.length - 1; index >= 0; index--) {
      const { kind, run } = this.journal[index]!;
      if (kind === 'allocate') this.setFree(run);
      else if (this.used.nextClear(run.page, run.page + 1) === run.page) this.setUsed(run);
    }
    this.journal = [];
  }

  /** Free runs in order, for filling with canaries and for checks. */
  *freeRuns(): IterableIterator<PageRun> {
    let page = this.used.nextClear(1, this.pageCount);
    while (page < this.pageCount) {
      const endPage = this.used.nextSet(page, this.pageCount);
      yield { page, pageCount: endPage - page };
      page = this.used.nextClear(endPage, this.pageCount);
    }
  }

  /** What the next calls go by, as text: the same text, the same state. */
  text(): string {
    const free = [...this.freeRuns()].map(({ page, pageCount }) => `${page}+${pageCount}`);
    const busy = this.busyRuns.map(({ page, pageCount }) => `${page}+${pageCount}`);
    return `free ${free.join(' ')} busy ${busy.join(' ')} cursor ${this.cursorChunk}`;
  }

  private search(request: AllocateRequest): PageRun | undefined {
    const { pageCountMin, pageCountMax, goalPage } = request;
    const isLarge = pageCountMax >= PAGES_PER_HUGE;
    let atGoal: PageRun | undefined;
    if (goalPage !== undefined && goalPage > 0 && goalPage < this.pageCount) {
      const run = this.runAt(goalPage, pageCountMax);
      const enough = isLarge ? Math.max(pageCountMin, PAGES_PER_HUGE) : pageCountMin;
      const misaligned = request.alignHuge === true && goalPage % PAGES_PER_HUGE !== 0;
      if (run.pageCount >= enough && !misaligned) return run;
      if (run.pageCount >= pageCountMin) atGoal = run;
    }
    if (isLarge || request.alignHuge === true) {
      const run = this.runInWholeChunks(pageCountMin, pageCountMax) ?? atGoal;
      if (run !== undefined) return run;
    }
    const goalChunk = goalPage === undefined ? undefined : Math.floor(goalPage / PAGES_PER_HUGE);
    return this.runInPartialChunks(request, goalChunk ?? this.cursorChunk);
  }

  /** The first run that starts in a whole free chunk and is long enough, groups from the cursor. */
  private runInWholeChunks(pageCountMin: number, pageCountMax: number): PageRun | undefined {
    const groupCount = this.groupWhole.length;
    const firstGroup = Math.floor(this.cursorChunk / CHUNKS_PER_GROUP) % groupCount;
    for (let step = 0; step < groupCount; step++) {
      const group = (firstGroup + step) % groupCount;
      if (this.groupWhole[group] === 0) continue;
      const firstChunk = group * CHUNKS_PER_GROUP;
      const endChunk = Math.min(this.chunkFree.length, firstChunk + CHUNKS_PER_GROUP);
      for (let chunk = firstChunk; chunk < endChunk; chunk++) {
        if (this.chunkFree[chunk] !== PAGES_PER_HUGE) continue;
        const run = this.runAt(chunk * PAGES_PER_HUGE, pageCountMax);
        if (run.pageCount >= pageCountMin) return run;
        chunk += Math.floor(run.pageCount / PAGES_PER_HUGE);
      }
    }
    return undefined;
  }

  /** The best run in partly used chunks from `startChunk` on; a whole chunk when they have none. */
  private runInPartialChunks(request: AllocateRequest, startChunk: number): PageRun | undefined {
    const { pageCountMin, pageCountMax } = request;
    let best: PageRun | undefined;
    let tried = 0;
    for (const chunk of this.partialChunks(startChunk)) {
      const firstPage = chunk * PAGES_PER_HUGE;
      const run = this.bestRun(firstPage, firstPage + PAGES_PER_HUGE, pageCountMax);
      if (best === undefined || run.pageCount > best.pageCount) best = run;
      if (best.pageCount === pageCountMax) {
        this.cursorChunk = chunk;
        return best;
      }
      if (++tried < PARTIAL_CHUNKS_TRIED_MAX) continue;
      const whole = this.runInWholeChunks(pageCountMin, pageCountMax);
      if (whole !== undefined) return whole;
      if (best.pageCount >= pageCountMin) return best;
    }
    const least = Math.max(pageCountMin, best?.pageCount ?? 0);
    const whole = this.runInWholeChunks(least, pageCountMax);
    if (whole !== undefined) return whole;
    return best !== undefined && best.pageCount >= pageCountMin ? best : undefined;
  }

  /** Chunks with free and used pages, each once, from `startChunk` on and around. */
  private *partialChunks(startChunk: number): IterableIterator<number> {
    const chunkCount = this.chunkFree.length;
    for (let chunk = startChunk; chunk < chunkCount; ) {
      chunk = this.skipFullGroups(chunk);
      if (chunk >= chunkCount) break;
      if (this.isPartial(chunk)) yield chunk;
      chunk++;
    }
    for (let chunk = 0; chunk < startChunk; ) {
      chunk = this.skipFullGroups(chunk);
      if (chunk >= startChunk) break;
      if (this.isPartial(chunk)) yield chunk;
      chunk++;
    }
  }

  private isPartial(chunk: number): boolean {
    const free = this.chunkFree[chunk]!;
    return free > 0 && free < PAGES_PER_HUGE;
  }

  /** `chunk`, or the first chunk of the next group that has partly used chunks. */
  private skipFullGroups(chunk: number): number {
    while (chunk < this.chunkFree.length && chunk % CHUNKS_PER_GROUP === 0) {
      const group = chunk / CHUNKS_PER_GROUP;
      if (this.groupFree[group]! > this.groupWhole[group]! * PAGES_PER_HUGE) break;
      chunk += CHUNKS_PER_GROUP;
    }
    return chunk;
  }

  /** The first run of `pageCountMax` that starts in the range, or the longest. */
  private bestRun(firstPage: number, endPage: number, pageCountMax: number): PageRun {
    let best: PageRun = { page: firstPage, pageCount: 0 };
    let page = this.used.nextClear(firstPage, endPage);
    while (page < endPage) {
      const run = this.runAt(page, pageCountMax);
      if (run.pageCount > best.pageCount) best = run;
      if (best.pageCount === pageCountMax) break;
      page = this.used.nextClear(page + run.pageCount, endPage);
    }
    return best;
  }

  /** Free pages in a row from `page` on, at most `pageCountMax`. */
  private runAt(page: number, pageCountMax: number): PageRun {
    const limitPage = Math.min(this.pageCount, page + pageCountMax);
    return { page, pageCount: this.used.nextSet(page, limitPage) - page };
  }

  private assertUsed(run: PageRun): void {
    const endPage = run.page + run.pageCount;
    assert(run.page > 0 && run.pageCount > 0 && endPage <= this.pageCount);
    const isUsed = this.used.nextClear(run.page, endPage) === endPage;
    assert(isUsed, `pages ${run.page} to ${endPage} are not in use`);
  }

  private setUsed(run: PageRun): void {
    this.used.set(run.page, run.pageCount);
    this.countFree(run, -1);
  }

  private setFree(run: PageRun): void {
    this.used.clear(run.page, run.pageCount);
    this.countFree(run, 1);
  }

  private countFree(run: PageRun, sign: 1 | -1): void {
    this.freeCount += sign * run.pageCount;
    const endPage = run.page + run.pageCount;
    for (let page = run.page; page < endPage; ) {
      const chunk = Math.floor(page / PAGES_PER_HUGE);
      const group = Math.floor(chunk / CHUNKS_PER_GROUP);
      const partEnd = Math.min(endPage, (chunk + 1) * PAGES_PER_HUGE);
      const before = this.chunkFree[chunk]!;
      const after = before + sign * (partEnd - page);
      assert(after >= 0 && after <= PAGES_PER_HUGE, `free count of chunk ${chunk}`);
      this.chunkFree[chunk] = after;
      this.groupFree[group]! += after - before;
      if (before === PAGES_PER_HUGE) this.groupWhole[group]!--;
      if (after === PAGES_PER_HUGE) this.groupWhole[group]!++;
      page = partEnd;
    }
  }
}
