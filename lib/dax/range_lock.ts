/**
 * The locks of one file's entries: each holds consecutive file pages, which is one huge entry or some
 * page entries. Who wants pages that somebody holds, or waits for since before, waits.
 */
import assert from 'node:assert/strict';
import type { PageRange } from './mmu.js';
import { Signal } from './signal.js';
import type { Task } from './task.js';

/** A place in the queue; when it is ready, the pages are held. */
export class RangeClaim extends Signal {
  constructor(
    readonly filePage: number,
    readonly endPage: number,
  ) {
    super();
  }

  contains(range: PageRange): boolean {
    return this.filePage <= range.filePage && range.filePage + range.pageCount <= this.endPage;
  }
}

export class RangeLock {
  /** Held and waiting, in order of arrival. */
  private readonly claims: RangeClaim[] = [];

  /** Waits until the pages are free, and holds them until release(). */
  *acquire(range: PageRange): Task<RangeClaim> {
    const claim = new RangeClaim(range.filePage, range.filePage + range.pageCount);
    this.claims.push(claim);
    this.grant();
    let isHeld = claim.isReady;
    try {
      if (!isHeld) yield claim;
      assert(claim.isReady, 'resumed before it held the pages');
      isHeld = true;
    } finally {
      if (!isHeld) this.release(claim);
    }
    return claim;
  }

  release(claim: RangeClaim): void {
    const index = this.claims.indexOf(claim);
    assert(index >= 0);
    this.claims.splice(index, 1);
    this.grant();
  }

  isHeld(filePage: number): boolean {
    return this.claims.some(
      (claim) => claim.isReady && claim.filePage <= filePage && filePage < claim.endPage,
    );
  }

  get isIdle(): boolean {
    return this.claims.length === 0;
  }

  /** For a person: what is held and wanted, in order of arrival. */
  get state(): { filePage: number; pageCount: number; isHeld: boolean }[] {
    return this.claims.map(({ filePage, endPage, isReady }) => {
      return { filePage, pageCount: endPage - filePage, isHeld: isReady };
    });
  }

  private grant(): void {
    for (const [index, claim] of this.claims.entries()) {
      if (claim.isReady) continue;
      const isFree = this.claims
        .slice(0, index)
        .every((other) => other.endPage <= claim.filePage || claim.endPage <= other.filePage);
      if (isFree) claim.set();
    }
  }
}
