/**
 * What has to happen to the mappings of a file before a request on it is carried out: which dirty
 * pages are flushed first, and which pages nobody may be shown while the file's map or size changes.
 */
import type { DaxEngine } from '../../lib/dax/engine.js';
import type { PageRange } from '../../lib/dax/mmu.js';
import type { Task } from '../../lib/dax/task.js';
import { FILE_BYTES_MAX, PAGE_BYTES, pageOf, pagesFor } from '../../lib/units.js';
import { FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE } from '../content.js';

export interface Plan {
  ino: number;
  /** Flushed first: fsync. */
  writeback?: PageRange;
  /**
   * Flushed afterwards: what a write through O_DSYNC is about, as in generic_write_sync(). Until then
   * what mappings stored there is undecided, as what is written is.
   */
  synced?: PageRange;
  /**
   * Shown to nobody meanwhile. Pages that a private mapping made its own by a store stay, unless
   * `dropOwn`: only a truncation takes them away (and COLLAPSE those beyond the new end).
   */
  change?: PageRange & { dropOwn: boolean };
}

/** The pages from that of the byte at `offset` to the end of the largest file. */
function pagesFrom(offset: number): PageRange {
  const filePage = pageOf(offset);
  return { filePage, pageCount: pagesFor(FILE_BYTES_MAX) - filePage };
}

export const ALL_PAGES: PageRange = pagesFrom(0);

/** The pages that hold the bytes. */
export function pagesOf({ offset, lengthBytes }: ByteRange): PageRange {
  const filePage = pageOf(offset);
  return { filePage, pageCount: pagesFor(offset + lengthBytes) - filePage };
}

export interface ByteRange {
  offset: number;
  lengthBytes: number;
}

/** fallocate(2); COLLAPSE and INSERT move all that follows. The range need not make sense. */
export function fallocatePlan(ino: number, mode: number, range: ByteRange): Plan {
  const isShift = (mode & (FALLOC_COLLAPSE_RANGE | FALLOC_INSERT_RANGE)) !== 0;
  const isValid = range.offset >= 0 && range.lengthBytes > 0;
  if (!isValid || range.offset + range.lengthBytes > FILE_BYTES_MAX) return { ino };
  const pages = isShift ? pagesFrom(range.offset) : pagesOf(range);
  return { ino, change: { ...pages, dropOwn: false } };
}

/** Truncation takes whole pages off, private copies of them too; the rest of a page is zeroed. */
export function truncatePlan(ino: number, sizeBytes: number, oldSizeBytes: number): Plan {
  const isValid = sizeBytes <= FILE_BYTES_MAX;
  if (!isValid) return { ino };
  const whole = pagesFrom(pagesFor(Math.min(sizeBytes, oldSizeBytes)) * PAGE_BYTES);
  return { ino, change: { ...whole, dropOwn: sizeBytes < oldSizeBytes } };
}

/** Carries out `run` after what the plan says. */
export function* runPlan(engine: DaxEngine, plan: Plan, run: () => number): Task<number> {
  const { ino, writeback, change, synced } = plan;
  if (writeback !== undefined) yield* engine.writeback(ino, writeback);
  const status =
    change === undefined ? run() : yield* engine.change(ino, change, change.dropOwn, run);
  if (synced !== undefined) yield* engine.writeback(ino, synced);
  return status;
}
