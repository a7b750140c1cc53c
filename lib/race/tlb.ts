/**
 * The TLB of the CPU that a thread of the lab runs on: what the walk of a page table found, until somebody
 * has it dropped. Pages count 4 KiB.
 */
import type { Mapping, PageRange } from '../dax/mmu.js';
import { isIn, type OwnPage } from './page_table.js';

/** What a page shows: a region page, zeroes, or the process's own page. */
export type Shown = number | 'zero' | OwnPage;

interface CachedEntry {
  readonly mapping: Mapping;
  readonly filePage: number;
  readonly target: Shown;
  readonly isStorable: boolean;
}

export class Tlb {
  private entries: CachedEntry[] = [];

  find(mapping: Mapping, filePage: number): CachedEntry | undefined {
    return this.entries.find((one) => one.mapping === mapping && one.filePage === filePage);
  }

  put(entry: CachedEntry): void {
    this.entries = this.entries.filter(
      (one) => one.mapping !== entry.mapping || one.filePage !== entry.filePage,
    );
    this.entries.push(entry);
  }

  has(mapping: Mapping, range: PageRange): boolean {
    return this.entries.some((one) => one.mapping === mapping && isIn(one.filePage, range));
  }

  drop(mapping: Mapping, range: PageRange, butOwn: boolean): void {
    this.entries = this.entries.filter(
      (one) =>
        one.mapping !== mapping ||
        !isIn(one.filePage, range) ||
        (butOwn && typeof one.target === 'object'),
    );
  }

  all(): readonly CachedEntry[] {
    return this.entries;
  }

  text(): string {
    return this.entries
      .map(
        (one) =>
          `${one.mapping.id}:${one.filePage}=${shownText(one.target)}${one.isStorable ? 'w' : ''}`,
      )
      .sort()
      .join(' ');
  }
}

function shownText(target: Shown): string {
  return typeof target === 'object' ? `own ${target.content.id}` : String(target);
}
