/**
 * Where the pages of files come from: takes runs from the allocator so that files stay in one piece
 * and 2 MiB of a file can lie in 2 MiB of the region, and maps them as unwritten.
 */
import { Errno } from '../errno.js';
import type { Inode } from '../metadata/inode.js';
import type { Metadata } from '../metadata/metadata.js';
import type { Allocator, PageRun } from '../space/allocator.js';
import { type Extent, UNWRITTEN } from '../space/extent_list.js';
import { goalFor, holePages, pieceAt } from '../space/pieces.js';
import { PAGES_PER_HUGE } from '../units.js';

export class PageSource {
  /** @param commit fences and commits, so that busy pages become free */
  constructor(
    private readonly metadata: Metadata,
    private readonly allocator: Allocator,
    private readonly commit: () => void,
  ) {}

  /** Commits when the pages are there but busy. Called before the first change of an operation. */
  reserve(pageCount: number): void {
    if (pageCount > this.allocator.freePages && this.allocator.busyPages > 0) this.commit();
  }

  /** @returns a run for the start of a hole. @throws {Errno} ENOSPC */
  take(inode: Inode, hole: { filePage: number; pageCount: number }): PageRun {
    const { filePage, pageCount } = hole;
    const inChunk = filePage % PAGES_PER_HUGE;
    const toBoundary = PAGES_PER_HUGE - inChunk;
    // A head up to the boundary of 2 MiB is taken alone, so that what follows can be aligned.
    const hasBody = inChunk !== 0 && pageCount - toBoundary >= PAGES_PER_HUGE;
    const pageCountMax = hasBody ? toBoundary : pageCount;
    const run = this.allocator.allocate({
      pageCountMin: 1,
      pageCountMax,
      goalPage: goalFor(this.metadata.extents(inode), filePage),
      alignHuge: inChunk === 0 && (filePage > 0 || pageCountMax >= PAGES_PER_HUGE),
    });
    if (run === undefined) throw new Errno('ENOSPC', `no free page for inode ${inode.ino}`);
    return run;
  }

  /** Backs the holes of a range with unwritten extents. @throws {Errno} ENOSPC: nothing changed */
  fillHoles(inode: Inode, firstPage: number, endPage: number): void {
    const list = this.metadata.extents(inode);
    const needed = holePages(list, firstPage, endPage);
    this.reserve(needed);
    if (needed > this.allocator.freePages) {
      throw new Errno('ENOSPC', `no ${needed} free pages for inode ${inode.ino}`);
    }
    for (let page = firstPage; page < endPage; ) {
      const piece = pieceAt(list, page, endPage);
      page += piece.pageCount;
      if (piece.extent !== undefined) continue;
      const run = this.take(inode, piece);
      this.mapUnwritten(inode, piece.filePage, run);
      page = piece.filePage + run.pageCount;
    }
  }

  /**
   * Backs a whole 2 MiB of a file that are a hole with 2 MiB of the region, unwritten.
   * @returns undefined, and nothing is changed, when no such run is free
   */
  fillHuge(inode: Inode, filePage: number): Extent | undefined {
    const run = this.allocator.allocate({
      pageCountMin: PAGES_PER_HUGE,
      pageCountMax: PAGES_PER_HUGE,
      goalPage: goalFor(this.metadata.extents(inode), filePage),
      alignHuge: true,
    });
    if (run === undefined) return undefined;
    if (run.page % PAGES_PER_HUGE !== 0) {
      this.allocator.cancel(run);
      return undefined;
    }
    return this.mapUnwritten(inode, filePage, run);
  }

  private mapUnwritten(inode: Inode, filePage: number, run: PageRun): Extent {
    const { page: regionPage, pageCount } = run;
    const extent: Extent = { filePage, regionPage, pageCount, state: UNWRITTEN };
    this.metadata.map(inode, extent);
    return extent;
  }
}
