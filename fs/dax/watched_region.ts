/**
 * The region of a mount on which stores of mappings are found by comparing. The engine flushes a
 * page when it has been protected in all mappings, so from then on nobody need look at it: the next
 * store is told, and has it watched anew. But a page that a process is just being shown, storable,
 * may become so after it was protected; while any command is under way, pages stay watched.
 */
import type { CrashCount, Keep, Region } from '../../lib/region.js';
import type { FaultServer } from '../../lib/addon/fault_server.js';
import { pageOf, pagesFor } from '../../lib/units.js';

export class WatchedRegion implements Region {
  readonly #region: Region;
  readonly #server: FaultServer;
  readonly #mayForget: () => boolean;

  /** @param mayForget no command to a process is under way */
  constructor(region: Region, server: FaultServer, mayForget: () => boolean) {
    this.#region = region;
    this.#server = server;
    this.#mayForget = mayForget;
  }

  get pageCount(): number {
    return this.#region.pageCount;
  }

  flush(offset: number, lengthBytes: number): void {
    const page = pageOf(offset);
    this.#server.sweepPages(page, pagesFor(offset + lengthBytes) - page, this.#mayForget());
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
