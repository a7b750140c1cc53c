/**
 * Mappings of files, and the port through which the engine changes what they show. Two
 * implementations: processes under `fauxdax run` (fs), and the race lab's software MMU. Pages count
 * 4 KiB; a mapping shows the file pages [filePage, filePage + pageCount) at consecutive addresses.
 */
import type { Task, Waitable } from './task.js';

export interface Mapping {
  readonly id: number;
  /** The process that has it. */
  readonly client: number;
  readonly ino: number;
  readonly filePage: number;
  readonly pageCount: number;
  /** Address of its first page divided by 4096: huge entries need it congruent to filePage. */
  readonly addressPage: number;
  readonly isShared: boolean;
  /** MAP_SYNC: a page becomes storable only once the metadata that shows it is durable. */
  readonly isSync: boolean;
}

/** Consecutive pages. */
export interface PageRange {
  readonly filePage: number;
  readonly pageCount: number;
}

/** Pages of both; they overlap. */
export function intersection(one: PageRange, other: PageRange): PageRange {
  const filePage = Math.max(one.filePage, other.filePage);
  const endPage = Math.min(one.filePage + one.pageCount, other.filePage + other.pageCount);
  return { filePage, pageCount: endPage - filePage };
}

/** What pages show: zeroes, or region pages from regionPage on. */
export interface Backing extends PageRange {
  readonly regionPage: number | 'zero';
  /** One entry of 2 MiB: region, file and address lie alike in it. For a page table. */
  readonly isHuge: boolean;
}

export interface Mmu {
  /**
   * The mapping shows `backing`; the thread that faulted is not woken. `isStorable`: stores go
   * through untold, otherwise the first one of each page faults as `protected`. Of a private
   * mapping stores are never told: they make the page the process's own.
   */
  install(mapping: Mapping, backing: Backing, isStorable: boolean): Waitable;

  /**
   * A page that the mapping shows already, protected, may be stored to. What is not there any more
   * faults again.
   */
  allowStores(mapping: Mapping, range: PageRange): void;

  /**
   * No access through the mapping reaches what it showed once this is ready; the next one faults as
   * `missing`. Pages a private mapping made its own by a store stay, unless `dropOwn`.
   */
  zap(mapping: Mapping, range: PageRange, dropOwn: boolean): Waitable;

  /**
   * Once this is ready, the next store through the mapping to each page faults as `protected`. Needs
   * nothing of the process, which may do nothing else any more.
   */
  protect(mapping: Mapping, range: PageRange): Waitable;

  /**
   * Stores to these pages through shared mappings that are not MAP_SYNC need not be told to the
   * engine (`on`): whoever catches them notes the page as dirtied and lets them through. They are
   * region pages with an entry; `isHuge`: whole 2 MiB of one entry, where the first store may let all
   * others through.
   *
   * A page is noted before its stores are let through, and they are let through before any protect()
   * that is called after the note: the engine takes first and protects then, so a page that is
   * storable after both is noted for the next time. Notes outlive `off`, zap() and the process, until
   * they are taken.
   */
  catchStores(ino: number, range: PageRange, on: boolean, isHuge: boolean): void;

  /** Takes and forgets what catchStores() noted. Ascending. */
  takeDirtied(ino: number): PageRange[];

  /**
   * A sync of the file has nothing to do from here on but to take what catchStores() notes, protect,
   * flush and fence it: whoever catches stores may do that by itself. Until unsettled(), or until the
   * engine makes a page of the file storable, takes what is noted, or has catchStores() `off` for any
   * of it: then what was taken and is not flushed is noted again, or in what the engine takes.
   */
  settled(ino: number): void;
  /** Of all files. */
  unsettled(): void;
}

/** Why a fault ended without a page. */
export type BusError = 'beyond-end' | 'no-space' | 'media-error';

/** `missing`: nothing was mapped there. `protected`: a store to a page that is there. */
export type FaultKind = 'missing' | 'protected';

export type FaultTask = Task<BusError | undefined>;
