/**
 * Measuring the rows about crash states. A child makes states, and checks them as many at once as
 * `fauxdax test` would; it is not bound to a CPU.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './children.js';
import { median, type Plan, type Side } from './rate_rows.js';
import type { ExploreRow } from './rows.js';

const runMsMax = 120_000;

/** What the programs print, of which the row takes this. */
interface ExploreResult {
  /** In the row's unit. */
  value: number;
  cpuUs?: number;
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
    const program = fileURLToPath(new URL(`${row.program}.js`, import.meta.url));
    const words = [process.execPath, program, place, ...row.words, String(count)];
    const result = JSON.parse(await runChild(words, runMsMax, { ahead: true })) as ExploreResult;
    runs.push(result.value);
    if (result.cpuUs !== undefined) cpuUs.push(result.cpuUs);
  }
  const subject = {
    system: 'fauxdax',
    runs,
    min: Math.min(...runs),
    median: median(runs),
    max: Math.max(...runs),
    ...(cpuUs.length > 0 && { daemonCpuUs: median(cpuUs) }),
  };
  return { subject };
}
