/**
 * One file as the plainest filesystem has it: its pages in order, and of each word the values it may hold and
 * those that a power cut may leave. A page keeps its identity when it moves (collapse, insert), so what is
 * stored to it is there in whichever order of pages a cut leaves.
 */
import type { FileSetup } from '../../lib/race/scenario.js';
import { WRITTEN } from '../../lib/space/extent_list.js';

interface Word {
  /** One of these is what a load sees: more than one after a cut, until it was seen. */
  current: readonly number[];
  /** One of these is what a power cut leaves. */
  since: readonly number[];
}

interface Page {
  /** Every word of the page that `words` has not. */
  rest: Word;
  words: Map<number, Word>;
}

/** Ids of pages, in the order of the file. */
type Layout = readonly number[];

export class FileState {
  /** Since the last promise, oldest first: a cut may leave any of them, or the one of now. */
  private earlier: Layout[] = [];
  /** By id; a page of the beginning that nobody touched is not there, its id is its place. */
  private pages = new Map<number, Page>();
  private nextId: number;

  private constructor(
    private readonly setup: FileSetup,
    /** That of the beginning. */
    private readonly first: Layout,
    private layout: Layout,
  ) {
    this.nextId = setup.pages;
  }

  static of(setup: FileSetup): FileState {
    const layout = Array.from({ length: setup.pages }, (_, page) => page);
    return new FileState(setup, layout, layout);
  }

  copy(): FileState {
    const copy = new FileState(this.setup, this.first, this.layout);
    copy.earlier = [...this.earlier];
    copy.nextId = this.nextId;
    copy.pages = new Map(
      [...this.pages].map(([id, { rest, words }]) => [id, { rest, words: new Map(words) }]),
    );
    return copy;
  }

  /** For JSON: the same, the same state. */
  picture(): unknown {
    const pages = [...this.pages].sort(([a], [b]) => a - b);
    const words = ({ words }: Page) => [...words].sort(([a], [b]) => a - b);
    const layouts = [...this.earlier, this.layout].map((one) =>
      one === this.first ? 'first' : one,
    );
    return [layouts, pages.map(([id, page]) => [id, page.rest, words(page)])];
  }

  get pageCount(): number {
    return this.layout.length;
  }

  /** What a load may see. */
  values(page: number, word: number): readonly number[] {
    return this.word(page, word).current;
  }

  /** Somebody saw it: from here on everybody does. */
  see(page: number, word: number, value: number): void {
    const { current, since } = this.word(page, word);
    if (current.length === 1) return;
    const isDurable =
      since.length === current.length && since.every((one) => current.includes(one));
    this.set(page, word, { current: [value], since: isDurable ? [value] : since });
  }

  store(page: number, word: number, value: number): void {
    const { since } = this.word(page, word);
    this.set(page, word, { current: [value], since: withValue(since, value) });
  }

  /** Pages [page, page + pageCount) that are there read as zeroes. */
  zero(page: number, pageCount: number): void {
    const end = Math.min(page + pageCount, this.pageCount);
    for (let at = page; at < end; at++) change(this.page(at), zeroed);
  }

  /** What is cut off and grown again is another page. */
  resize(pageCount: number): void {
    const kept = this.layout.slice(0, pageCount);
    const grown = Array.from({ length: pageCount - kept.length }, () => this.hole());
    this.arrange([...kept, ...grown]);
  }

  collapse(page: number, pageCount: number): void {
    const { layout } = this;
    this.arrange([...layout.slice(0, page), ...layout.slice(page + pageCount)]);
  }

  insert(page: number, pageCount: number): void {
    const { layout } = this;
    const holes = Array.from({ length: pageCount }, () => this.hole());
    this.arrange([...layout.slice(0, page), ...holes, ...layout.slice(page)]);
  }

  /** A sync of the pages [page, page + pageCount) returned. Size and order are durable with any of them. */
  promise(page: number, pageCount: number): void {
    this.earlier = [];
    const end = Math.min(page + pageCount, this.pageCount);
    for (const [at, id] of this.layout.entries()) {
      if (page <= at && at < end && this.pages.has(id)) change(this.page(at), settled);
    }
  }

  promiseWord(page: number, word: number): void {
    this.set(page, word, settled(this.word(page, word)));
  }

  /** What a cut may leave: one for each order of pages. */
  afterCut(keepsAll: boolean): FileState[] {
    const layouts = keepsAll ? [this.layout] : [...this.earlier, this.layout];
    return layouts.map((layout) => {
      const left = this.copy();
      left.layout = layout;
      left.earlier = [];
      for (const page of left.pages.values()) change(page, keepsAll ? settled : undecided);
      return left;
    });
  }

  private arrange(layout: Layout): void {
    this.earlier.push(this.layout);
    this.layout = layout;
  }

  private hole(): number {
    const id = this.nextId++;
    this.pages.set(id, { rest: only(0), words: new Map() });
    return id;
  }

  private set(page: number, word: number, value: Word): void {
    this.page(page).words.set(word, value);
  }

  private word(page: number, word: number): Word {
    const { rest, words } = this.page(page);
    return words.get(word) ?? rest;
  }

  private page(at: number): Page {
    const id = this.layout[at]!;
    let page = this.pages.get(id);
    if (page === undefined) {
      page = { rest: only(this.initial(id)), words: new Map() };
      this.pages.set(id, page);
    }
    return page;
  }

  private initial(page: number): number {
    const { extents = [], fill = 0 } = this.setup;
    const isFilled = extents.some(
      ({ filePage, pageCount, state }) =>
        state === WRITTEN && filePage <= page && page < filePage + pageCount,
    );
    return isFilled ? fill : 0;
  }
}

function change(page: Page, how: (word: Word) => Word): void {
  page.rest = how(page.rest);
  for (const [index, word] of page.words) page.words.set(index, how(word));
}

function only(value: number): Word {
  return { current: [value], since: [value] };
}

function withValue(values: readonly number[], value: number): readonly number[] {
  return values.includes(value) ? values : [...values, value];
}

function settled({ current }: Word): Word {
  return { current, since: current };
}

function zeroed({ since }: Word): Word {
  return { current: [0], since: withValue(since, 0) };
}

function undecided({ since }: Word): Word {
  return { current: since, since };
}
