/**
 * The row about copying and persisting a buffer. `persist.cc` does the measuring: it has its own
 * rounds, turns the order of the three loops, and prints medians in nanoseconds for each size, cold
 * and hot. Here its table is read, and the size where we do worst becomes the row.
 */

import { join } from 'node:path';
import { runChild } from './children.js';
import { clientPrefix } from './host.js';
import type { Plan, Side } from './rate_rows.js';
import { built } from './systems.js';

const persistMsMax = 120_000;

export interface PersistResult {
  subject: Side;
  peer: Side;
  /** Time of the better hand-written loop over ours: above 1 we are faster. */
  ratio: number;
  /** The whole table as printed. */
  details: string;
}

/** Runs the program once, on a scratch file in the row's directory. */
export async function measurePersist(plan: Plan): Promise<PersistResult> {
  plan.progress('persist');
  const words = [...clientPrefix(plan.placement), join(built, 'persist')];
  const details = await runChild([...words, join(plan.workDirectory, 'persist')], persistMsMax, {
    ahead: true,
  });
  let worst: PersistResult | undefined;
  for (const line of details.split('\n')) {
    const [size, ours, cached, stream] = line.trim().split(/\s+/).map(Number);
    if (!size || !ours || !cached || !stream) continue;
    const peerNs = Math.min(cached, stream);
    const ratio = peerNs / ours;
    if (worst !== undefined && worst.ratio <= ratio) continue;
    const peer = sideOf(cached < stream ? 'memcpy+clwb' : 'streaming', peerNs);
    worst = { subject: sideOf(`fauxdax, ${size} B`, ours), peer, ratio, details };
  }
  if (worst === undefined) throw new Error(`no figures in what persist printed: ${details}`);
  return worst;
}

function sideOf(system: string, medianNs: number): Side {
  return { system, runs: [medianNs], min: medianNs, median: medianNs, max: medianNs };
}
