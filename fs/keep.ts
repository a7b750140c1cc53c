/** What a power cut is to keep, as a client of the daemon says it. */
import type { Keep } from '../lib/region.js';
import { UsageError } from './options.js';

/** @throws {UsageError} unless it is none, all, or seed with a seed */
export function checkKeep(keep: unknown): asserts keep is Keep {
  const { keep: what, seed } = (keep ?? {}) as { keep?: unknown; seed?: unknown };
  if (what === 'none' || what === 'all') return;
  if (what !== 'seed') throw new UsageError('crash: keep must be none, all or seed');
  if (!Number.isSafeInteger(seed) || Number(seed) < 0) {
    throw new UsageError('crash: keep by a seed needs a seed that is a whole number');
  }
}
