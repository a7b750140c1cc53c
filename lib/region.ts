/**
 * The region as every layer above sees it: persistent memory addressed by byte offset, with the
 * three states a store passes through (stored, flushed, durable). Two implementations: the mapped
 * file of lib/addon/region.ts, and lib/memory_region.ts for tests and exploration without the addon.
 *
 * Page 0 is the superblock; pages 1 .. pageCount-1 are data. Every call is synchronous and runs on
 * the JavaScript thread that owns the filesystem.
 */

/** What a power cut keeps of the lines that are stored but not durable. */
export type Keep = { keep: 'none' } | { keep: 'all' } | { keep: 'seed'; seed: number };

export interface CrashCount {
  /** 64-byte lines that were stored and not durable when the power went. */
  undecidedLines: number;
  /** Of those, lines that kept a newer value than the durable one. */
  keptLines: number;
}

export interface Region {
  readonly pageCount: number;

  /**
   * Copies bytes out of the region.
   * @throws {Errno} EIO when the range touches a poisoned page
   */
  read(offset: number, target: Uint8Array): void;

  /**
   * Plain stores: in the cache, undecided until flushed and fenced.
   * @throws {Errno} EIO when the range touches a poisoned page
   */
  store(offset: number, source: Uint8Array): void;

  /**
   * Stores and flushes; durable after the next fence.
   * @throws {Errno} EIO when the range touches a poisoned page it does not wholly cover
   * (a store of whole pages heals them, as the kernel's DAX recovery write does)
   */
  storeFlushed(offset: number, source: Uint8Array): void;

  /** Zeroes and flushes; durable after the next fence. @throws {Errno} EIO on a poisoned page */
  zeroFlushed(offset: number, lengthBytes: number): void;

  /**
   * Copies inside the region and flushes. Ranges may overlap.
   * @throws {Errno} EIO when the source touches a poisoned page, or the target as in storeFlushed()
   */
  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void;

  /** Pushes the lines that hold the range towards the persistence domain. */
  flush(offset: number, lengthBytes: number): void;

  /** All lines flushed before this call are durable when it returns. */
  fence(): void;

  /**
   * Fills free pages with the canary naming page and last owner (SPEC.md, Canary); flushed. Poisoned
   * pages stay as they are.
   */
  fillCanary(page: number, pageCount: number, ownerIno: number): void;

  poison(page: number): void;
  heal(page: number): void;
  poisonedPages(): number[];

  /** From here on the durable value of every undecided line is kept, so that crash() can work. */
  trackUndecided(): void;
  undecidedLineCount(): number;

  /**
   * Cuts the power: every undecided line takes its durable value, its newest one, or a value the
   * seed picks among durable, flushed and newest. Same seed and same history, same bytes.
   * Afterwards nothing is undecided.
   */
  crash(keep: Keep): CrashCount;

  /** Host durability (msync of the mapped file); a no-op for memory. */
  syncHost(): void;

  /** May be called twice. */
  close(): void;
}
