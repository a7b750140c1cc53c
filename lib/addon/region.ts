/**
 * The mapped region: typed as the rest of the program sees it, over the addon's object, which
 * native/region.h describes. Offsets and lengths are bytes. Everything runs on the JavaScript thread
 * that calls it.
 */
import type { CrashCount, Keep, Region } from '../region.js';
import { run } from './errno.js';
import { type AddonRecorder, addonRecorder, type Recorder } from './recorder.js';

export interface NativeRegion extends Region {
  readonly flushInstruction: 'clwb' | 'clflushopt' | 'clflush';
  readonly path: string;
  undecidedCounters(): UndecidedCounters;
  /**
   * From here on every store, flush, fence and canary is recorded, in the order in which they are
   * made. Once, before anything else uses the region; crash() is refused afterwards.
   */
  record(recorder: Recorder): void;
}

/** How often a crashable region reached the limit of undecided lines it remembers. Monotonic. */
export interface UndecidedCounters {
  /** Flushed lines were drained, as if fenced. */
  limitFences: number;
  /** That was not enough: unflushed lines were written back, as if evicted from the cache. */
  limitEvictions: number;
}

/** native/region_object.h: what an object here passes on, but for names and objects. */
type Passed = Omit<NativeRegion, 'pageCount' | 'path' | 'flushInstruction' | 'record' | 'crash'>;

export interface AddonRegion extends Passed {
  record(recorder: AddonRecorder): void;
  crash(keep: Keep['keep'], seed: number | undefined): CrashCount;
  flushInstruction(): NativeRegion['flushInstruction'];
}

export type RegionConstructor = new (
  path: string,
  pageCount: number,
  readOnly: boolean,
) => AddonRegion;

export class MappedRegion implements NativeRegion {
  readonly path: string;
  readonly pageCount: number;
  readonly flushInstruction: NativeRegion['flushInstruction'];
  /** What the addon takes; opaque to everybody else. */
  readonly mapped: AddonRegion;

  constructor(addonRegion: RegionConstructor, path: string, pageCount: number, readOnly: boolean) {
    this.mapped = run(() => new addonRegion(path, pageCount, readOnly));
    this.path = path;
    this.pageCount = pageCount;
    this.flushInstruction = this.mapped.flushInstruction();
  }

  read(offset: number, target: Uint8Array): void {
    run(() => this.mapped.read(offset, target));
  }

  store(offset: number, source: Uint8Array): void {
    run(() => this.mapped.store(offset, source));
  }

  storeFlushed(offset: number, source: Uint8Array): void {
    run(() => this.mapped.storeFlushed(offset, source));
  }

  zeroFlushed(offset: number, lengthBytes: number): void {
    run(() => this.mapped.zeroFlushed(offset, lengthBytes));
  }

  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void {
    run(() => this.mapped.copyFlushed(fromOffset, toOffset, lengthBytes));
  }

  flush(offset: number, lengthBytes: number): void {
    this.mapped.flush(offset, lengthBytes);
  }

  fence(): void {
    this.mapped.fence();
  }

  fillCanary(page: number, pageCount: number, ownerIno: number): void {
    run(() => this.mapped.fillCanary(page, pageCount, ownerIno));
  }

  poison(page: number): void {
    this.mapped.poison(page);
  }

  heal(page: number): void {
    this.mapped.heal(page);
  }

  poisonedPages(): number[] {
    return this.mapped.poisonedPages();
  }

  trackUndecided(): void {
    run(() => this.mapped.trackUndecided());
  }

  undecidedLineCount(): number {
    return this.mapped.undecidedLineCount();
  }

  undecidedCounters(): UndecidedCounters {
    return this.mapped.undecidedCounters();
  }

  record(recorder: Recorder): void {
    run(() => this.mapped.record(addonRecorder(recorder)));
  }

  crash(keep: Keep): CrashCount {
    const seed = keep.keep === 'seed' ? keep.seed : undefined;
    return run(() => this.mapped.crash(keep.keep, seed));
  }

  syncHost(): void {
    run(() => this.mapped.syncHost());
  }

  close(): void {
    this.mapped.close();
  }
}

/** What the addon takes for a region. */
export function addonRegion(region: NativeRegion): AddonRegion {
  if (!(region instanceof MappedRegion)) throw new TypeError('region is not a mapped region');
  return region.mapped;
}
