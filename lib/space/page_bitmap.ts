/**
 * One bit a page, with searches that skip 32 pages at a time. Ranges are [page, endPage).
 */
import assert from 'node:assert/strict';

const ALL = 0xffffffff;

export class PageBitmap {
  private words: Uint32Array;

  /** All clear. */
  constructor(pageCount: number) {
    assert(pageCount % 32 === 0);
    this.words = new Uint32Array(pageCount / 32);
  }

  copy(): PageBitmap {
    const copy = new PageBitmap(0);
    copy.words = this.words.slice();
    return copy;
  }

  set(page: number, pageCount: number): void {
    this.fill(page, pageCount, true);
  }

  clear(page: number, pageCount: number): void {
    this.fill(page, pageCount, false);
  }

  /** The first set page of the range; `endPage` when all are clear. */
  nextSet(page: number, endPage: number): number {
    return this.next(page, endPage, 0);
  }

  /** The first clear page of the range; `endPage` when all are set. */
  nextClear(page: number, endPage: number): number {
    return this.next(page, endPage, ALL);
  }

  private next(page: number, endPage: number, flip: number): number {
    if (page >= endPage) return endPage;
    let index = page >>> 5;
    const lastIndex = (endPage - 1) >>> 5;
    let word = (this.words[index]! ^ flip) & (ALL << (page & 31));
    while (word === 0) {
      if (++index > lastIndex) return endPage;
      word = this.words[index]! ^ flip;
    }
    const found = index * 32 + (31 - Math.clz32(word & -word));
    return Math.min(found, endPage);
  }

  private fill(page: number, pageCount: number, on: boolean): void {
    const endPage = page + pageCount;
    while (page < endPage) {
      const index = page >>> 5;
      const bit = page & 31;
      if (bit === 0 && endPage - page >= 32) {
        const endIndex = endPage >>> 5;
        this.words.fill(on ? ALL : 0, index, endIndex);
        page = endIndex * 32;
        continue;
      }
      const count = Math.min(32 - bit, endPage - page);
      const mask = count === 32 ? ALL : ((2 ** count - 1) << bit) >>> 0;
      if (on) this.words[index]! |= mask;
      else this.words[index]! &= ~mask;
      page += count;
    }
  }
}
