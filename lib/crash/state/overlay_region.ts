/**
 * A region over a base image that is never changed: pages are copied when they are stored to. What
 * a check, a recovery or a continued workload runs on, in memory and without the addon. It notes
 * which lines of the base were read before they were overwritten here (only those can have made a
 * difference), and reads that were served from a canary (somebody was shown what is not his).
 *
 * With a sink every store, flush, fence and canary is an event too: the trace of a run on a crash
 * state, for a crash inside it. There is no power to cut here, and no poison.
 */
import assert from 'node:assert/strict';
import { CANARY_MAGIC, canaryPage } from '../../canary.js';
import type { CrashCount, Region } from '../../region.js';
import { FILESYSTEM_THREAD, type TraceEvent } from '../../trace/event.js';
import type { BaseImage } from '../../trace/source.js';
import { LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES, pageOf } from '../../units.js';

const MAGIC_LOW = CANARY_MAGIC.readUInt32LE(0);
const MAGIC_HIGH = CANARY_MAGIC.readUInt32LE(4);

export interface OverlayRegionOptions {
  /** Gets each event when it happens; the bytes of a store are the caller's own. */
  sink?: ((event: TraceEvent) => void) | undefined;
  /** A line of the base that holds a canary was read. */
  canaryRead?: ((regionPage: number, ownerIno: number) => void) | undefined;
}

/** A page of the overlay: its bytes, or the owner whose canary fills it. */
type OwnPage = Buffer | number;

export class OverlayRegion implements Region {
  readonly pageCount: number;
  /** The call that events of the sink belong to. */
  callId = 0;
  private readonly own = new Map<number, OwnPage>();
  /** Two words of 32 lines each: lines that no longer show the base; lines of it that were read. */
  private readonly covered = new Map<number, Uint32Array>();
  private readonly linesRead = new Map<number, Uint32Array>();

  constructor(
    private readonly base: Pick<BaseImage, 'page' | 'pageCount'>,
    private readonly options: OverlayRegionOptions = {},
  ) {
    this.pageCount = base.pageCount;
  }

  /** Lines of the base that were read before they were overwritten, ascending, each once. */
  readLines(): Float64Array {
    const pages = Float64Array.from(this.linesRead.keys()).sort();
    const lines = new Float64Array(pages.length * LINES_PER_PAGE);
    let count = 0;
    for (const page of pages) {
      const words = this.linesRead.get(page)!;
      for (let line = 0; line < LINES_PER_PAGE; line++) {
        if (isSet(words, line)) lines[count++] = page * LINES_PER_PAGE + line;
      }
    }
    return lines.slice(0, count);
  }

  read(offset: number, target: Uint8Array): void {
    this.checkRange(offset, target.length);
    for (let done = 0; done < target.length; ) {
      const page = pageOf(offset + done);
      const from = offset + done - page * PAGE_BYTES;
      const length = Math.min(target.length - done, PAGE_BYTES - from);
      const bytes = this.pageBytes(page);
      target.set(bytes.subarray(from, from + length), done);
      this.noteRead(page, from, length, bytes);
      done += length;
    }
  }

  store(offset: number, source: Uint8Array): void {
    this.change(offset, source, false);
  }

  storeFlushed(offset: number, source: Uint8Array): void {
    this.change(offset, source, true);
  }

  zeroFlushed(offset: number, lengthBytes: number): void {
    const zeroes = Buffer.alloc(Math.min(lengthBytes, 256 * PAGE_BYTES));
    for (let done = 0; done < lengthBytes; done += zeroes.length) {
      const part = zeroes.subarray(0, Math.min(zeroes.length, lengthBytes - done));
      this.change(offset + done, part, true);
    }
  }

  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void {
    const bytes = Buffer.alloc(lengthBytes);
    this.read(fromOffset, bytes);
    this.change(toOffset, bytes, true);
  }

  flush(offset: number, lengthBytes: number): void {
    this.checkRange(offset, lengthBytes);
    const { callId } = this;
    this.options.sink?.({ type: 'flush', callId, offset, lengthBytes, thread: FILESYSTEM_THREAD });
  }

  fence(): void {
    this.options.sink?.({ type: 'fence', callId: this.callId, thread: FILESYSTEM_THREAD });
  }

  fillCanary(page: number, pageCount: number, ownerIno: number): void {
    this.checkRange(page * PAGE_BYTES, pageCount * PAGE_BYTES);
    for (let index = page; index < page + pageCount; index++) {
      this.own.set(index, ownerIno);
      bitmapOf(this.covered, index).fill(0xffffffff);
    }
    this.options.sink?.({ type: 'canary', page, pageCount, ownerIno });
  }

  poison(): void {
    assert.fail('a crash state has no media errors');
  }

  heal(): void {
    assert.fail('a crash state has no media errors');
  }

  poisonedPages(): number[] {
    return [];
  }

  trackUndecided(): void {
    assert.fail('a crash state has no power to cut');
  }

  undecidedLineCount(): number {
    return 0;
  }

  crash(): CrashCount {
    assert.fail('a crash state has no power to cut');
  }

  syncHost(): void {
    // Memory: there is no host durability to add.
  }

  close(): void {
    this.own.clear();
  }

  private pageBytes(page: number): Uint8Array {
    const own = this.own.get(page);
    if (own === undefined) return this.base.page(page);
    return typeof own === 'number' ? canaryPage(Buffer.alloc(PAGE_BYTES), page, own) : own;
  }

  private change(offset: number, source: Uint8Array, isFlushed: boolean): void {
    this.checkRange(offset, source.length);
    for (let done = 0; done < source.length; ) {
      const page = pageOf(offset + done);
      const from = offset + done - page * PAGE_BYTES;
      const length = Math.min(source.length - done, PAGE_BYTES - from);
      this.writable(page, length).set(source.subarray(done, done + length), from);
      const endLine = Math.floor((from + length) / LINE_BYTES);
      const covered = bitmapOf(this.covered, page);
      for (let line = Math.ceil(from / LINE_BYTES); line < endLine; line++) set(covered, line);
      done += length;
    }
    const { callId } = this;
    this.options.sink?.({ type: 'store', callId, offset, bytes: source, isFlushed });
  }

  /** @param length of what the caller stores: a whole page needs no copy of the old one */
  private writable(page: number, length: number): Buffer {
    const own = this.own.get(page);
    if (own instanceof Buffer) return own;
    const bytes = length === PAGE_BYTES ? Buffer.alloc(PAGE_BYTES) : this.pageBytes(page);
    const copy = Buffer.from(bytes);
    this.own.set(page, copy);
    return copy;
  }

  private noteRead(page: number, from: number, length: number, bytes: Uint8Array): void {
    const covered = this.covered.get(page);
    const linesRead = bitmapOf(this.linesRead, page);
    const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
    const lastLine = Math.floor((from + length - 1) / LINE_BYTES);
    for (let line = Math.floor(from / LINE_BYTES); line <= lastLine; line++) {
      if (covered !== undefined && isSet(covered, line)) continue;
      set(linesRead, line);
      const at = line * LINE_BYTES;
      if (view.getUint32(at, true) !== MAGIC_LOW) continue;
      if (view.getUint32(at + 4, true) !== MAGIC_HIGH) continue;
      if (Number(view.getBigUint64(at + 8, true)) !== page) continue;
      this.options.canaryRead?.(page, Number(view.getBigUint64(at + 16, true)));
    }
  }

  private checkRange(offset: number, lengthBytes: number): void {
    assert(offset >= 0 && lengthBytes >= 0);
    assert(offset + lengthBytes <= this.pageCount * PAGE_BYTES);
  }
}

function bitmapOf(bitmaps: Map<number, Uint32Array>, page: number): Uint32Array {
  let words = bitmaps.get(page);
  if (words === undefined) {
    words = new Uint32Array(LINES_PER_PAGE / 32);
    bitmaps.set(page, words);
  }
  return words;
}

function isSet(words: Uint32Array, line: number): boolean {
  return ((words[line >>> 5]! >>> (line & 31)) & 1) === 1;
}

function set(words: Uint32Array, line: number): void {
  words[line >>> 5]! |= 1 << (line & 31);
}
