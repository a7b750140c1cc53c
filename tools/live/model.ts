/**
 * What the files of a round hold, as the plainest filesystem would have it, one call or access after the
 * other. A word has a set of values that it may hold: one, until a power cut leaves it open which of the
 * values since the last promise survived, and until somebody then sees it. Nothing here is the engine's
 * or the race lab's own model; oracle.ts asks it whether an order of events explains what was seen.
 *
 * Words are named by file page and index of 8 bytes. Values are those of the scenario, see values.ts.
 */
import type { Op, Scenario } from '../../lib/race/scenario.js';
import type { Keep } from '../../lib/region.js';
import { FileState } from './file_state.js';
import type { LiveMap } from './script.js';
import type { LiveInvariant, LiveViolation } from './violation.js';

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

/** Why an event cannot come next; undefined when it can, and has. */
export type Refusal = LiveViolation | undefined;

interface MapWord {
  map: string;
  page: number;
  word: number;
}

interface FileWord {
  file: string;
  page: number;
  word: number;
}

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
    for (const [name, setup] of Object.entries(scenario.files)) {
      this.files.set(name, FileState.of(setup));
    }
  }

  copy(): FileModel {
    const copy = new FileModel(this.scenario, this.maps);
    for (const [name, file] of this.files) copy.files.set(name, file.copy());
    for (const [map, pages] of this.own) copy.own.set(map, copyPages(pages));
    copy.lacking = new Set(this.lacking);
    return copy;
  }

  /** The same text, the same state. */
  text(): string {
    const files = [...this.files].map(([name, file]) => [name, file.picture()]);
    const own = [...this.own].map(([map, pages]) => {
      return [map, [...pages].map(([page, words]) => [page, [...words]])];
    });
    return JSON.stringify([files, own, [...this.lacking]]);
  }

  /** The states that a power cut may leave. */
  afterCut({ keep }: Keep): FileModel[] {
    let models = [this.copy()];
    for (const [name, file] of this.files) {
      models = models.flatMap((model) =>
        file.afterCut(keep === 'all').map((left) => {
          const copy = model.copy();
          copy.files.set(name, left);
          return copy;
        }),
      );
    }
    return models;
  }

  /** Takes the event as the next one, if what it saw can be seen now. A cut is not one: afterCut(). */
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
      case 'scan':
        return seen.kind === 'bus' ? this.refuseBus(action.map, action.page, false) : undefined;
      case 'scanfile':
        return seen.kind === 'end' ? this.refuseEnd(action.file, action.page) : undefined;
      default:
        this.change(action);
        return undefined;
    }
  }

  private change(action: Action): void {
    switch (action.op) {
      case 'fsync':
      case 'writeback':
        this.file(action.file).promise(0, Infinity);
        break;
      case 'msync':
        this.file(this.maps.get(action.map)!.file).promise(action.page, action.pageCount);
        break;
      case 'write':
        this.write(action);
        break;
      case 'punch':
      case 'zero':
        this.file(action.file).zero(action.page, action.pageCount);
        break;
      case 'collapse':
        this.file(action.file).collapse(action.page, action.pageCount);
        this.dropOwn(action.file);
        break;
      case 'insert':
        this.file(action.file).insert(action.page, action.pageCount);
        break;
      case 'truncate':
        this.truncate(action.file, action.pages);
        break;
      case 'fork':
        this.fork(action.child);
        break;
      default:
    }
  }

  private load({ map, page, word }: MapWord, seen: Seen): Refusal {
    if (seen.kind === 'bus') return this.refuseBus(map, page, false);
    const { file } = this.maps.get(map)!;
    if (page >= this.file(file).pageCount) return beyond(`a load of page ${page} of ${file}`);
    const own = this.own.get(map)?.get(page);
    if (own === undefined) return this.see({ file, page, word }, seen, `a load of ${map}[${page}]`);
    const stored = own.get(word);
    const value = wordOf(seen);
    if (stored === undefined || stored === value) return undefined;
    const what = `a load of its own page ${page} saw ${value}`;
    return refuse('load', `${what}; it stored ${stored} there`);
  }

  private read({ file, page, word }: FileWord, seen: Seen): Refusal {
    if (seen.kind === 'end') return this.refuseEnd(file, page);
    const what = `read(2) of page ${page} of ${file}`;
    if (page >= this.file(file).pageCount) return beyond(what);
    return this.see({ file, page, word }, seen, what);
  }

  private see({ file: name, page, word }: FileWord, seen: Seen, what: string): Refusal {
    const file = this.file(name);
    const value = wordOf(seen);
    const values = file.values(page, word);
    if (!values.includes(value)) {
      return refuse('load', `${what} saw ${value}; what is there is ${values.join(' or ')}`);
    }
    file.see(page, word, value);
    return undefined;
  }

  private store({ map, page, word, value }: MapWord & { value: number }, seen: Seen): Refusal {
    if (seen.kind === 'bus') return this.refuseBus(map, page, true);
    const { file, isPrivate } = this.maps.get(map)!;
    const what = `a store to page ${page} of ${file}`;
    if (page >= this.file(file).pageCount) return beyond(what);
    if (isPrivate) {
      const pages = this.own.get(map) ?? new Map<number, Map<number, number>>();
      this.own.set(map, pages);
      const words = pages.get(page) ?? new Map<number, number>();
      pages.set(page, words.set(word, value));
      return undefined;
    }
    if (this.isBad(file, page)) return refuse('media', `${what}, which is bad, went through`);
    this.file(file).store(page, word, value);
    return undefined;
  }

  /** A promise where the map is durable before a store can be made. */
  private persist({ map, page, word }: MapWord, seen: Seen): Refusal {
    if (seen.kind === 'bus') return this.refuseBus(map, page, false);
    const { file, isSync } = this.maps.get(map)!;
    if (isSync) this.file(file).promiseWord(page, word);
    return undefined;
  }

  private write({ file: name, page, word, value }: FileWord & { value: number }): void {
    const file = this.file(name);
    if (page >= file.pageCount) file.resize(page + 1);
    file.store(page, word, value);
  }

  private truncate(name: string, pageCount: number): void {
    const file = this.file(name);
    const isShorter = pageCount < file.pageCount;
    file.resize(pageCount);
    if (isShorter) this.dropOwn(name);
  }

  /** Pages beyond the end that a store made a private mapping's own go with those of the file. */
  private dropOwn(name: string): void {
    const { pageCount } = this.file(name);
    for (const [map, own] of this.own) {
      if (this.maps.get(map)!.file !== name) continue;
      for (const page of [...own.keys()]) if (page >= pageCount) own.delete(page);
    }
  }

  private fork(child: string): void {
    const thread = this.scenario.threads.find(({ name }) => name === child)!;
    for (const [name, { process, copyOf }] of this.maps) {
      const isChilds = process === thread.process && copyOf !== undefined;
      const own = isChilds ? this.own.get(copyOf) : undefined;
      if (own !== undefined) this.own.set(name, copyPages(own));
    }
  }

  private refuseEnd(file: string, page: number): Refusal {
    const { pageCount } = this.file(file);
    if (page >= pageCount) return undefined;
    return refuse('load', `read(2) found the end of ${file} before page ${page} of ${pageCount}`);
  }

  private refuseBus(map: string, page: number, isStore: boolean): Refusal {
    const { file } = this.maps.get(map)!;
    const { pageCount } = this.file(file);
    if (page >= pageCount || this.isBad(file, page)) return undefined;
    const place = `${map} ${page}`;
    if (isStore && this.scenario.regionPages !== undefined) this.lacking.add(place);
    if (this.lacking.has(place)) return undefined;
    return refuse('bus', `an access of page ${page} of ${pageCount} of ${file} ended in SIGBUS`);
  }

  private refuseError(action: Action, code: string): Refusal {
    // The range has to end before the file does.
    if (code === 'EINVAL' && action.op === 'collapse') {
      if (action.page + action.pageCount >= this.file(action.file).pageCount) return undefined;
    }
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

  private file(name: string): FileState {
    return this.files.get(name)!;
  }
}

function copyPages(
  pages: ReadonlyMap<number, Map<number, number>>,
): Map<number, Map<number, number>> {
  return new Map([...pages].map(([page, words]) => [page, new Map(words)]));
}

function wordOf(seen: Seen): number {
  return seen.kind === 'value' ? seen.value : Number.NaN;
}

function refuse(invariant: LiveInvariant, message: string): Refusal {
  return { invariant, message };
}

function beyond(what: string): Refusal {
  return refuse('load', `${what} beyond the end went through`);
}
