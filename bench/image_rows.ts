/**
 * Measuring the rows about one image with many files: memory of its daemon, and mounting it again
 * after the daemon was killed. Neither is bound to a CPU.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, killQuietly, runChild, waitUntil } from './children.js';
import { median, type Plan, runJob, type Side } from './rate_rows.js';
import type { ImageRow } from './rows.js';
import { detach, type Mounted, mountFauxdax, start } from './systems.js';

const killMsMax = 10_000;
const settleMs = 2_000;
const kibInMib = 1024;

/** Resident memory of a daemon, MiB. */
export interface Memory {
  total: number;
  anonymous: number;
  file: number;
  shared: number;
  /** Of `total`, pages of the image's region. */
  region: number;
  beyondRegion: number;
}

export interface ImageResult {
  subject: Side;
  memory?: Memory;
}

/** Makes an image with the row's files and measures what the row names. */
export async function measureImage(row: ImageRow, plan: Plan): Promise<ImageResult> {
  const free: Plan = { ...plan, placement: 'free' };
  const place = join(plan.workDirectory, row.name);
  let mounted = await start(row.subject, place, 'free');
  try {
    plan.progress(`${row.name}: making ${Math.round(row.fileCount * plan.scale)} files`);
    const populate = { client: 'client', job: 'populate', count: row.fileCount } as const;
    await runJob({ ...populate, blockBytes: 4096 }, mounted, free);
    if (row.name === 'memory') {
      await sleep(settleMs);
      const memory = readMemory(mounted);
      return { subject: sideOf(row, [memory.beyondRegion]), memory };
    }
    const runs: number[] = [];
    for (let round = 0; round <= plan.rounds; round++) {
      plan.progress(`${row.name}: ${round === 0 ? 'warm-up' : `round ${round} of ${plan.rounds}`}`);
      await killDaemon(mounted);
      const begin = performance.now();
      mounted = await mountFauxdax(row.subject, mounted.directory, mounted.image);
      const seconds = (performance.now() - begin) / 1000;
      await runChild(['stat', '-c', '%s', join(mounted.directory, 'directory0/file0')], killMsMax);
      if (round > 0) runs.push(seconds);
    }
    return { subject: sideOf(row, runs) };
  } finally {
    await mounted.stop();
  }
}

/** Ends the daemon as a power cut would end it, and takes the dead mount away. */
async function killDaemon(mounted: Mounted): Promise<void> {
  killQuietly(mounted.daemonPid);
  await waitUntil('killing the daemon', killMsMax, () => !isAlive(mounted.daemonPid));
  detach(mounted.directory);
}

function readMemory(mounted: Mounted): Memory {
  const status = readFileSync(`/proc/${mounted.daemonPid}/status`, 'utf8');
  const field = (name: string): number => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status);
    return Number(match?.[1] ?? Number.NaN) / kibInMib;
  };
  const total = field('VmRSS');
  const region = residentMib(mounted.daemonPid, join(mounted.image, 'region'));
  return {
    total,
    anonymous: field('RssAnon'),
    file: field('RssFile'),
    shared: field('RssShmem'),
    region,
    beyondRegion: total - region,
  };
}

/** Resident size of all mappings of one file in a process, MiB, from /proc/PID/smaps. */
function residentMib(pid: number, path: string): number {
  let inside = false;
  let kib = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) inside = line.endsWith(path);
    const match = inside ? /^Rss:\s+(\d+) kB/.exec(line) : null;
    if (match) kib += Number(match[1]);
  }
  return kib / kibInMib;
}

function sideOf(row: ImageRow, runs: number[]): Side {
  return {
    system: row.subject,
    runs,
    min: Math.min(...runs),
    median: median(runs),
    max: Math.max(...runs),
  };
}
