/**
 * How many pages a store into a hole allocates of a file whose stores come in order: as many as came
 * so just before. So a file that is filled through a mapping page by page, a database say, comes here
 * once for every doubling, up to a limit, and has at most as much that nobody stored to as was
 * stored in order. Numbers are file pages of 4 KiB.
 */
import type { PageRange } from './mmu.js';

export class RunAhead {
  #nextPage = -1;
  #inOrderPages = 0;

  /** @param pagesMax 1: every store allocates one page */
  constructor(private readonly pagesMax: number) {}

  /** For a store into a hole, or an unwritten extent, at this page. */
  pagesFor(filePage: number): number {
    return filePage === this.#nextPage ? Math.min(this.#inOrderPages, this.pagesMax) : 1;
  }

  /** A store allocated these pages. */
  allocated({ filePage, pageCount }: PageRange): void {
    if (this.pagesMax === 1) return;
    this.#inOrderPages = filePage === this.#nextPage ? this.#inOrderPages + pageCount : pageCount;
    this.#nextPage = filePage + pageCount;
  }

  /** The same text, the same state. */
  get text(): string {
    return `${this.#nextPage}:${this.#inOrderPages}`;
  }
}
