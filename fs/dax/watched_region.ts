/**
 * The region of a mount on which stores of mappings are found by comparing: what is about to be
 * flushed is compared first, since a store that the region does not know of would not be flushed.
 */
import type { CrashCount, Keep, Region } from '../../lib/region.js';
import type { FaultServer } from '../../lib/native.js';
import { pageOf, pagesFor } from '../../lib/units.js';

export class WatchedRegion implements Region {
  readonly #region: Region;
  readonly #server: FaultServer;

  constructor(region: Region, server: FaultServer) {
    this.#region = region;
    this.#server = server;
  }

  get pageCount(): number {
    return this.#region.pageCount;
  }

  /** What is flushed is clean afterwards: the next store to it is told, and watches it anew. */
  flush(offset: number, lengthBytes: number): void {
    const page = pageOf(offset);
    this.#server.sweepPages(page, pagesFor(offset + lengthBytes) - page, true);
    this.#region.flush(offset, lengthBytes);
  }

  read(offset: number, target: Uint8Array): void {
    this.#region.read(offset, target);
  }

  store(offset: number, source: Uint8Array): void {
    this.#region.store(offset, source);
  }

  storeFlushed(offset: number, source: Uint8Array): void {
    this.#region.storeFlushed(offset, source);
  }

  zeroFlushed(offset: number, lengthBytes: number): void {
    this.#region.zeroFlushed(offset, lengthBytes);
  }

  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void {
    this.#region.copyFlushed(fromOffset, toOffset, lengthBytes);
  }

  fence(): void {
    this.#region.fence();
  }

  fillCanary(page: number, pageCount: number, ownerIno: number): void {
    this.#region.fillCanary(page, pageCount, ownerIno);
  }

  poison(page: number): void {
    this.#region.poison(page);
  }

  heal(page: number): void {
    this.#region.heal(page);
  }

  poisonedPages(): number[] {
    return this.#region.poisonedPages();
  }

  trackUndecided(): void {
    this.#region.trackUndecided();
  }

  undecidedLineCount(): number {
    return this.#region.undecidedLineCount();
  }

  crash(keep: Keep): CrashCount {
    return this.#region.crash(keep);
  }

  syncHost(): void {
    this.#region.syncHost();
  }

  close(): void {
    this.#region.close();
  }
}
