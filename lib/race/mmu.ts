/**
 * The software MMU: simulated processes with page tables, one TLB for each CPU (a thread of the lab is
 * alone on its CPU), and the commands through which the engine changes what mappings show (lib/dax/mmu.ts).
 *
 * As under `fauxdax run`, commands of a process are carried out one after the other by somebody else than
 * who gave them: each is a step of its own, and a zap takes one more for every CPU whose TLB still has
 * the pages. protect() and allowStores() are done at once. Pages count 4 KiB.
 */
import assert from 'node:assert/strict';
import type { Backing, Mapping, Mmu, PageRange } from '../dax/mmu.js';
import { READY, type Waitable } from '../dax/task.js';
import type { Content } from './content.js';
import { Command, type CommandKind, installText, pagesText } from './command.js';
import { type Footprint, fileBit } from './footprint.js';
import type { Journal } from './journal.js';
import {
  endOf,
  type Entry,
  isIn,
  joined,
  type OwnPage,
  PageTable,
  span,
  type Target,
  touches,
} from './page_table.js';
import { Process } from './process.js';
import type { LabRegion } from './region.js';
import { type Shown, Tlb } from './tlb.js';

/** What an access of one page finds. */
export type Translation =
  | { kind: 'missing' | 'protected' | 'bus' }
  | { kind: 'shown'; target: Shown };

export class SoftwareMmu implements Mmu {
  private readonly processes: Process[] = [];
  private readonly owners = new Map<Mapping, Process>();
  /** Pages of files whose stores need not be told. */
  private readonly caught = new Map<number, PageRange[]>();
  private readonly dirtied = new Map<number, Set<number>>();
  /** Files whose msync needs only what is noted. */
  private readonly settledInos = new Set<number>();

  constructor(
    private readonly region: LabRegion,
    private readonly footprint: Footprint,
    private readonly journal: Journal,
    private readonly nameOf: (mapping: Mapping) => string,
  ) {}

  // Processes

  addProcess(name: string, cpus: readonly number[]): Process {
    const process = new Process(this.processes.length, name);
    for (const cpu of cpus) process.tlbs.set(cpu, new Tlb());
    this.processes.push(process);
    return process;
  }

  addMapping(process: Process, mapping: Mapping): void {
    this.owners.set(mapping, process);
    process.tables.set(mapping, new PageTable());
  }

  all(): readonly Process[] {
    return this.processes;
  }

  /** The program unmapped it, or exited: at once, on all its CPUs. */
  removeMapping(mapping: Mapping): { pageTables: number; residentPages: number } {
    const process = this.processOf(mapping);
    this.footprint.writes |= process.bit;
    const counters = process.tables.get(mapping)!.exitCounters();
    process.tables.delete(mapping);
    for (const tlb of process.tlbs.values()) tlb.drop(mapping, EVERYTHING, false);
    return counters;
  }

  isMapped(mapping: Mapping): boolean {
    return this.processOf(mapping).tables.has(mapping);
  }

  tableOf(mapping: Mapping): PageTable | undefined {
    return this.processOf(mapping).tables.get(mapping);
  }

  /** Whether its process has been told what it has not done. */
  hasCommands(mapping: Mapping): boolean {
    return this.processOf(mapping).queue.length > 0;
  }

  // Accesses of a program

  /** TLB, then page table; what the walk finds goes into the TLB. */
  translate(cpu: number, mapping: Mapping, filePage: number, isWrite: boolean): Translation {
    const process = this.processOf(mapping);
    this.footprint.reads |= process.bit;
    const tlb = process.tlbs.get(cpu)!;
    const cached = tlb.find(mapping, filePage);
    if (cached !== undefined && (!isWrite || cached.isStorable)) {
      return { kind: 'shown', target: cached.target };
    }
    const table = process.tables.get(mapping)!;
    const entry = table.find(filePage);
    const own = entry === undefined ? table.ownAt(filePage) : undefined;
    const target = own ?? targetAt(entry, filePage);
    if (target === undefined) return { kind: 'missing' };
    if (target === 'bus') return { kind: 'bus' };
    const isStorable = own !== undefined || entry!.isStorable;
    if (isWrite && !isStorable) return { kind: 'protected' };
    this.footprint.writes |= process.bit;
    tlb.put({ mapping, filePage, target, isStorable });
    return { kind: 'shown', target };
  }

  /**
   * A store to a protected page: whether it is one that is caught. If so it is noted, and from here on
   * goes through. An entry of 2 MiB the process is told to map anew besides, so that it becomes
   * storable once more, at some time; until then it stays noted, see takeNoted().
   */
  catchStore(mapping: Mapping, filePage: number): boolean {
    const ranges = this.caught.get(mapping.ino) ?? [];
    if (!mapping.isShared || mapping.isSync) return false;
    this.footprint.reads |= fileBit(mapping.ino);
    if (!ranges.some((range) => isIn(filePage, range))) return false;
    const process = this.processOf(mapping);
    const table = process.tables.get(mapping)!;
    const entry = table.find(filePage)!;
    this.footprint.writes |= process.bit | fileBit(mapping.ino);
    const noted = entry.isHuge ? entry : { filePage, pageCount: 1 };
    const pages = this.dirtied.get(mapping.ino) ?? new Set();
    for (let page = noted.filePage; page < endOf(noted); page++) pages.add(page);
    this.dirtied.set(mapping.ino, pages);
    table.setStorable(noted, true);
    this.dropCached(process, mapping, noted);
    if (entry.isHuge) this.showAnew(process, mapping, entry);
    this.journal.note(() => `the store is caught: page ${span(noted)} is noted and storable`);
    return true;
  }

  /** A store to a page of a private mapping that is there: the process gets a copy. */
  copy(mapping: Mapping, filePage: number): void {
    const process = this.processOf(mapping);
    this.footprint.writes |= process.bit;
    const table = process.tables.get(mapping)!;
    const target = targetAt(table.find(filePage), filePage);
    assert(target !== undefined && target !== 'bus' && !mapping.isShared);
    const { contents } = this.region;
    const content = target === 'zero' ? contents.filled(0) : this.region.content(target);
    this.dropCached(process, mapping, { filePage, pageCount: 1 });
    table.putOwn(filePage, content);
    this.journal.note(() => `page ${filePage} is copied: ${this.nameOf(mapping)} has its own`);
  }

  setOwn(mapping: Mapping, own: OwnPage, content: Content): void {
    this.footprint.writes |= this.processOf(mapping).bit;
    own.content = content;
  }

  /** After a fault that failed. */
  showBus(mapping: Mapping, filePage: number): void {
    const process = this.processOf(mapping);
    this.footprint.writes |= process.bit;
    const range = { filePage, pageCount: 1 };
    this.dropCached(process, mapping, range);
    process.tables.get(mapping)?.put({ ...range, target: 'bus', isStorable: false, isHuge: false });
  }

  // Commands

  /** Carries out the next part of a process's oldest command. */
  step(process: Process): void {
    const command = process.queue[0]!;
    const { mapping, does } = command;
    this.footprint.writes |= process.bit;
    const table = process.tables.get(mapping);
    const name = this.nameOf(mapping);
    if (table === undefined) {
      process.queue.shift();
      command.set();
      return;
    }
    if (does.kind === 'install') {
      const { filePage, pageCount, regionPage, isHuge } = does.backing;
      const { isStorable } = does;
      table.put({ filePage, pageCount, target: regionPage, isHuge, isStorable });
      this.dropCached(process, mapping, does.backing);
      this.journal.note(() => `${name}: ${installText(does.backing, isStorable)}`);
    } else if (command.shootdowns === undefined) {
      table.zap(does.range, does.dropOwn);
      command.shootdowns = [...process.tlbs]
        .filter(([, tlb]) => tlb.has(mapping, does.range))
        .map(([cpu]) => cpu);
      this.journal.note(() => `${name}: ${pagesText(does.range)} out of the page table`);
    } else {
      const cpu = command.shootdowns.shift()!;
      process.tlbs.get(cpu)!.drop(mapping, does.range, !does.dropOwn);
      this.journal.note(() => `${name}: the TLB of CPU ${cpu} drops ${pagesText(does.range)}`);
    }
    if (command.shootdowns !== undefined && command.shootdowns.length > 0) return;
    process.queue.shift();
    command.set();
  }

  // lib/dax/mmu.ts

  install(mapping: Mapping, backing: Backing, isStorable: boolean): Waitable {
    if (isStorable) this.settledInos.delete(mapping.ino);
    return this.give(mapping, { kind: 'install', backing, isStorable });
  }

  zap(mapping: Mapping, range: PageRange, dropOwn: boolean): Waitable {
    return this.give(mapping, { kind: 'zap', range, dropOwn });
  }

  allowStores(mapping: Mapping, range: PageRange): void {
    this.settledInos.delete(mapping.ino);
    const process = this.processOf(mapping);
    this.footprint.writes |= process.bit;
    process.tables.get(mapping)?.setStorable(range, true);
    this.dropCached(process, mapping, range);
    this.journal.note(() => `${this.nameOf(mapping)}: ${pagesText(range)} storable`);
  }

  protect(mapping: Mapping, range: PageRange): Waitable {
    const process = this.processOf(mapping);
    this.footprint.writes |= process.bit;
    const table = process.tables.get(mapping);
    if (table === undefined) return READY;
    const whole = table.find(range.filePage)?.isHuge === true ? table.find(range.filePage)! : range;
    table.setStorable(whole, false);
    this.dropCached(process, mapping, whole);
    this.journal.note(() => `${this.nameOf(mapping)}: ${pagesText(range)} write-protected`);
    return READY;
  }

  catchStores(ino: number, range: PageRange, on: boolean): void {
    const ranges = this.caught.get(ino) ?? [];
    const kept = ranges.flatMap((old) => {
      const before = { filePage: old.filePage, pageCount: range.filePage - old.filePage };
      const after = { filePage: endOf(range), pageCount: endOf(old) - endOf(range) };
      if (endOf(old) <= range.filePage || endOf(range) <= old.filePage) return [old];
      return [before, after].filter(({ pageCount }) => pageCount > 0);
    });
    if (on) kept.push(range);
    else this.settledInos.delete(ino);
    kept.sort((a, b) => a.filePage - b.filePage);
    if (kept.length === 0) this.caught.delete(ino);
    else this.caught.set(ino, kept);
  }

  takeDirtied(ino: number): PageRange[] {
    this.settledInos.delete(ino);
    return this.takeNoted(ino, EVERYTHING);
  }

  settled(ino: number): void {
    this.footprint.writes |= fileBit(ino);
    this.settledInos.add(ino);
  }

  unsettled(): void {
    for (const ino of this.settledInos) this.footprint.writes |= fileBit(ino);
    this.settledInos.clear();
  }

  /** Whether the fault server carries out an msync of the file by itself: see settled(). */
  isSettled(ino: number): boolean {
    this.footprint.reads |= fileBit(ino);
    return (
      this.settledInos.has(ino) && this.mappingsOf(ino).every(({ queue }) => queue.length === 0)
    );
  }

  /** What is noted in the range, with all of the 2 MiB entries that it touches, is forgotten. */
  takeNoted(ino: number, range: PageRange): PageRange[] {
    const noted = this.dirtied.get(ino) ?? new Set<number>();
    const entries = this.mappingsOf(ino).map(({ table }) => table);
    const isTaken = (page: number): boolean => {
      const huge = entries.map((table) => table.find(page)).find((entry) => entry?.isHuge);
      return isIn(page, range) || (huge !== undefined && touches(huge, range));
    };
    const pages = [...noted].filter(isTaken).sort((a, b) => a - b);
    const shownAnew = this.mappingsOf(ino).flatMap(({ queue }) => queue.filter(isOfServer));
    for (const page of pages) {
      const isKept = ({ mapping, does }: Command): boolean =>
        mapping.ino === ino && does.kind === 'install' && isIn(page, does.backing);
      if (!shownAnew.some(isKept)) noted.delete(page);
    }
    if (noted.size === 0) this.dirtied.delete(ino);
    return joined(pages.map((page) => ({ filePage: page, pageCount: 1 })));
  }

  /** In every shared mapping of the file. */
  protectAll(ino: number, range: PageRange): void {
    for (const { mapping } of this.mappingsOf(ino)) {
      if (mapping.isShared) this.protect(mapping, range);
    }
  }

  private mappingsOf(ino: number): { mapping: Mapping; table: PageTable; queue: Command[] }[] {
    return this.processes.flatMap((process) => {
      this.footprint.reads |= process.bit;
      const { queue } = process;
      const all = [...process.tables].map(([mapping, table]) => ({ mapping, table, queue }));
      return all.filter(({ mapping }) => mapping.ino === ino);
    });
  }

  /** All of it: the same text, the same state. */
  text(): string {
    const parts: string[] = ['settled', [...this.settledInos].sort().join()];
    for (const process of this.processes) {
      parts.push(process.name);
      for (const [mapping, table] of process.tables) parts.push(`${mapping.id}:`, table.text());
      for (const [cpu, tlb] of process.tlbs) parts.push(`cpu ${cpu}`, tlb.text());
      for (const command of process.queue) parts.push(command.text);
    }
    for (const [ino, ranges] of [...this.caught].sort(byIno)) {
      parts.push(
        `caught ${ino}`,
        ...joined(ranges).map(({ filePage, pageCount }) => `${filePage}+${pageCount}`),
      );
    }
    for (const [ino, pages] of [...this.dirtied].sort(byIno)) {
      parts.push(`dirtied ${ino}`, ...[...pages].sort((a, b) => a - b).map(String));
    }
    return parts.join(' ');
  }

  /** What a process can reach: page table entries and TLB entries, without its own pages. */
  *reachable(process: Process): IterableIterator<{ mapping: Mapping; shown: Entry; cpu?: number }> {
    for (const [mapping, table] of process.tables) {
      for (const shown of table.all()) yield { mapping, shown };
    }
    for (const [cpu, tlb] of process.tlbs) {
      for (const { mapping, filePage, target, isStorable } of tlb.all()) {
        if (typeof target === 'object') continue;
        yield {
          mapping,
          cpu,
          shown: { filePage, pageCount: 1, target, isStorable, isHuge: false },
        };
      }
    }
  }

  private showAnew(process: Process, mapping: Mapping, entry: Entry): void {
    const { filePage, pageCount, target } = entry;
    assert(typeof target === 'number', 'stores to zeroes are told');
    // What is commanded away counts as gone: then it is no entry of 2 MiB any more.
    if (process.queue.some((one) => one.mapping === mapping && touches(one.range, entry))) return;
    const backing = { filePage, pageCount, regionPage: target, isHuge: true };
    this.give(mapping, { kind: 'install', backing, isStorable: true }, true);
  }

  private give(mapping: Mapping, does: CommandKind, isOfServer = false): Waitable {
    const process = this.processOf(mapping);
    this.footprint.writes |= process.bit;
    const looked = () => {
      this.footprint.reads |= process.bit;
    };
    const command = new Command(mapping, does, looked, isOfServer);
    process.queue.push(command);
    return command;
  }

  private dropCached(process: Process, mapping: Mapping, range: PageRange): void {
    for (const tlb of process.tlbs.values()) tlb.drop(mapping, range, false);
  }

  private processOf(mapping: Mapping): Process {
    const process = this.owners.get(mapping);
    assert(process !== undefined);
    return process;
  }
}

const EVERYTHING: PageRange = { filePage: 0, pageCount: Infinity };

function byIno([a]: [number, unknown], [b]: [number, unknown]): number {
  return a - b;
}

function isOfServer(command: Command): boolean {
  return command.isOfServer;
}

function targetAt(entry: Entry | undefined, filePage: number): Target | undefined {
  if (entry === undefined || typeof entry.target !== 'number') return entry?.target;
  return entry.target + (filePage - entry.filePage);
}
