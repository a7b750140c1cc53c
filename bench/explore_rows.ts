/**
 * Measuring the rows about crash states made and checked in a second. A child makes one state and
 * checks it over and over, as many at once as it would for `fauxdax test`; it is not bound to a CPU.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './children.js';
import { median, type Plan, type Side } from './rate_rows.js';
import type { ExploreRow } from './rows.js';

const program = fileURLToPath(new URL('explore_states.js', import.meta.url));
const runMsMax = 120_000;

/** What explore_states prints, of which the row takes this. */
interface ExploreResult {
  statesPerSecond: number;
  cpuUs: number;
}

export async function measureExplore(row: ExploreRow, plan: Plan): Promise<{ subject: Side }> {
  const count = Math.ceil(row.count * plan.scale);
  const runs: number[] = [];
  const cpuUs: number[] = [];
  // The child warms up by itself.
  for (let round = 1; round <= plan.rounds; round++) {
    plan.progress(`${row.name}: round ${round} of ${plan.rounds}`);
    const place = join(plan.workDirectory, String(round));
    mkdirSync(place);
    const words = [process.execPath, program, place, row.check, String(count)];
    const result = JSON.parse(await runChild(words, runMsMax, { ahead: true })) as ExploreResult;
    runs.push(result.statesPerSecond);
    cpuUs.push(result.cpuUs);
  }
  const subject = {
    system: 'fauxdax',
    runs,
    min: Math.min(...runs),
    median: median(runs),
    max: Math.max(...runs),
    daemonCpuUs: median(cpuUs),
  };
  return { subject };
}
