/**
 * Fills region pages that no map shows yet, wholly and flushed, so that whoever maps them next
 * shows no byte of their last owner. Nothing is fenced here: that is the committer's business.
 */
import assert from 'node:assert/strict';
import type { Region } from '../region.js';
import type { Extent } from '../space/extent_list.js';
import { regionOffset } from '../space/pieces.js';
import { PAGE_BYTES, pageOf, pagesFor } from '../units.js';

export class PageFiller {
  private readonly pageBuffer = Buffer.alloc(PAGE_BYTES);
  /** Ranges stored and left unflushed, by the bug that commits before data. */
  private unflushed: { offset: number; lengthBytes: number }[] = [];

  constructor(
    private readonly region: Region,
    private readonly leavesUnflushed: boolean,
  ) {}

  /** Stores all pages of `extent`: the bytes at `offset`, zeroes before and after them. */
  fill(extent: Extent, offset: number, bytes: Uint8Array): void {
    const start = extent.filePage * PAGE_BYTES;
    const end = start + extent.pageCount * PAGE_BYTES;
    const bytesEnd = offset + bytes.length;
    const wholeStart = pagesFor(offset) * PAGE_BYTES;
    const wholeEnd = pageOf(bytesEnd) * PAGE_BYTES;
    assert(offset >= start && offset - start < PAGE_BYTES && end - bytesEnd < PAGE_BYTES);
    // Partial pages are made whole first: one store, which also heals a poisoned page.
    if (wholeStart > start) this.fillPage(extent, start, offset, bytes);
    if (wholeEnd > wholeStart) {
      const whole = bytes.subarray(wholeStart - offset, wholeEnd - offset);
      this.storeNew(regionOffset(extent, wholeStart), whole);
    }
    if (wholeEnd < end && wholeEnd >= wholeStart) this.fillPage(extent, wholeEnd, offset, bytes);
  }

  private fillPage(extent: Extent, pageStart: number, offset: number, bytes: Uint8Array): void {
    const from = Math.max(pageStart, offset);
    const to = Math.min(pageStart + PAGE_BYTES, offset + bytes.length);
    this.pageBuffer.fill(0);
    this.pageBuffer.set(bytes.subarray(from - offset, to - offset), from - pageStart);
    this.storeNew(regionOffset(extent, pageStart), this.pageBuffer);
  }

  private storeNew(offset: number, bytes: Uint8Array): void {
    if (!this.leavesUnflushed) {
      this.region.storeFlushed(offset, bytes);
    } else {
      this.region.store(offset, bytes);
      this.unflushed.push({ offset, lengthBytes: bytes.length });
    }
  }

  /** Flushes what was left unflushed. */
  flushLate(): void {
    for (const { offset, lengthBytes } of this.unflushed) this.region.flush(offset, lengthBytes);
    this.unflushed = [];
  }
}
