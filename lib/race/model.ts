/**
 * What files must hold, as the plainest filesystem would have it: every word with all values it ever
 * held, in order. Changes are made here in the step in which the filesystem makes them. Words are
 * named by page and index in it.
 *
 * Of the values of a word the newest is what a load sees. After a crash it may be any from `floor` on:
 * what a sync that returned has promised, or something later.
 */
import assert from 'node:assert/strict';
import { WORDS_PER_PAGE } from './content.js';

interface Word {
  values: number[];
  /** Index of the oldest value that a crash may leave. */
  floor: number;
}

/** Which value each word had when a sync began. */
export type Promised = Map<number, number>;

export class ModelFile {
  readonly words = new Map<number, Word>();
  /** All that was ever stored to it, besides zero and its fill. */
  readonly ownValues = new Set<number>([0]);
  /** Words were moved: what a crash leaves of them is not followed. */
  isMoved = false;
  private readonly base: Set<number>;

  constructor(
    readonly initialPages: number,
    private readonly initial: (page: number) => number,
    fill: number,
  ) {
    this.pages = initialPages;
    this.base = new Set([0, fill]);
    this.reset();
  }

  pages: number;

  reset(): void {
    this.words.clear();
    this.pages = this.initialPages;
    this.isMoved = false;
    this.ownValues.clear();
    for (const value of this.base) this.ownValues.add(value);
  }

  current(page: number, word: number): number {
    return this.words.get(key(page, word))?.values.at(-1) ?? this.initial(page);
  }

  store(page: number, word: number, value: number): void {
    this.word(page, word).values.push(value);
    this.ownValues.add(value);
  }

  /** Words that scripts name are followed; the others never change but with whole pages. */
  follow(page: number, word: number): void {
    this.word(page, word);
  }

  /** Pages [page, page + pageCount) read as zeroes from here on. */
  zero(page: number, pageCount: number): void {
    for (const [at, word] of this.words) {
      const filePage = Math.floor(at / WORDS_PER_PAGE);
      if (page <= filePage && filePage < page + pageCount) word.values.push(0);
    }
  }

  /** Takes pages out, or puts a hole in. */
  move(page: number, deltaPages: number): void {
    this.isMoved = true;
    this.pages += deltaPages;
    const old = [...this.words];
    this.words.clear();
    for (const [at, word] of old) {
      const filePage = Math.floor(at / WORDS_PER_PAGE);
      if (filePage >= page) {
        const moved = filePage + deltaPages;
        // What is taken out is gone; followed words stay followed where they are now.
        if (moved < page) continue;
        this.words.set(key(moved, at % WORDS_PER_PAGE), word);
      } else {
        this.words.set(at, word);
      }
    }
    for (const [at] of old) {
      if (this.words.has(at)) continue;
      const filePage = Math.floor(at / WORDS_PER_PAGE);
      this.words.set(at, { values: [deltaPages > 0 ? 0 : this.initial(filePage)], floor: 0 });
    }
  }

  /** What a sync that begins now promises when it returns. */
  promise(page: number, pageCount: number): Promised {
    const promised: Promised = new Map();
    for (const [at, word] of this.words) {
      const filePage = Math.floor(at / WORDS_PER_PAGE);
      if (page <= filePage && filePage < page + pageCount) promised.set(at, word.values.length - 1);
    }
    return promised;
  }

  promiseWord(page: number, word: number): Promised {
    const at = key(page, word);
    return new Map([[at, this.word(page, word).values.length - 1]]);
  }

  keep(promised: Promised): void {
    if (this.isMoved) return;
    for (const [at, index] of promised) {
      const word = this.words.get(at);
      assert(word !== undefined);
      word.floor = Math.max(word.floor, index);
    }
  }

  /** The same text, the same state. */
  text(): string {
    const words = [...this.words].sort(([a], [b]) => a - b);
    return `${this.pages} ${words.map(([at, { values, floor }]) => `${at}:${values.slice(floor).join()}`).join(' ')}`;
  }

  private word(page: number, index: number): Word {
    const at = key(page, index);
    let word = this.words.get(at);
    if (word === undefined) {
      word = { values: [this.initial(page)], floor: 0 };
      this.words.set(at, word);
    }
    return word;
  }
}

function key(page: number, word: number): number {
  return page * WORDS_PER_PAGE + word;
}
