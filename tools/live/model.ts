/**
 * What the files of a round hold, as the plainest filesystem would have it, one call or access after the
 * other. A word has a set of values that it may hold: one, until a power cut leaves it open which of the
 * values since the last promise survived, and until somebody then sees it. Nothing here is the engine's
 * or the race lab's own model; oracle.ts asks it whether an order of events explains what was seen.
 *
 * Words are named by file page and index of 8 bytes. Values are those of the scenario, see values.ts.
 */
import type { Op, Scenario } from '../../lib/race/scenario.js';
import { WRITTEN } from '../../lib/space/extent_list.js';
import type { Keep } from '../../lib/region.js';
import type { LiveMap } from './script.js';

/** What an access or call came to. */
export type Seen =
  | { kind: 'done' }
  | { kind: 'value'; value: number }
  /** The distinct values of a page's words. */
  | { kind: 'values'; values: readonly number[] }
  /** A file's mtime before its sync, or now, in us. */
  | { kind: 'time'; us: number }
  | { kind: 'bus' }
  /** read(2) beyond the end. */
  | { kind: 'end' }
  | { kind: 'error'; code: string };

/** After the end of a round: all words of a page, by loads or by read(2). */
export type Look =
  | { op: 'scan'; map: string; page: number }
  | { op: 'scanfile'; file: string; page: number };

export type Action = Op | Look | { op: 'times'; file: string } | { op: 'cut'; keep: Keep };

interface Word {
  /** One of these is what a load sees. */
  current: readonly number[];
  /** One of these is what a power cut leaves. */
  since: readonly number[];
}

interface Slot {
  /** Every word of the page that `words` has not. */
  rest: Word;
  words: Map<number, Word>;
}

interface FileState {
  pages: number;
  slots: Map<number, Slot>;
  /** Its size or the order of its pages was changed, and no sync has returned since. */
  isMoving: boolean;
  /** A cut came while it was: only whose bytes it shows is known. */
  isLoose: boolean;
}

/** Why an event cannot come next; undefined when it can, and has. */
export type Refusal = { invariant: string; message: string } | undefined;

export class FileModel {
  private files = new Map<string, FileState>();
  /** Words that stores to private mappings made, by mapping and page. */
  private own = new Map<string, Map<number, Map<number, number>>>();

  /** Pages of mappings in which a store found no space: SIGBUS, for loads too, until a moment later. */
  private lacking = new Set<string>();

  constructor(
    private readonly scenario: Scenario,
    private readonly maps: ReadonlyMap<string, LiveMap>,
  ) {
    for (const [name, { pages }] of Object.entries(scenario.files)) {
      this.files.set(name, { pages, slots: new Map(), isMoving: false, isLoose: false });
    }
  }

  copy(): FileModel {
    const copy = new FileModel(this.scenario, this.maps);
    for (const [name, { slots, ...rest }] of this.files) {
      const copied = new Map<number, Slot>();
      for (const [page, slot] of slots) {
        copied.set(page, { rest: slot.rest, words: new Map(slot.words) });
      }
      copy.files.set(name, { ...rest, slots: copied });
    }
    copy.lacking = new Set(this.lacking);
    for (const [map, pages] of this.own) {
      copy.own.set(map, new Map([...pages].map(([page, words]) => [page, new Map(words)])));
    }
    return copy;
  }

  /** The same text, the same state. */
  text(): string {
    const parts: unknown[] = [[...this.lacking]];
    for (const [name, { slots, ...rest }] of this.files) {
      const pages = [...slots].sort(([a], [b]) => a - b);
      parts.push([
        name,
        rest,
        pages.map(([page, slot]) => [page, slot.rest, [...slot.words].sort(([a], [b]) => a - b)]),
      ]);
    }
    for (const [map, pages] of this.own)
      parts.push([map, [...pages].map(([page, words]) => [page, [...words]])]);
    return JSON.stringify(parts);
  }

  /** Takes the event as the next one, if what it saw can be seen now. */
  apply(action: Action, seen: Seen): Refusal {
    if (seen.kind === 'error') return this.refuseError(action, seen.code);
    switch (action.op) {
      case 'load':
        return this.load(action, seen);
      case 'store':
        return this.store(action, seen);
      case 'persist':
        return this.persist(action, seen);
      case 'read':
        return this.read(action, seen);
      case 'write':
        this.write(action);
        return undefined;
      case 'scan':
        return this.scan(action, seen);
      case 'scanfile':
        return this.scanFile(action, seen);
      case 'cut':
        this.cut(action.keep);
        return undefined;
      default:
        this.change(action);
        return undefined;
    }
  }

  private change(action: Action): void {
    switch (action.op) {
      case 'fsync':
      case 'writeback':
        this.promise(action.file, 0, Infinity);
        return;
      case 'msync':
        this.promise(this.maps.get(action.map)!.file, action.page, action.pageCount);
        return;
      case 'punch':
      case 'zero':
        this.zero(this.file(action.file), action.page, action.pageCount);
        return;
      case 'collapse':
        this.move(action.file, action.page, -action.pageCount);
        return;
      case 'insert':
        this.move(action.file, action.page, action.pageCount);
        return;
      case 'truncate':
        this.truncate(action.file, action.pages);
        return;
      case 'fork':
        this.fork(action.child);
        return;
      default:
    }
  }

  private load(
    { map, page, word }: { map: string; page: number; word: number },
    seen: Seen,
  ): Refusal {
    if (seen.kind === 'bus') return this.refuseBus(map, page, false);
    const { file: name } = this.maps.get(map)!;
    const file = this.file(name);
    if (page >= file.pages) return beyond(`a load of page ${page} of ${name}`);
    const value = wordOf(seen);
    const own = this.own.get(map)?.get(page);
    if (own !== undefined) {
      const stored = own.get(word);
      if (stored === undefined || stored === value) return undefined;
      return refuse(
        'load',
        `a load of its own page ${page} saw ${value}; it stored ${stored} there`,
      );
    }
    return this.see(file, page, word, value, `a load of ${map}[${page}]`);
  }

  /** A promise where the map is durable before a store can be made. */
  private persist(
    { map, page, word }: { map: string; page: number; word: number },
    seen: Seen,
  ): Refusal {
    if (seen.kind === 'bus') return this.refuseBus(map, page, false);
    const { file: name, isSync } = this.maps.get(map)!;
    const file = this.file(name);
    if (isSync) this.slot(file, page).words.set(word, settled(this.word(file, page, word)));
    return undefined;
  }

  private read(
    { file: name, page, word }: { file: string; page: number; word: number },
    seen: Seen,
  ): Refusal {
    const file = this.file(name);
    if (seen.kind === 'end') {
      return page >= file.pages || file.isLoose
        ? undefined
        : refuse('load', `read(2) found the end of ${name} before page ${page} of ${file.pages}`);
    }
    if (page >= file.pages) return beyond(`read(2) of page ${page} of ${name}`);
    return this.see(file, page, word, wordOf(seen), `read(2) of page ${page} of ${name}`);
  }

  private see(file: FileState, page: number, word: number, value: number, what: string): Refusal {
    if (file.isLoose) return undefined;
    const { current, since } = this.word(file, page, word);
    if (!current.includes(value)) {
      return refuse('load', `${what} saw ${value}; what is there is ${current.join(' or ')}`);
    }
    if (current.length > 1) {
      const isDurable =
        since.length === current.length && since.every((one) => current.includes(one));
      this.slot(file, page).words.set(word, {
        current: [value],
        since: isDurable ? [value] : since,
      });
    }
    return undefined;
  }

  private store(
    { map, page, word, value }: { map: string; page: number; word: number; value: number },
    seen: Seen,
  ): Refusal {
    if (seen.kind === 'bus') return this.refuseBus(map, page, true);
    const { file: name, isPrivate } = this.maps.get(map)!;
    const file = this.file(name);
    if (page >= file.pages) return beyond(`a store to page ${page} of ${name}`);
    if (isPrivate) {
      const pages = this.own.get(map) ?? new Map<number, Map<number, number>>();
      this.own.set(map, pages);
      const words = pages.get(page) ?? new Map<number, number>();
      pages.set(page, words.set(word, value));
      return undefined;
    }
    if (this.isBad(name, page)) {
      return refuse(
        'media',
        `a store to page ${page} of ${name}, which cannot be zeroed, went through`,
      );
    }
    this.put(file, page, word, value);
    return undefined;
  }

  private write({
    file: name,
    page,
    word,
    value,
  }: {
    file: string;
    page: number;
    word: number;
    value: number;
  }): void {
    const file = this.file(name);
    if (page >= file.pages) {
      file.pages = page + 1;
      file.isMoving = true;
    }
    this.put(file, page, word, value);
  }

  private put(file: FileState, page: number, word: number, value: number): void {
    const { since } = this.word(file, page, word);
    this.slot(file, page).words.set(word, { current: [value], since: withValue(since, value) });
  }

  /** Every word that is seen in a page is one that the file had at some time; see oracle.ts. */
  private scan({ map, page }: { map: string; page: number }, seen: Seen): Refusal {
    return seen.kind === 'bus' ? this.refuseBus(map, page, false) : undefined;
  }

  private scanFile({ file, page }: { file: string; page: number }, seen: Seen): Refusal {
    const { pages, isLoose } = this.file(file);
    if (seen.kind !== 'end' || page >= pages || isLoose) return undefined;
    return refuse('load', `read(2) found the end of ${file} before page ${page} of ${pages}`);
  }

  private refuseBus(map: string, page: number, isStore: boolean): Refusal {
    const { file: name } = this.maps.get(map)!;
    const { pages, isLoose } = this.file(name);
    if (page >= pages || isLoose || this.isBad(name, page)) return undefined;
    const place = `${map} ${page}`;
    if (isStore && this.scenario.regionPages !== undefined) this.lacking.add(place);
    if (this.lacking.has(place)) return undefined;
    return refuse('bus', `an access of page ${page} of ${pages} of ${name} ended in SIGBUS`);
  }

  private refuseError(action: Action, code: string): Refusal {
    if (code === 'ENOSPC' && this.scenario.regionPages !== undefined) return undefined;
    // What the kernel answers to read(2) of a page that the media lost.
    const isRead = action.op === 'read' || action.op === 'scanfile';
    if (code === 'EIO' && isRead && this.isBad(action.file, action.page)) return undefined;
    return refuse('error', `${action.op} failed with ${code}`);
  }

  private isBad(name: string, page: number): boolean {
    const { extents = [] } = this.scenario.files[name]!;
    const extent = extents.find(
      ({ filePage, pageCount }) => filePage <= page && page < filePage + pageCount,
    );
    if (extent === undefined) return false;
    return (this.scenario.poisoned ?? []).includes(extent.regionPage + page - extent.filePage);
  }

  private promise(name: string, page: number, pageCount: number): void {
    const file = this.file(name);
    if (page === 0 && pageCount === Infinity) file.isMoving = false;
    for (const [at, slot] of file.slots) {
      if (at < page || at >= page + pageCount) continue;
      slot.rest = settled(slot.rest);
      for (const [index, word] of slot.words) slot.words.set(index, settled(word));
    }
  }

  private zero(file: FileState, page: number, pageCount: number): void {
    const end = Math.min(page + pageCount, file.pages);
    for (let at = page; at < end; at++) {
      const slot = this.slot(file, at);
      slot.rest = zeroed(slot.rest);
      for (const [index, word] of slot.words) slot.words.set(index, zeroed(word));
    }
  }

  private truncate(name: string, pages: number): void {
    const file = this.file(name);
    if (pages < file.pages) {
      this.zero(file, pages, Infinity);
      for (const [map, own] of this.own) {
        if (this.maps.get(map)!.file !== name) continue;
        for (const page of [...own.keys()]) if (page >= pages) own.delete(page);
      }
    }
    // What was never there reads as zeroes too.
    for (let page = file.pages; page < pages; page++) {
      if (!file.slots.has(page)) file.slots.set(page, { rest: only(0), words: new Map() });
    }
    file.pages = pages;
    file.isMoving = true;
  }

  private move(name: string, page: number, deltaPages: number): void {
    const file = this.file(name);
    for (let at = 0; at < file.pages; at++) this.slot(file, at);
    const moved = new Map<number, Slot>();
    for (const [at, slot] of file.slots) {
      if (at < page) moved.set(at, slot);
      else if (at + deltaPages >= page) moved.set(at + deltaPages, slot);
    }
    for (let at = page; at < page + deltaPages; at++) {
      moved.set(at, { rest: only(0), words: new Map() });
    }
    file.slots = moved;
    file.pages += deltaPages;
    file.isMoving = true;
  }

  private fork(child: string): void {
    const thread = this.scenario.threads.find(({ name }) => name === child)!;
    for (const [name, { process, copyOf }] of this.maps) {
      const own = process === thread.process && copyOf !== undefined && this.own.get(copyOf);
      if (!own) continue;
      this.own.set(name, new Map([...own].map(([page, words]) => [page, new Map(words)])));
    }
  }

  private cut(keep: Keep): void {
    for (const file of this.files.values()) {
      if (keep.keep !== 'all' && file.isMoving) file.isLoose = true;
      file.isMoving = false;
      for (const slot of file.slots.values()) {
        slot.rest = afterCut(slot.rest, keep);
        for (const [index, word] of slot.words) slot.words.set(index, afterCut(word, keep));
      }
    }
  }

  private file(name: string): FileState {
    return this.files.get(name)!;
  }

  private word(file: FileState, page: number, word: number): Word {
    const slot = this.slot(file, page);
    return slot.words.get(word) ?? slot.rest;
  }

  private slot(file: FileState, page: number): Slot {
    let slot = file.slots.get(page);
    if (slot === undefined) {
      slot = { rest: only(this.initial(file, page)), words: new Map() };
      file.slots.set(page, slot);
    }
    return slot;
  }

  private initial(state: FileState, page: number): number {
    const name = [...this.files].find(([, file]) => file === state)![0];
    const { extents = [], fill = 0 } = this.scenario.files[name]!;
    const isFilled = extents.some(
      ({ filePage, pageCount, state: kind }) =>
        kind === WRITTEN && filePage <= page && page < filePage + pageCount,
    );
    return isFilled ? fill : 0;
  }
}

function wordOf(seen: Seen): number {
  return seen.kind === 'value' ? seen.value : Number.NaN;
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

function afterCut(word: Word, { keep }: Keep): Word {
  return keep === 'all' ? settled(word) : { current: word.since, since: word.since };
}

function refuse(invariant: string, message: string): Refusal {
  return { invariant, message };
}

function beyond(what: string): Refusal {
  return refuse('load', `${what} beyond the end went through`);
}
