/**
 * What the pages of a region held and hold while a trace is folded: durable versions of each page,
 * ascending by position, and the stores that are not durable yet, once each, as they came. Both
 * carry positions, so that a state made at one position reads its own past while the fold goes on;
 * what no living state can read any more is dropped. Memory grows with the pages that changed,
 * never with the region.
 *
 * A position counts events. An entry at position p is part of every later moment q >= p; a line is
 * durable up to a position: stores at or before it are in the version's bytes, later ones are
 * undecided. When stores become durable is the persistence model's business.
 */
import assert from 'node:assert/strict';
import { canaryPage } from '../../canary.js';
import { FILESYSTEM_THREAD } from '../../trace/event.js';
import { LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES, pageOf } from '../../units.js';

/** Of 512 bytes. */
export const LINES_PER_SECTOR = 8;

/** A store or a flush, cut to one page. */
export interface Entry {
  readonly position: number;
  readonly callId: number;
  /** Bytes [start, end) of the page. */
  readonly start: number;
  readonly end: number;
  /** The stored bytes lie at bytes[bytesStart ...]; null for a flush alone. */
  readonly bytes: Uint8Array | null;
  readonly bytesStart: number;
  /** The thread that flushed those lines; undefined: it did not. */
  readonly flushedBy: number | undefined;
}

/** Content of a page: bytes, the owner of a canary, or null for what the base has. */
type Content = Uint8Array | number | null;

interface Version {
  readonly position: number;
  readonly content: Content;
  /** Of a content that is made, once somebody asked: one object, so that its digest is known. */
  made?: Uint8Array;
  /** Of each line, or of all: stores up to here are in the content. */
  readonly durableAt: Float64Array | number;
}

/** Lines whose stores are undecided up to a position; see PageHistories.at(). */
export interface PageMoment {
  readonly durable: Uint8Array;
  /** Stores and flushes after what is durable; some may touch lines durable already. */
  readonly entries: readonly Entry[];
  durableAt(line: number): number;
}

class PageHistory {
  versions: Version[] = [{ position: 0, content: null, durableAt: 0 }];
  entries: Entry[] = [];
}

export class PageHistories {
  private readonly pages = new Map<number, PageHistory>();
  /** Pages with stores that are not durable. */
  private readonly undecided = new Set<number>();
  /** Pages with flushes that their thread has not fenced, by thread. */
  private readonly flushed = new Map<number, Set<number>>();
  /** Pages that keep a past for living states. */
  private readonly withPast = new Set<number>();
  private readonly live = new Map<number, number>();
  /** Every durable change, ascending, while somebody may ask which pages changed. */
  private changes: { position: number; page: number }[] = [];
  private position = 0;
  private readonly retired: { position: number; page: number }[] = [];

  /** @param basePage content before the first event */
  constructor(private readonly basePage: (page: number) => Uint8Array) {}

  /** Bytes stored at `position`; copied. */
  store(
    position: number,
    event: { offset: number; bytes: Uint8Array; callId: number; isFlushed: boolean },
    pageKey: (page: number) => number = (page) => page,
  ): void {
    this.position = position;
    const { offset, callId, isFlushed } = event;
    const bytes = Uint8Array.prototype.slice.call(event.bytes);
    this.eachPage(offset, bytes.length, (page, start, end) => {
      const key = pageKey(page);
      const bytesStart = page * PAGE_BYTES + start - offset;
      const flushedBy = isFlushed ? FILESYSTEM_THREAD : undefined;
      const entry = { position, callId, start, end, bytes, bytesStart, flushedBy };
      this.history(key).entries.push(entry);
      this.undecided.add(key);
      if (isFlushed) this.flushedPages(FILESYSTEM_THREAD).add(key);
    });
  }

  /** A thread flushes what is undecided of the range. */
  flush(
    position: number,
    event: { offset: number; lengthBytes: number; callId: number; thread: number },
  ): void {
    this.position = position;
    const { callId, thread } = event;
    this.eachPage(event.offset, event.lengthBytes, (page, start, end) => {
      if (!this.undecided.has(page)) return;
      const entry = { position, callId, start, end, bytes: null, bytesStart: 0, flushedBy: thread };
      this.history(page).entries.push(entry);
      this.flushedPages(thread).add(page);
    });
  }

  /** What the thread flushed is durable, at the value it had when it was flushed. */
  fence(position: number, thread: number): void {
    this.position = position;
    for (const page of this.flushed.get(thread) ?? []) {
      const floors = (entries: readonly Entry[], line: number) =>
        flushFloor(entries, { line, thread, until: position });
      this.settle(page, position, floors);
    }
    this.flushed.delete(thread);
    this.prune();
  }

  /** All stores to `pages` up to now are durable. */
  force(position: number, pages: Iterable<number>): void {
    this.position = position;
    for (const page of pages) {
      if (this.undecided.has(page)) this.settle(page, position, () => position);
      this.forgetFlushes(page);
    }
    this.prune();
  }

  /** Pages hold the canary of their last owner; durable at once. */
  canary(position: number, event: { page: number; pageCount: number; ownerIno: number }): void {
    this.position = position;
    for (let page = event.page; page < event.page + event.pageCount; page++) {
      this.addVersion(page, { position, content: event.ownerIno, durableAt: position });
      this.undecided.delete(page);
      this.forgetFlushes(page);
    }
  }

  /** Pages with undecided stores now, ascending. */
  undecidedPages(): number[] {
    return [...this.undecided].sort((a, b) => a - b);
  }

  isUndecided(page: number): boolean {
    return this.undecided.has(page);
  }

  /** A page as it is at `position`, which is now or held. */
  at(page: number, position: number): PageMoment {
    const history = this.pages.get(page);
    if (history === undefined) {
      return { durable: this.basePage(page), entries: [], durableAt: () => 0 };
    }
    const version = versionAt(history, position);
    const { durableAt } = version;
    const least = typeof durableAt === 'number' ? durableAt : Math.min(...durableAt);
    const isOpen = (entry: Entry) => entry.position > least && entry.position <= position;
    return {
      durable: this.bytesOf(page, version),
      entries: history.entries.filter(isOpen),
      durableAt: (line) => (typeof durableAt === 'number' ? durableAt : durableAt[line]!),
    };
  }

  /** Pages whose durable bytes changed after `from`, up to `to`; `from` is held. */
  changedPages(from: number, to: number): Set<number> {
    const pages = new Set<number>();
    for (let index = this.changes.length - 1; index >= 0; index--) {
      const change = this.changes[index]!;
      if (change.position <= from) break;
      if (change.position <= to) pages.add(change.page);
    }
    return pages;
  }

  /** The past of `position` stays readable until as many release() calls. */
  hold(position: number): void {
    this.live.set(position, (this.live.get(position) ?? 0) + 1);
  }

  release(position: number): void {
    const count = this.live.get(position)!;
    assert(count > 0);
    if (count > 1) this.live.set(position, count - 1);
    else this.live.delete(position);
  }

  /** Forgets a page that no state of a position after now will read. */
  retire(page: number): void {
    if (this.pages.has(page)) this.retired.push({ position: this.position, page });
  }

  private drop(page: number): void {
    this.pages.delete(page);
    this.undecided.delete(page);
    this.forgetFlushes(page);
    this.withPast.delete(page);
  }

  private history(page: number): PageHistory {
    let history = this.pages.get(page);
    if (history === undefined) {
      history = new PageHistory();
      this.pages.set(page, history);
    }
    return history;
  }

  private flushedPages(thread: number): Set<number> {
    let pages = this.flushed.get(thread);
    if (pages === undefined) {
      pages = new Set();
      this.flushed.set(thread, pages);
    }
    return pages;
  }

  private forgetFlushes(page: number): void {
    for (const pages of this.flushed.values()) pages.delete(page);
  }

  private eachPage(
    offset: number,
    length: number,
    visit: (page: number, start: number, end: number) => void,
  ): void {
    const endOffset = offset + length;
    for (let page = pageOf(offset); page * PAGE_BYTES < endOffset; page++) {
      const start = Math.max(0, offset - page * PAGE_BYTES);
      visit(page, start, Math.min(PAGE_BYTES, endOffset - page * PAGE_BYTES));
    }
  }

  /** Makes a version in which each line is durable up to what `floorsOf` says. */
  private settle(
    page: number,
    position: number,
    floorsOf: (entries: readonly Entry[], line: number) => number,
  ): void {
    const { durable, entries, durableAt } = this.at(page, position);
    const floors = new Float64Array(LINES_PER_PAGE);
    for (let line = 0; line < LINES_PER_PAGE; line++) {
      floors[line] = Math.max(durableAt(line), floorsOf(entries, line));
    }
    const isWhole = (entry: Entry) =>
      linesOf(entry).every((line) => floors[line]! >= entry.position);
    const isAll = entries.every((entry) => entry.bytes === null || isWhole(entry));
    const last = entries.findLast((entry) => entry.bytes !== null);
    let content: Uint8Array;
    if (isAll && last !== undefined && isWholePage(last) && isNewest(last, durableAt)) {
      content = last.bytes!.subarray(last.bytesStart, last.bytesStart + PAGE_BYTES);
    } else {
      content = Uint8Array.prototype.slice.call(durable);
      applyEntries(content, entries, durableAt, (line) => floors[line]!);
    }
    this.addVersion(page, { position, content, durableAt: isAll ? position : floors });
    if (isAll) this.undecided.delete(page);
  }

  private addVersion(page: number, version: Version): void {
    const history = this.history(page);
    history.versions.push(version);
    this.changes.push({ position: version.position, page });
    this.pruneHistory(history, this.oldestLive());
    if (history.versions.length > 1) this.withPast.add(page);
  }

  private oldestLive(): number {
    let oldest = this.position;
    for (const position of this.live.keys()) oldest = Math.min(oldest, position);
    return oldest;
  }

  private prune(): void {
    const oldest = this.oldestLive();
    for (const page of this.withPast) {
      const history = this.pages.get(page)!;
      this.pruneHistory(history, oldest);
      if (history.versions.length === 1) this.withPast.delete(page);
    }
    while (this.retired.length > 0 && this.retired[0]!.position < oldest) {
      this.drop(this.retired.shift()!.page);
    }
    const keep = this.changes.findIndex(({ position }) => position > oldest);
    this.changes = keep < 0 ? [] : keep > 0 ? this.changes.slice(keep) : this.changes;
  }

  private pruneHistory(history: PageHistory, oldest: number): void {
    const { versions } = history;
    const first = versions.findLastIndex(({ position }) => position <= oldest);
    if (first <= 0) return;
    history.versions = versions.slice(first);
    const { durableAt } = versions[first]!;
    history.entries = history.entries.filter((entry) => {
      if (typeof durableAt === 'number') return entry.position > durableAt;
      return linesOf(entry).some((line) => entry.position > durableAt[line]!);
    });
  }

  private bytesOf(page: number, version: Version): Uint8Array {
    const { content } = version;
    if (content instanceof Uint8Array) return content;
    version.made ??=
      content === null ? this.basePage(page) : canaryPage(Buffer.alloc(PAGE_BYTES), page, content);
    return version.made;
  }
}

/** Writes what stores did to each line after durableAt(line), up to `until(line)`. */
export function applyEntries(
  target: Uint8Array,
  entries: readonly Entry[],
  durableAt: (line: number) => number,
  until: (line: number) => number,
): void {
  for (const entry of entries) {
    if (entry.bytes === null) continue;
    for (const line of linesOf(entry)) {
      if (entry.position <= durableAt(line) || entry.position > until(line)) continue;
      applyEntry(target, 0, entry, line * LINE_BYTES, (line + 1) * LINE_BYTES);
    }
  }
}

/** Writes what of a store falls into bytes [from, to) of its page; target[0] is page byte `at`. */
export function applyEntry(
  target: Uint8Array,
  at: number,
  entry: Entry,
  from: number,
  to: number,
): void {
  const start = Math.max(entry.start, from);
  const end = Math.min(entry.end, to);
  if (start >= end) return;
  const source = entry.bytesStart + start - entry.start;
  target.set(entry.bytes!.subarray(source, source + end - start), start - at);
}

/** The lines of the page that an entry touches. */
export function linesOf({ start, end }: Entry): number[] {
  const lines: number[] = [];
  for (let line = Math.floor(start / LINE_BYTES); line * LINE_BYTES < end; line++) lines.push(line);
  return lines;
}

function isWholePage({ start, end }: Entry): boolean {
  return start === 0 && end === PAGE_BYTES;
}

/** No line of the entry is durable with what was stored after it. */
function isNewest(entry: Entry, durableAt: (line: number) => number): boolean {
  return linesOf(entry).every((line) => durableAt(line) < entry.position);
}

export function touches(entry: Entry, line: number): boolean {
  return entry.start < (line + 1) * LINE_BYTES && entry.end > line * LINE_BYTES;
}

/** Position of the last flush of a line by a thread, at or before `until`; 0 for none. */
export function flushFloor(
  entries: readonly Entry[],
  { line, thread, until }: { line: number; thread: number; until: number },
): number {
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index]!;
    if (entry.flushedBy !== thread || entry.position > until) continue;
    if (touches(entry, line)) return entry.position;
  }
  return 0;
}

function versionAt(history: PageHistory, position: number): Version {
  const version = history.versions.findLast((candidate) => candidate.position <= position);
  assert(version !== undefined, 'the past of this position is gone');
  return version;
}
