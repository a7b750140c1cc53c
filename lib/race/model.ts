/**
 * What files must hold, as the plainest filesystem would have it: every word with all values it ever
 * held, in order. Changes are made here in the step in which the filesystem makes them. Pages count
 * 4 KiB, words are an index in their page.
 *
 * Of the values of a word the newest is what a load sees. After a crash it may be any from `floor` on:
 * what a sync that returned has promised, or something later. Collapse and insert move words: until
 * that is committed a crash may leave them where they were, so the layouts before are kept as well.
 */
import { WORDS_PER_PAGE } from './content.js';

export interface Word {
  readonly id: number;
  values: number[];
  /** Index of the oldest value that a crash may leave. */
  floor: number;
}

/** Which value each word had when a sync began, by index. */
export type Promised = ReadonlyMap<Word, number>;

/** Words by where they are in the file (page * WORDS_PER_PAGE + word). */
type Words = Map<number, Word>;

interface Layout {
  /** Operations since the last commit that a crash must have kept to leave it. */
  readonly operations: number;
  readonly words: Words;
}

export class ModelFile {
  /** All that was ever stored to it, besides zero and its fill. */
  readonly ownValues = new Set<number>([0]);
  pages: number;
  /** Pages that no access may miss: not those of a write that grows the file and has not returned. */
  surePages: number;
  /** Those that a crash may leave; the last is the file's now. */
  private layouts: Layout[] = [];
  private readonly base: Set<number>;
  private readonly moves: { page: number; deltaPages: number }[] = [];
  /** Places that scripts name. */
  private readonly named = new Set<number>();
  private wordCount = 0;

  constructor(
    readonly initialPages: number,
    private readonly initial: (page: number) => number,
    fill: number,
  ) {
    this.pages = initialPages;
    this.surePages = initialPages;
    this.base = new Set([0, fill]);
    this.reset();
  }

  reset(): void {
    this.layouts = [{ operations: 0, words: new Map() }];
    this.moves.length = 0;
    this.wordCount = 0;
    this.named.clear();
    this.resize(this.initialPages);
    this.ownValues.clear();
    for (const value of this.base) this.ownValues.add(value);
  }

  /** Words that somebody names, where they are now. */
  get words(): Words {
    return this.layouts.at(-1)!.words;
  }

  /** Where a crash leaves the words when it keeps that many operations since the last commit. */
  wordsAfterCut(operations: number): ReadonlyMap<number, Word> {
    return this.layouts.findLast((layout) => layout.operations <= operations)!.words;
  }

  current(page: number, word: number): number {
    return this.words.get(key(page, word))?.values.at(-1) ?? this.initialAt(page);
  }

  store(page: number, word: number, value: number): void {
    this.word(page, word).values.push(value);
    this.ownValues.add(value);
  }

  /** By a call whose caller sees SIGBUS nowhere inside any more. */
  resize(pages: number): void {
    this.pages = pages;
    this.surePages = pages;
  }

  /**
   * Words that scripts name are followed, with those that moves may bring to their places; the others
   * never change but with whole pages.
   */
  follow(page: number, word: number, sources: Iterable<number>): void {
    this.named.add(key(page, word));
    for (const source of sources) this.word(source, word);
  }

  /** Pages [page, page + pageCount) read as zeroes from here on. */
  zero(page: number, pageCount: number): void {
    for (const [at, word] of this.words) {
      if (isIn(at, page, pageCount)) word.values.push(0);
    }
  }

  /**
   * Takes pages out, or puts a hole in.
   * @param operations since the last commit, with this one
   */
  move(page: number, deltaPages: number, operations: number): void {
    const before = this.words;
    const words: Words = new Map();
    this.layouts.push({ operations, words });
    this.moves.push({ page, deltaPages });
    this.resize(this.pages + deltaPages);
    for (const [at, word] of before) {
      const filePage = Math.floor(at / WORDS_PER_PAGE);
      const moved = filePage < page ? filePage : filePage + deltaPages;
      // What is taken out is gone.
      if (filePage < page || moved >= page) words.set(key(moved, at % WORDS_PER_PAGE), word);
    }
    // Places that scripts name stay followed; of others it is not known what comes there.
    for (const at of this.named) {
      this.word(Math.floor(at / WORDS_PER_PAGE), at % WORDS_PER_PAGE);
    }
  }

  /** What is done is committed. */
  commit(): void {
    this.layouts = [{ operations: 0, words: this.words }];
  }

  /** What a sync that begins now promises when it returns. */
  promise(page: number, pageCount: number): Promised {
    const promised = [...this.words].filter(([at]) => isIn(at, page, pageCount));
    return new Map(promised.map(([, word]) => [word, word.values.length - 1]));
  }

  promiseWord(page: number, index: number): Promised {
    const word = this.word(page, index);
    return new Map([[word, word.values.length - 1]]);
  }

  keep(promised: Promised): void {
    for (const [word, index] of promised) word.floor = Math.max(word.floor, index);
  }

  /** Page of a word; undefined when it was taken out of the file. */
  pageOf(word: Word): number | undefined {
    for (const [at, one] of this.words) if (one === word) return Math.floor(at / WORDS_PER_PAGE);
    return undefined;
  }

  /** The same text, the same state. */
  text(): string {
    const layouts = this.layouts.map(({ operations, words }) => {
      const sorted = [...words].sort(([a], [b]) => a - b);
      const texts = sorted.map(
        ([at, { id, values, floor }]) => `${at}=${id}:${values.slice(floor).join()}`,
      );
      return `${operations}/${texts.join(' ')}`;
    });
    return `${this.pages} ${this.surePages} ${layouts.join(' ')}`;
  }

  private word(page: number, index: number): Word {
    const at = key(page, index);
    let word = this.words.get(at);
    if (word === undefined) {
      word = { id: this.wordCount++, values: [this.initialAt(page)], floor: 0 };
      this.words.set(at, word);
    }
    return word;
  }

  /** What a page that nobody stored to holds: where it was before all moves. */
  private initialAt(page: number): number {
    let at = page;
    for (const move of this.moves.toReversed()) {
      if (at < move.page) continue;
      at -= move.deltaPages;
      if (at < move.page && move.deltaPages > 0) return 0;
    }
    return at < this.initialPages ? this.initial(at) : 0;
  }
}

/** What is promised, relative to what a crash may leave already: the same text, the same promise. */
export function promisedText(promised: Promised): string {
  return [...promised].map(([{ id, floor }, at]) => `${id}:${Math.max(0, at - floor)}`).join();
}

function isIn(at: number, page: number, pageCount: number): boolean {
  const filePage = Math.floor(at / WORDS_PER_PAGE);
  return page <= filePage && filePage < page + pageCount;
}

function key(page: number, word: number): number {
  return page * WORDS_PER_PAGE + word;
}
