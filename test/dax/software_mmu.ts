/**
 * An MMU in memory for tests of the engine: a page table for each mapping over a MemoryRegion, with
 * loads and stores that see what a program would see. Installing and zapping take effect when
 * the process gets round to it (runCommand), in order for each process; protecting is at once, as in
 * the daemon. A store that is not told to the engine is caught here.
 */
import assert from 'node:assert/strict';
import type { Backing, FaultKind, Mapping, Mmu, PageRange } from '../../lib/dax/mmu.js';
import { Signal } from '../../lib/dax/signal.js';
import { READY, type Waitable } from '../../lib/dax/task.js';
import type { Region } from '../../lib/region.js';
import { PAGE_BYTES, PAGES_PER_HUGE } from '../../lib/units.js';

export interface PageTableEntry {
  shows: number | 'zero' | Buffer; // a region page, zeroes, or the process's own copy
  isStorable: boolean;
  isHuge: boolean;
}

interface Command {
  run: () => void;
  done: Signal;
}

/** What an access that did not go through needs. */
export interface Needed {
  kind: FaultKind;
}

export class SoftwareMmu implements Mmu {
  readonly tables = new Map<number, Map<number, PageTableEntry>>();
  /** Entries of one size put over entries of the other. */
  readonly collisions: string[] = [];
  installs = 0;
  protects = 0;
  private readonly commands = new Map<number, Command[]>();
  private readonly caught = new Map<number, Set<number>>();
  private readonly dirtied = new Map<number, Set<number>>();
  private readonly gone: { id: number; range: PageRange }[] = [];

  /** @param isLazy commands wait for runCommand(); otherwise they are done when given */
  constructor(
    private readonly region: Region,
    readonly isLazy: boolean,
  ) {}

  install(mapping: Mapping, backing: Backing, isStorable: boolean): Waitable {
    this.installs++;
    return this.command(mapping, () => {
      for (let index = 0; index < backing.pageCount; index++) {
        const page = backing.filePage + index;
        if (this.isGone(mapping, page)) continue;
        this.noteCollision(mapping, page, backing.isHuge);
        const shows = backing.regionPage === 'zero' ? 'zero' : backing.regionPage + index;
        this.table(mapping).set(page, { shows, isStorable, isHuge: backing.isHuge });
      }
    });
  }

  allowStores(mapping: Mapping, range: PageRange): void {
    this.each(mapping, range, (entry) => {
      assert(typeof entry.shows === 'number', 'stores go to the region');
      entry.isStorable = true;
    });
  }

  zap(mapping: Mapping, range: PageRange, dropOwn: boolean): Waitable {
    return this.command(mapping, () => {
      this.each(mapping, range, (entry, page) => {
        if (typeof entry.shows === 'object' && !dropOwn) return;
        if (entry.isHuge) this.split(mapping, page);
        this.table(mapping).delete(page);
      });
    });
  }

  protect(mapping: Mapping, range: PageRange): Waitable {
    this.protects++;
    this.each(mapping, range, (entry) => {
      entry.isStorable = false;
    });
    return READY;
  }

  catchStores(ino: number, range: PageRange, on: boolean): void {
    const pages = this.setOf(this.caught, ino);
    if (on) {
      for (let index = 0; index < range.pageCount; index++) pages.add(range.filePage + index);
      return;
    }
    for (const page of pages) if (isIn(range, page)) pages.delete(page);
  }

  takeDirtied(ino: number): PageRange[] {
    const pages = [...this.setOf(this.dirtied, ino)].sort((a, b) => a - b);
    this.dirtied.delete(ino);
    return pages.map((filePage) => ({ filePage, pageCount: 1 }));
  }

  /** Nobody here syncs past the engine. */
  settled(): void {}
  unsettled(): void {}

  isNoted(ino: number, filePage: number): boolean {
    return this.dirtied.get(ino)?.has(filePage) ?? false;
  }

  isCaught(ino: number, filePage: number): boolean {
    return this.caught.get(ino)?.has(filePage) ?? false;
  }

  load(mapping: Mapping, filePage: number, at: number): number | Needed {
    const entry = this.table(mapping).get(filePage);
    if (entry === undefined) return { kind: 'missing' };
    if (entry.shows === 'zero') return 0;
    if (typeof entry.shows === 'object') return entry.shows[at]!;
    const byte = Buffer.alloc(1);
    this.region.read(entry.shows * PAGE_BYTES + at, byte);
    return byte[0]!;
  }

  store(mapping: Mapping, filePage: number, at: number, value: number): undefined | Needed {
    const entry = this.table(mapping).get(filePage);
    if (entry === undefined) return { kind: 'missing' };
    if (!mapping.isShared) {
      if (typeof entry.shows !== 'object') this.makeOwn(mapping, filePage, entry);
      const own = this.table(mapping).get(filePage)!.shows as Buffer;
      own[at] = value;
      return undefined;
    }
    if (!entry.isStorable) {
      if (mapping.isSync || !this.isCaught(mapping.ino, filePage)) return { kind: 'protected' };
      assert(typeof entry.shows === 'number', 'a store to zeroes is never caught');
      this.setOf(this.dirtied, mapping.ino).add(filePage);
      entry.isStorable = true;
    }
    assert(typeof entry.shows === 'number');
    this.region.store(entry.shows * PAGE_BYTES + at, Uint8Array.of(value));
    return undefined;
  }

  /** munmap: at once, whatever commands are under way. */
  unmap(mapping: Mapping, range: PageRange): void {
    this.gone.push({ id: mapping.id, range });
    this.each(mapping, range, (_entry, page) => this.table(mapping).delete(page));
  }

  /** The program's own doing (MADV_DONTNEED), or the kernel's: pages are missing, and nobody is told. */
  lose(mapping: Mapping, range: PageRange): void {
    this.each(mapping, range, (entry, page) => {
      if (entry.isHuge) this.split(mapping, page);
      this.table(mapping).delete(page);
    });
  }

  /** Processes that have commands to carry out. */
  busyClients(): number[] {
    return [...this.commands].filter(([, queue]) => queue.length > 0).map(([client]) => client);
  }

  runCommand(client: number): void {
    const command = this.commands.get(client)!.shift()!;
    command.run();
    command.done.set();
  }

  table(mapping: Mapping): Map<number, PageTableEntry> {
    let table = this.tables.get(mapping.id);
    if (table === undefined) {
      table = new Map();
      this.tables.set(mapping.id, table);
    }
    return table;
  }

  private command(mapping: Mapping, run: () => void): Waitable {
    const command = { run, done: new Signal() };
    if (this.isLazy) {
      const queue = this.commands.get(mapping.client) ?? [];
      this.commands.set(mapping.client, queue);
      queue.push(command);
    } else {
      run();
      command.done.set();
    }
    return command.done;
  }

  /** The kernel copies the page; a huge entry is split for it. */
  private makeOwn(mapping: Mapping, filePage: number, entry: PageTableEntry): void {
    const own = Buffer.alloc(PAGE_BYTES);
    if (typeof entry.shows === 'number') this.region.read(entry.shows * PAGE_BYTES, own);
    if (entry.isHuge) this.split(mapping, filePage);
    this.table(mapping).set(filePage, { shows: own, isStorable: true, isHuge: false });
  }

  /** The huge entry that covers the page becomes 512 of one page. */
  private split(mapping: Mapping, filePage: number): void {
    const start = filePage - (filePage % PAGES_PER_HUGE);
    this.each(mapping, { filePage: start, pageCount: PAGES_PER_HUGE }, (entry) => {
      entry.isHuge = false;
    });
  }

  private noteCollision(mapping: Mapping, filePage: number, isHuge: boolean): void {
    const before = this.table(mapping).get(filePage);
    if (before === undefined || before.isHuge === isHuge) return;
    this.collisions.push(`mapping ${mapping.id} page ${filePage}: ${isHuge ? 'PMD' : 'PTE'}`);
  }

  private each(
    mapping: Mapping,
    range: PageRange,
    visit: (entry: PageTableEntry, filePage: number) => void,
  ): void {
    const table = this.table(mapping);
    for (const [page, entry] of [...table]) if (isIn(range, page)) visit(entry, page);
  }

  private isGone(mapping: Mapping, filePage: number): boolean {
    return this.gone.some(({ id, range }) => id === mapping.id && isIn(range, filePage));
  }

  private setOf(sets: Map<number, Set<number>>, ino: number): Set<number> {
    const set = sets.get(ino) ?? new Set();
    sets.set(ino, set);
    return set;
  }
}

function isIn(range: PageRange, page: number): boolean {
  return range.filePage <= page && page < range.filePage + range.pageCount;
}
