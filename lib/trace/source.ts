/**
 * Where events come from: a trace file (lib/trace/reader.ts), or memory, for tests and for the
 * recovery that a nested crash interrupts. Every reading starts at the first event.
 */
import type { TraceEvent } from './event.js';

/** An image at one moment: what was there before the first event. */
export interface BaseImage {
  /** Of the region, superblock included. */
  readonly pageCount: number;
  readonly uuid: string;
  /**
   * Content of a region page, 4096 bytes; not to be changed. Pages that were free and never used
   * hold the canary of owner 0: whoever reads it has been shown what is not his.
   */
  page(regionPage: number): Uint8Array;
  /** The committed metadata as a serialized SQLite database. */
  readonly database: Uint8Array;
}

export interface TraceSource {
  readonly base: BaseImage;
  readonly info: TraceInfo;
  events(): Iterable<TraceEvent>;
}

/** What the recording knew besides the events. */
export interface TraceInfo {
  /** Where the workload saw its directory; checks see the crash state there. */
  dir: string;
  workload: string;
  setup: string | null;
  /** When the recording began, ISO 8601. */
  startedAt: string;
  fauxdaxVersion: string;
  /** Words of -o the recorded mount had. */
  mountOptions: string;
}
