/**
 * The region of the race lab: pages of contents (content.ts) in three ages, newest, flushed and durable,
 * as lib/region.ts describes them. It goes back to where it began in as many steps as pages changed.
 * Numbers are region pages and words in them; the byte interface is for the filesystem's own code.
 */
import assert from 'node:assert/strict';
import { Errno } from '../errno.js';
import type { CrashCount, Region } from '../region.js';
import { PAGE_BYTES, pageOf } from '../units.js';
import { type Content, Contents, WORD_BYTES, WORDS_PER_PAGE, wordOf } from './content.js';
import { DURABLE, type Footprint, pageBit } from './footprint.js';

/** What a power cut may leave of lines that are not durable. */
export type Kept = 'none' | 'flushed' | 'all';

const NOTHING: ReadonlyMap<number, Content> = new Map();

export class LabRegion implements Region {
  readonly contents = new Contents();
  private readonly base: Content[];
  private readonly newest: Content[];
  private readonly durable: Content[];
  /** Flushed and not fenced. */
  private readonly flushed = new Map<number, Content>();
  /** What was flushed when each operation since the last commit ended, and is not fenced since. */
  private marks: ReadonlyMap<number, Content>[] = [];
  private readonly changed = new Set<number>();
  private readonly poisonedBase: readonly number[];
  private readonly poisoned = new Set<number>();

  /** @param fillOf what the words of a page hold at the beginning */
  constructor(
    readonly pageCount: number,
    options: { fillOf: (page: number) => number; poisoned: readonly number[] },
    private readonly footprint: Footprint,
  ) {
    this.base = Array.from({ length: pageCount }, (_, page) =>
      this.contents.filled(options.fillOf(page)),
    );
    this.newest = [...this.base];
    this.durable = [...this.base];
    this.poisonedBase = options.poisoned;
    for (const page of options.poisoned) this.poisoned.add(page);
  }

  /** Everything is as it was made. */
  reset(): void {
    for (const page of this.changed) {
      this.newest[page] = this.base[page]!;
      this.durable[page] = this.base[page]!;
    }
    this.changed.clear();
    this.flushed.clear();
    this.marks = [];
    this.poisoned.clear();
    for (const page of this.poisonedBase) this.poisoned.add(page);
  }

  content(page: number): Content {
    this.footprint.reads |= pageBit(page);
    return this.newest[page]!;
  }

  word(page: number, index: number): number {
    return wordOf(this.content(page), index);
  }

  /** A store of a program. */
  storeWord(page: number, index: number, value: number): void {
    this.put(page, this.contents.with(this.newest[page]!, index, value));
  }

  isPoisoned(page: number): boolean {
    return this.poisoned.has(page);
  }

  /** An operation ends: a commit that keeps it, and not the next, fences what is flushed now. */
  markOperation(): void {
    this.marks.push(new Map(this.flushed));
  }

  forgetOperations(): void {
    this.marks = [];
  }

  /** What the page holds after a power cut. @param operations that are kept of the marked ones */
  contentAfterCut(page: number, kept: Kept, operations: number): Content {
    if (kept === 'all') return this.newest[page]!;
    const fenced = this.marks[operations - 1]?.get(page) ?? this.durable[page]!;
    return (kept === 'flushed' ? this.flushed.get(page) : undefined) ?? fenced;
  }

  /** Pages of which something is not durable. */
  undecidedPages(): number[] {
    return [...this.changed]
      .filter((page) => this.newest[page] !== this.durable[page] || this.flushed.has(page))
      .sort((a, b) => a - b);
  }

  /** All bytes, in all ages, as text: the same text, the same state. */
  text(): string {
    const parts: string[] = [];
    const pages = [...this.changed].sort((a, b) => a - b);
    for (let at = 0; at < pages.length; ) {
      const first = pages[at]!;
      const newest = this.newest[first]!;
      const durable = this.durable[first]!;
      const flushed = this.flushed.get(first);
      let end = at + 1;
      while (
        end < pages.length &&
        pages[end] === first + (end - at) &&
        this.newest[pages[end]!] === newest &&
        this.durable[pages[end]!] === durable &&
        this.flushed.get(pages[end]!) === flushed
      ) {
        end++;
      }
      if (
        newest !== this.base[first] ||
        durable !== newest ||
        flushed !== undefined ||
        end - at > 1
      ) {
        parts.push(`${first}+${end - at}:${newest.id},${flushed?.id ?? ''},${durable.id}`);
      }
      at = end;
    }
    return parts.join(' ');
  }

  /** What the marks hold. */
  marksText(): string {
    return this.marks
      .map((mark) =>
        [...mark]
          .map(([page, { id }]) => `${page}:${id}`)
          .sort()
          .join(','),
      )
      .join(';');
  }

  // lib/region.ts

  read(offset: number, target: Uint8Array): void {
    this.refusePoison(offset, target.length);
    const view = new DataView(target.buffer, target.byteOffset, target.length);
    for (let done = 0; done < target.length; done += WORD_BYTES) {
      const at = offset + done;
      const value = this.word(pageOf(at), (at % PAGE_BYTES) / WORD_BYTES);
      view.setUint32(done, value, true);
      view.setUint32(done + 4, 0, true);
    }
  }

  store(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const page = pageOf(offset + done);
      const from = (offset + done) % PAGE_BYTES;
      const length = Math.min(source.length - done, PAGE_BYTES - from);
      const bytes = source.subarray(done, done + length);
      this.put(page, this.contents.parsed(this.newest[page]!, from / WORD_BYTES, bytes));
      done += length;
    }
  }

  storeFlushed(offset: number, source: Uint8Array): void {
    const endPage = pageOf(offset + source.length - 1) + 1;
    for (let page = pageOf(offset); page < endPage; page++) {
      if (!this.poisoned.has(page)) continue;
      const isWhole =
        offset <= page * PAGE_BYTES && (page + 1) * PAGE_BYTES <= offset + source.length;
      if (!isWhole) throw new Errno('EIO', `region page ${page} is poisoned`);
      this.poisoned.delete(page);
    }
    this.store(offset, source);
    this.flush(offset, source.length);
  }

  zeroFlushed(offset: number, lengthBytes: number): void {
    this.refusePoison(offset, lengthBytes);
    const zeroes = this.contents.filled(0);
    this.eachPage(offset, lengthBytes, (page, first, end) => {
      this.put(page, this.contents.spliced(this.newest[page]!, zeroes, first, end));
    });
    this.flush(offset, lengthBytes);
  }

  copyFlushed(): void {
    assert.fail('nothing the lab runs copies inside the region');
  }

  flush(offset: number, lengthBytes: number): void {
    this.footprint.writes |= DURABLE;
    this.eachPage(offset, lengthBytes, (page, first, end) => {
      this.footprint.reads |= pageBit(page);
      const under = this.flushed.get(page) ?? this.durable[page]!;
      // Whole lines go.
      const [firstWord, endWord] = [first - (first % 8), Math.ceil(end / 8) * 8];
      const flushed = this.contents.spliced(under, this.newest[page]!, firstWord, endWord);
      if (flushed !== this.durable[page]) this.flushed.set(page, flushed);
    });
  }

  fence(): void {
    this.footprint.writes |= DURABLE;
    for (const [page, content] of this.flushed) this.durable[page] = content;
    this.flushed.clear();
    this.marks = this.marks.map(() => NOTHING);
  }

  poison(page: number): void {
    this.poisoned.add(page);
  }

  heal(page: number): void {
    this.poisoned.delete(page);
  }

  poisonedPages(): number[] {
    return [...this.poisoned].sort((a, b) => a - b);
  }

  fillCanary(): void {
    assert.fail('free pages hold old bytes as they are');
  }

  trackUndecided(): void {
    // All three ages are always kept.
  }

  undecidedLineCount(): number {
    return this.undecidedPages().length;
  }

  crash(): CrashCount {
    assert.fail('the lab looks at what a cut would leave; it cuts nothing');
  }

  syncHost(): void {
    // Memory ends with the process.
  }

  close(): void {
    // Nothing is held.
  }

  private put(page: number, content: Content): void {
    this.footprint.writes |= pageBit(page) | DURABLE;
    if (this.newest[page] === content) return;
    this.newest[page] = content;
    this.changed.add(page);
  }

  private refusePoison(offset: number, lengthBytes: number): void {
    if (this.poisoned.size === 0) return;
    this.eachPage(offset, lengthBytes, (page) => {
      if (this.poisoned.has(page)) throw new Errno('EIO', `region page ${page} is poisoned`);
    });
  }

  private eachPage(
    offset: number,
    lengthBytes: number,
    visit: (page: number, firstWord: number, endWord: number) => void,
  ): void {
    const end = offset + lengthBytes;
    for (let page = pageOf(offset); page * PAGE_BYTES < end; page++) {
      const first = Math.max(0, offset - page * PAGE_BYTES) / WORD_BYTES;
      visit(page, first, Math.min(WORDS_PER_PAGE, (end - page * PAGE_BYTES) / WORD_BYTES));
    }
  }
}
