/**
 * The region of the race lab: what each page holds (content.ts), and what a power cut may leave of it.
 * Every 64-byte line may be left as it was at any moment since the fence that last covered it: caches
 * write lines back when they like. So a page that is not durable keeps its ages, oldest first, and what
 * was flushed waits for a fence of the thread that flushed it: the filesystem's, which is one. A
 * program's own fence covers what the program flushed (makeDurable).
 *
 * It goes back to where it began in as many steps as pages changed. Numbers are region pages and words
 * in them; the byte interface is for the filesystem's own code.
 */
import assert from 'node:assert/strict';
import { Errno } from '../errno.js';
import type { CrashCount, Region } from '../region.js';
import { LINE_BYTES, PAGE_BYTES, pageOf } from '../units.js';
import { type Content, Contents, WORD_BYTES, WORDS_PER_PAGE, wordOf } from './content.js';
import { DURABLE, type Footprint, pageBit } from './footprint.js';

const WORDS_PER_LINE = LINE_BYTES / WORD_BYTES;

/** A flush of words [first, end) of a page, when it had so many ages. */
interface Flush {
  readonly first: number;
  readonly end: number;
  readonly age: number;
}

type Flushes = ReadonlyMap<number, readonly Flush[]>;

const NOTHING: Flushes = new Map();

export class LabRegion implements Region {
  readonly contents = new Contents();
  private readonly base: Content[];
  private readonly newest: Content[];
  /** Pages of which something is not durable: what each held since, the newest last. */
  private readonly ages = new Map<number, Content[]>();
  /** Flushed and not fenced. */
  private readonly flushed = new Map<number, Flush[]>();
  /** What was flushed when each operation since the last commit ended, and is not fenced since. */
  private marks: Flushes[] = [];
  private readonly changed = new Set<number>();
  private readonly poisonedBase: readonly number[];
  private readonly poisoned = new Set<number>();
  private readonly keepsAges: boolean;

  /**
   * @param options.fillOf what the words of a page hold at the beginning
   * @param options.hasCrash whether anybody asks what a power cut would leave
   */
  constructor(
    readonly pageCount: number,
    options: { fillOf: (page: number) => number; poisoned: readonly number[]; hasCrash: boolean },
    private readonly footprint: Footprint,
  ) {
    this.base = Array.from({ length: pageCount }, (_, page) =>
      this.contents.filled(options.fillOf(page)),
    );
    this.newest = [...this.base];
    this.keepsAges = options.hasCrash;
    this.poisonedBase = options.poisoned;
    for (const page of options.poisoned) this.poisoned.add(page);
  }

  /** Everything is as it was made. */
  reset(): void {
    for (const page of this.changed) this.newest[page] = this.base[page]!;
    this.changed.clear();
    this.ages.clear();
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

  /** CLWB of a word's line and SFENCE, by a program: of what others flushed it says nothing. */
  makeDurable(page: number, word: number): void {
    this.footprint.writes |= DURABLE;
    this.footprint.reads |= pageBit(page);
    const ages = this.ages.get(page);
    if (ages === undefined) return;
    const [first, end] = lineOf(word, word + 1);
    this.fix(ages, { first, end, age: ages.length - 1 });
  }

  /** An operation ends: a commit that keeps it, and not the next, fences what is flushed now. */
  markOperation(): void {
    this.footprint.reads |= DURABLE;
    this.marks.push(new Map([...this.flushed].map(([page, flushes]) => [page, [...flushes]])));
  }

  forgetOperations(): void {
    this.marks = [];
  }

  /**
   * All that a page may hold after a power cut, the oldest first. Each line has its own choice among
   * them. @param operations that are kept of the marked ones
   */
  contentsAfterCut(page: number, operations: number): readonly Content[] {
    const ages = this.ages.get(page);
    if (ages === undefined) return [this.newest[page]!];
    const flushes = this.marks[operations - 1]?.get(page);
    return flushes === undefined ? ages : this.fenced(ages, flushes);
  }

  /** Lines that are not durable, in all pages. */
  undecidedLineCount(): number {
    let count = 0;
    for (const ages of this.ages.values()) {
      const newest = ages.at(-1)!;
      for (let first = 0; first < WORDS_PER_PAGE; first += WORDS_PER_LINE) {
        const isSame = (age: Content) =>
          this.contents.spliced(age, newest, first, first + WORDS_PER_LINE) === age;
        if (!ages.every(isSame)) count++;
      }
    }
    return count;
  }

  /** Pages that are not as they were, alike ones that follow each other as one. */
  changedPages(): {
    page: number;
    pageCount: number;
    newest: Content;
    older: readonly Content[];
  }[] {
    return this.runs().map(({ page, pageCount }) => {
      const older = (this.ages.get(page) ?? []).slice(0, -1);
      return { page, pageCount, newest: this.newest[page]!, older };
    });
  }

  /** All bytes, and with power cuts their ages, as text: the same text, the same state. */
  text(): string {
    return this.runs()
      .map(({ page, pageCount, text }) => `${page}+${pageCount}:${text}`)
      .join(' ');
  }

  private runs(): { page: number; pageCount: number; text: string }[] {
    const found: { page: number; pageCount: number; text: string }[] = [];
    for (const page of [...this.changed].sort((a, b) => a - b)) {
      if (this.newest[page] === this.base[page] && !this.ages.has(page)) continue;
      const text = this.pageText(page);
      const last = found.at(-1);
      const continues = last !== undefined && last.page + last.pageCount === page;
      if (continues && last.text === text) last.pageCount++;
      else found.push({ page, pageCount: 1, text });
    }
    return found;
  }

  private pageText(page: number): string {
    const ages = this.ages.get(page);
    if (ages === undefined) return String(this.newest[page]!.id);
    return `${ages.map(({ id }) => id).join('<')}${flushesText(this.flushed.get(page))}`;
  }

  /** What the marks hold. */
  marksText(): string {
    return this.marks
      .map((mark) =>
        [...mark]
          .map(([page, flushes]) => `${page}${flushesText(flushes)}`)
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
    if (!this.keepsAges) return;
    this.footprint.writes |= DURABLE;
    this.eachPage(offset, lengthBytes, (page, firstWord, endWord) => {
      this.footprint.reads |= pageBit(page);
      const ages = this.ages.get(page);
      if (ages === undefined) return;
      const [first, end] = lineOf(firstWord, endWord);
      const isWhole = first === 0 && end === WORDS_PER_PAGE;
      const before = isWhole ? [] : (this.flushed.get(page) ?? []);
      this.flushed.set(page, [...before, { first, end, age: ages.length - 1 }]);
    });
  }

  fence(): void {
    if (!this.keepsAges) return;
    this.footprint.writes |= DURABLE;
    for (const [page, flushes] of this.flushed) {
      const ages = this.fenced(this.ages.get(page)!, flushes);
      if (ages.length === 1) this.ages.delete(page);
      else this.ages.set(page, ages);
    }
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
    // A scenario says whether power may go.
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
    this.footprint.writes |= pageBit(page);
    const before = this.newest[page]!;
    if (before === content) return;
    this.newest[page] = content;
    this.changed.add(page);
    if (!this.keepsAges) return;
    const ages = this.ages.get(page);
    if (ages === undefined) this.ages.set(page, [before, content]);
    else ages.push(content);
  }

  /** What is left of a page's ages when these flushes are fenced. */
  private fenced(ages: readonly Content[], flushes: readonly Flush[]): Content[] {
    const left = [...ages];
    for (const flush of flushes) this.fix(left, flush);
    return left.filter((content, at) => at === 0 || content !== left[at - 1]);
  }

  /** Of the flushed lines nothing older is left. */
  private fix(ages: Content[], { first, end, age }: Flush): void {
    for (let at = 0; at < age; at++) {
      ages[at] = this.contents.spliced(ages[at]!, ages[age]!, first, end);
    }
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

/** Whole lines go. */
function lineOf(first: number, end: number): [number, number] {
  return [first - (first % WORDS_PER_LINE), Math.ceil(end / WORDS_PER_LINE) * WORDS_PER_LINE];
}

function flushesText(flushes: readonly Flush[] | undefined): string {
  if (flushes === undefined) return '';
  return flushes.map(({ first, end, age }) => `|${age}:${first}-${end}`).join('');
}
