/**
 * The page table of one mapping of a simulated process: entries of one page (PTE) and of 2 MiB (PMD),
 * and the counters that Linux checks when a process exits. File pages of 4 KiB; runs of PTEs that
 * continue each other are kept as one.
 *
 * An entry is put where the caller says, over whatever is there. Where that makes a PMD and PTEs stand
 * for the same pages, what happens is what mm/memory.c makes of it: the walk sees the PMD, the page
 * table behind it is never found again, and the counters tell at exit.
 */
import { PAGES_PER_HUGE, chunkOf } from '../units.js';
import { intersection, type PageRange } from '../dax/mmu.js';
import type { Content } from './content.js';

export type Target = number | 'zero' | 'bus';

export interface Entry extends PageRange {
  /** Region page of its first page. */
  readonly target: Target;
  readonly isStorable: boolean;
  readonly isHuge: boolean;
}

/** A page of a process's own: whoever still has it in a TLB reaches it. */
export interface OwnPage {
  content: Content;
}

export interface Collision {
  readonly invariant: 'pmd-over-pte' | 'pte-under-pmd';
  readonly text: string;
}

export class PageTable {
  /** Sorted and disjoint. */
  private entries: Entry[] = [];
  /** Pages that a private mapping copied when it stored to them. */
  private readonly own = new Map<number, OwnPage>();
  /** Chunks of 512 pages that have a page table for PTEs. */
  private readonly tables = new Set<number>();
  private pageTableCount = 0;
  private residentPages = 0;
  /** What collided, for a person. */
  collision: Collision | undefined;

  find(page: number): Entry | undefined {
    return this.entries.find(
      (entry) => entry.filePage <= page && page < entry.filePage + entry.pageCount,
    );
  }

  ownAt(page: number): OwnPage | undefined {
    return this.own.get(page);
  }

  all(): readonly Entry[] {
    return this.entries;
  }

  /** The process's own, in order. */
  ownPages(): { page: number; content: Content }[] {
    const pages = [...this.own].sort(([a], [b]) => a - b);
    return pages.map(([page, { content }]) => ({ page, content }));
  }

  /** Shows what the entry says. */
  put(entry: Entry): void {
    const { filePage, pageCount } = entry;
    const end = filePage + pageCount;
    if (entry.isHuge) {
      if (this.hasPages(filePage)) {
        const text = `a PMD was installed at pages ${span(entry)} over PTEs`;
        this.collision ??= { invariant: 'pmd-over-pte', text };
        this.tables.delete(chunkOf(filePage));
        this.entries = this.entries.filter((old) => old.filePage >= end || endOf(old) <= filePage);
        for (const page of [...this.own.keys()]) {
          if (filePage <= page && page < end) this.own.delete(page);
        }
      }
      this.cut(entry, true);
      this.insert(entry);
      return;
    }
    const over = this.find(filePage);
    if (over?.isHuge === true && over.target !== 'bus') {
      const text = `PTE ${span(entry)} was installed under a PMD at pages ${span(over)}`;
      this.collision ??= { invariant: 'pte-under-pmd', text };
      this.residentPages += pageCount;
      return;
    }
    this.cut(entry, true);
    this.insert(entry);
  }

  /** A private mapping's store: the page is the process's own from here on. */
  putOwn(page: number, content: Content): void {
    this.cut({ filePage: page, pageCount: 1 }, true);
    this.residentPages++;
    this.needTable(chunkOf(page));
    this.own.set(page, { content });
  }

  /** Drops what shows the pages. */
  zap(range: PageRange, dropOwn: boolean): void {
    this.cut(range, dropOwn);
  }

  setStorable(range: PageRange, isStorable: boolean): void {
    for (const entry of [...this.entries]) {
      if (entry.filePage >= endOf(range) || endOf(entry) <= range.filePage) continue;
      if (entry.isStorable === isStorable || typeof entry.target !== 'number') continue;
      const part = entry.isHuge ? entry : intersection(entry, range);
      this.split(entry, part.filePage);
      this.split(this.find(part.filePage)!, endOf(part));
      this.entries = this.entries.map((old) =>
        old.filePage >= part.filePage && endOf(old) <= endOf(part) ? { ...old, isStorable } : old,
      );
    }
  }

  /** Another process's table after fork: its own pages, and nothing shown. */
  copyOwn(from: PageTable): void {
    for (const [page, { content }] of from.own) this.putOwn(page, content);
  }

  /**
   * What the kernel would say when the process exits: page tables and pages that no walk finds any
   * more. Both zero when all is well.
   */
  exitCounters(): { pageTables: number; residentPages: number } {
    const found = this.entries.reduce((sum, entry) => sum + resident(entry), 0) + this.own.size;
    return {
      pageTables: this.pageTableCount - this.tables.size,
      residentPages: this.residentPages - found,
    };
  }

  text(): string {
    const shown = this.entries.map(
      ({ filePage, pageCount, target, isStorable, isHuge }) =>
        `${filePage}+${pageCount}=${target}${isStorable ? 'w' : ''}${isHuge ? 'H' : ''}`,
    );
    const own = this.ownPages().map(({ page, content }) => `${page}~${content.id}`);
    return [...shown, ...own].join(' ');
  }

  private hasPages(filePage: number): boolean {
    const end = filePage + PAGES_PER_HUGE;
    for (const page of this.own.keys()) if (filePage <= page && page < end) return true;
    return this.entries.some(
      (old) => !old.isHuge && old.target !== 'bus' && old.filePage < end && endOf(old) > filePage,
    );
  }

  private insert(entry: Entry): void {
    this.residentPages += resident(entry);
    if (!entry.isHuge && entry.target !== 'bus') {
      const last = chunkOf(endOf(entry) - 1);
      for (let chunk = chunkOf(entry.filePage); chunk <= last; chunk++) this.needTable(chunk);
    }
    this.entries.push(entry);
    this.entries.sort((a, b) => a.filePage - b.filePage);
  }

  private needTable(chunk: number): void {
    if (this.tables.has(chunk)) return;
    this.tables.add(chunk);
    this.pageTableCount++;
  }

  private cut(range: PageRange, dropOwn: boolean): void {
    const end = endOf(range);
    for (const entry of [...this.entries]) {
      if (entry.filePage >= end || endOf(entry) <= range.filePage) continue;
      this.split(entry, range.filePage);
      this.split(this.find(Math.max(entry.filePage, range.filePage))!, end);
    }
    const kept: Entry[] = [];
    for (const entry of this.entries) {
      if (entry.filePage >= range.filePage && endOf(entry) <= end) {
        this.residentPages -= resident(entry);
      } else kept.push(entry);
    }
    this.entries = kept;
    if (dropOwn) {
      for (const page of [...this.own.keys()]) {
        if (page < range.filePage || page >= end) continue;
        this.own.delete(page);
        this.residentPages--;
      }
    }
    for (const chunk of [...this.tables]) {
      if (this.hasPages(chunk * PAGES_PER_HUGE)) continue;
      this.tables.delete(chunk);
      this.pageTableCount--;
    }
  }

  /** An entry that lies across `page` becomes two; of a PMD, PTEs. */
  private split(entry: Entry, page: number): void {
    if (page <= entry.filePage || page >= endOf(entry)) return;
    const count = page - entry.filePage;
    const index = this.entries.findIndex((one) => one.filePage === entry.filePage);
    const whole = this.entries[index]!;
    const target = typeof whole.target === 'number' ? whole.target + count : whole.target;
    this.entries.splice(
      index,
      1,
      { ...whole, pageCount: count, isHuge: false },
      { ...whole, filePage: page, pageCount: whole.pageCount - count, target, isHuge: false },
    );
    if (whole.isHuge) this.needTable(chunkOf(entry.filePage));
  }
}

function resident(entry: Entry): number {
  return entry.target === 'bus' ? 0 : entry.pageCount;
}

export function endOf(range: PageRange): number {
  return range.filePage + range.pageCount;
}

export function span({ filePage, pageCount }: PageRange): string {
  return pageCount === 1 ? `${filePage}` : `${filePage}-${filePage + pageCount - 1}`;
}

export function isIn(page: number, range: PageRange): boolean {
  return range.filePage <= page && page < endOf(range);
}

/** Ascending ranges; those that meet become one. */
export function joined(ranges: readonly PageRange[]): PageRange[] {
  const made: { filePage: number; pageCount: number }[] = [];
  for (const range of ranges) {
    const last = made.at(-1);
    if (last !== undefined && endOf(last) === range.filePage) last.pageCount += range.pageCount;
    else made.push({ ...range });
  }
  return made;
}

export function touches(one: PageRange, other: PageRange): boolean {
  return one.filePage < endOf(other) && other.filePage < endOf(one);
}
