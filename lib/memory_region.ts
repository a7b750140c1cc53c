/**
 * A region in ordinary memory, with the persistence states of lib/region.ts simulated: what tests
 * and explorations run on without the addon. While tracking, each line that is stored and not
 * durable keeps its durable value and, if it was flushed since, the value it had at the flush.
 */
import assert from 'node:assert/strict';
import { canaryPage } from './canary.js';
import { Errno } from './errno.js';
import { Random } from './random.js';
import type { CrashCount, Keep, Region } from './region.js';
import { LINE_BYTES, PAGE_BYTES, pageOf } from './units.js';

interface UndecidedLine {
  durable: Uint8Array;
  flushed: Uint8Array | undefined;
}

export class MemoryRegion implements Region {
  readonly pageCount: number;
  private readonly bytes: Buffer;
  private readonly poisoned = new Set<number>();
  private tracking = false;
  private readonly undecided = new Map<number, UndecidedLine>();
  /** Lines flushed since the last fence. */
  private readonly flushedLines = new Set<number>();

  constructor(pageCount: number) {
    assert(pageCount > 0);
    this.pageCount = pageCount;
    this.bytes = Buffer.alloc(pageCount * PAGE_BYTES);
  }

  read(offset: number, target: Uint8Array): void {
    this.checkRange(offset, target.length);
    this.refusePoison(offset, target.length);
    target.set(this.bytes.subarray(offset, offset + target.length));
  }

  store(offset: number, source: Uint8Array): void {
    this.checkRange(offset, source.length);
    this.refusePoison(offset, source.length);
    this.beforeStore(offset, source.length);
    this.bytes.set(source, offset);
  }

  storeFlushed(offset: number, source: Uint8Array): void {
    this.checkRange(offset, source.length);
    this.healCovered(offset, source.length);
    this.beforeStore(offset, source.length);
    this.bytes.set(source, offset);
    this.flush(offset, source.length);
  }

  zeroFlushed(offset: number, lengthBytes: number): void {
    this.checkRange(offset, lengthBytes);
    this.refusePoison(offset, lengthBytes);
    this.beforeStore(offset, lengthBytes);
    this.bytes.fill(0, offset, offset + lengthBytes);
    this.flush(offset, lengthBytes);
  }

  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void {
    this.checkRange(fromOffset, lengthBytes);
    this.checkRange(toOffset, lengthBytes);
    this.refusePoison(fromOffset, lengthBytes);
    this.healCovered(toOffset, lengthBytes);
    this.beforeStore(toOffset, lengthBytes);
    this.bytes.copyWithin(toOffset, fromOffset, fromOffset + lengthBytes);
    this.flush(toOffset, lengthBytes);
  }

  flush(offset: number, lengthBytes: number): void {
    this.checkRange(offset, lengthBytes);
    if (!this.tracking) return;
    this.eachLine(offset, lengthBytes, (line) => {
      const state = this.undecided.get(line);
      if (state === undefined) return;
      state.flushed = this.copyOfLine(line);
      this.flushedLines.add(line);
    });
  }

  fence(): void {
    for (const line of this.flushedLines) {
      const state = this.undecided.get(line)!;
      assert(state.flushed !== undefined);
      if (this.lineOf(line).equals(state.flushed)) {
        this.undecided.delete(line);
      } else {
        state.durable = state.flushed;
        state.flushed = undefined;
      }
    }
    this.flushedLines.clear();
  }

  fillCanary(page: number, pageCount: number, ownerIno: number): void {
    this.checkRange(page * PAGE_BYTES, pageCount * PAGE_BYTES);
    const bytes = Buffer.alloc(PAGE_BYTES);
    for (let index = page; index < page + pageCount; index++) {
      // As the mapped region does: poisoned pages keep their poison.
      if (this.poisoned.has(index)) continue;
      this.storeFlushed(index * PAGE_BYTES, canaryPage(bytes, index, ownerIno));
    }
  }

  poison(page: number): void {
    this.checkRange(page * PAGE_BYTES, PAGE_BYTES);
    this.poisoned.add(page);
  }

  heal(page: number): void {
    this.poisoned.delete(page);
  }

  poisonedPages(): number[] {
    return [...this.poisoned].sort((a, b) => a - b);
  }

  trackUndecided(): void {
    this.tracking = true;
  }

  undecidedLineCount(): number {
    return this.undecided.size;
  }

  crash(keep: Keep): CrashCount {
    assert(this.tracking, 'crash() needs trackUndecided() first');
    const random = new Random(keep.keep === 'seed' ? keep.seed : 0);
    const undecidedLines = this.undecided.size;
    let keptLines = 0;
    const lines = [...this.undecided.keys()].sort((a, b) => a - b);
    for (const line of lines) {
      const state = this.undecided.get(line)!;
      const newest = this.copyOfLine(line);
      const values = [state.durable, state.flushed ?? newest, newest];
      const choice = keep.keep === 'none' ? 0 : keep.keep === 'all' ? 2 : random.below(3);
      if (choice > 0) keptLines++;
      this.bytes.set(values[choice]!, line * LINE_BYTES);
    }
    this.undecided.clear();
    this.flushedLines.clear();
    return { undecidedLines, keptLines };
  }

  syncHost(): void {
    // Memory ends with the process; there is no host durability to add.
  }

  close(): void {
    this.undecided.clear();
    this.flushedLines.clear();
  }

  /** Keeps the durable value of lines that become undecided. */
  private beforeStore(offset: number, lengthBytes: number): void {
    if (!this.tracking) return;
    this.eachLine(offset, lengthBytes, (line) => {
      if (this.undecided.has(line)) return;
      this.undecided.set(line, { durable: this.copyOfLine(line), flushed: undefined });
    });
  }

  private refusePoison(offset: number, lengthBytes: number): void {
    const [page] = this.poisonedIn(offset, lengthBytes);
    if (page !== undefined) throw new Errno('EIO', `region page ${page} is poisoned`);
  }

  /** The range is about to be stored and flushed: heals pages it covers, refuses poison in others. */
  private healCovered(offset: number, lengthBytes: number): void {
    const first = Math.ceil(offset / PAGE_BYTES);
    const end = Math.floor((offset + lengthBytes) / PAGE_BYTES);
    const poisoned = this.poisonedIn(offset, lengthBytes);
    const inPart = poisoned.find((page) => page < first || page >= end);
    if (inPart !== undefined) throw new Errno('EIO', `region page ${inPart} is poisoned`);
    for (const page of poisoned) this.poisoned.delete(page);
  }

  private poisonedIn(offset: number, lengthBytes: number): number[] {
    if (lengthBytes === 0) return [];
    const last = pageOf(offset + lengthBytes - 1);
    return [...this.poisoned].filter((page) => page >= pageOf(offset) && page <= last);
  }

  private checkRange(offset: number, lengthBytes: number): void {
    assert(offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= this.bytes.length);
  }

  private eachLine(offset: number, lengthBytes: number, visit: (line: number) => void): void {
    const end = offset + lengthBytes;
    for (let line = Math.floor(offset / LINE_BYTES); line * LINE_BYTES < end; line++) visit(line);
  }

  private lineOf(line: number): Buffer {
    return this.bytes.subarray(line * LINE_BYTES, (line + 1) * LINE_BYTES);
  }

  private copyOfLine(line: number): Uint8Array {
    return new Uint8Array(this.lineOf(line));
  }
}
