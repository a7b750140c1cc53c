/**
 * Measuring the rows that compare a rate.
 *
 * Both systems are mounted side by side and run in turn: warm-up, then A B, B A, A B, ... so that a
 * drift of the machine falls on both alike. The warm-up round is not counted. Halfway both are
 * mounted anew in the other order: the memory that the first daemon gets is measurably slower or
 * faster than the second's, by up to a fifth at 128 KiB, for as long as it lives.
 */

import { join } from 'node:path';
import { runChild } from './children.js';
import { clientPrefix, loadNow, type Placement } from './host.js';
import type { Job, JobResult, RateRow } from './rows.js';
import {
  built,
  cpuNs,
  type Mounted,
  placeInRegion,
  regionOf,
  type SystemName,
  start,
} from './systems.js';

const jobMsMax = 120_000;

/** One side of a row: its counted runs in the row's unit, and what else was seen. */
export interface Side {
  system: string;
  runs: number[];
  min: number;
  median: number;
  max: number;
  p50Us?: number;
  p99Us?: number;
  /** CPU time of all threads of the daemon, an operation. */
  daemonCpuUs?: number;
}

export interface RateResult {
  subject: Side;
  peer: Side;
  /** Median of the subject over median of the peer. */
  ratio: number;
  /** Median of the ratios of the two runs of each round: less moved by a drifting machine. */
  pairedRatio: number;
  /** Highest one-minute load seen while the row ran; the row itself adds up to one. */
  loadMax: number;
}

export interface Plan {
  rounds: number;
  scale: number;
  placement: Placement;
  workDirectory: string;
  progress(text: string): void;
}

/** Middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

interface Sample {
  value: number;
  p50Us: number;
  p99Us: number;
  daemonCpuUs: number;
}

type Samples = [subject: Sample[], peer: Sample[]];

/** Measures a row: half of its rounds on one pair of mounts, half on another. */
export async function measureRate(row: RateRow, plan: Plan): Promise<RateResult> {
  const samples: Samples = [[], []];
  const roundsAll = plan.rounds * (row.roundsTimes ?? 1);
  const roundsFirst = Math.ceil(roundsAll / 2);
  let loadMax = 0;
  for (const [mounting, rounds] of [roundsFirst, roundsAll - roundsFirst].entries()) {
    if (rounds === 0) continue;
    const text = `${row.name}, mounting ${mounting + 1} of 2`;
    const order = mounting === 0 ? ([0, 1] as const) : ([1, 0] as const);
    const said = { ...plan, progress: (more: string) => plan.progress(`${text}: ${more}`) };
    const load = await measureMounting(row, said, { rounds, order, mounting }, samples);
    loadMax = Math.max(loadMax, load);
  }
  const [subject, peer] = samples;
  return compare(sideOf(row.subject, subject), sideOf(row.peer, peer), loadMax);
}

/** Mounts both sides in `order`, runs a warm-up and the rounds, unmounts. Returns the load seen. */
async function measureMounting(
  row: RateRow,
  plan: Plan,
  part: { rounds: number; order: readonly (0 | 1)[]; mounting: number },
  samples: Samples,
): Promise<number> {
  const mounts: Mounted[] = [];
  let loadMax = 0;
  try {
    for (const side of part.order) {
      if (side === 1 && row.peer === 'region') continue;
      // A system compared with itself is mounted twice, in two places.
      const place = join(plan.workDirectory, `${part.mounting}.${side}`);
      const mounted = await start(side === 0 ? row.subject : row.peer, place, plan.placement);
      mounts[side] = mounted;
      if (row.prepare) await runJob(row.prepare, mounted, plan);
    }
    if (row.peer === 'region') mounts[1] = regionOf(mounts[0] as Mounted);
    for (let round = 0; round <= part.rounds; round++) {
      plan.progress(round === 0 ? 'warm-up' : `round ${round} of ${part.rounds}`);
      const turn = round % 2 === 0 ? part.order : [...part.order].reverse();
      for (const side of turn) {
        const job = side === 0 ? row.job : (row.peerJob ?? row.job);
        const sample = await sampleOf(row, job, mounts[side] as Mounted, plan);
        if (round > 0) samples[side].push(sample);
      }
      loadMax = Math.max(loadMax, loadNow());
    }
  } finally {
    for (const mounted of mounts) await mounted?.stop();
  }
  return loadMax;
}

async function sampleOf(row: RateRow, job: Job, mounted: Mounted, plan: Plan): Promise<Sample> {
  const startNs = cpuNs(mounted.daemonPid);
  const result = await runJob(job, mounted, plan);
  const usedNs = cpuNs(mounted.daemonPid) - startNs;
  return {
    value: row.unit === 'MB/s' ? result.bytesPerSecond / 1e6 : result.opsPerSecond,
    p50Us: result.p50Us,
    p99Us: result.p99Us,
    daemonCpuUs: usedNs / 1000 / result.operations,
  };
}

/** Runs one client on a mount and returns what it printed. */
export async function runJob(job: Job, mounted: Mounted, plan: Plan): Promise<JobResult> {
  const count = String(Math.max(1, Math.round(job.count * plan.scale)));
  const words = [...clientPrefix(plan.placement), ...mounted.launch];
  if (job.client === 'client') {
    words.push(join(built, 'client'), job.job, mounted.directory, '--count', count);
    if (job.threads) words.push('--threads', String(job.threads));
    if (job.blockBytes) words.push('--block', String(job.blockBytes));
    if (job.sizeMib) words.push('--size-mib', String(job.sizeMib));
    if (mounted.name === 'region') words.push(...(await placeInRegion(mounted, 'mapped')));
  } else if (job.client === 'lmdb_commits') {
    words.push(join(built, 'lmdb_commits'), mounted.directory, count, ...(job.words ?? []));
  } else {
    words.push(process.execPath, join(import.meta.dirname, `${job.client}.js`));
    words.push(mounted.directory, count, ...(job.words ?? []));
  }
  return JSON.parse(await runChild(words, jobMsMax, { ahead: true })) as JobResult;
}

function sideOf(system: SystemName, samples: readonly Sample[]): Side {
  const runs = samples.map((sample) => sample.value);
  const side: Side = {
    system,
    runs,
    min: Math.min(...runs),
    median: median(runs),
    max: Math.max(...runs),
  };
  return {
    ...side,
    p50Us: median(samples.map((sample) => sample.p50Us)),
    p99Us: median(samples.map((sample) => sample.p99Us)),
    daemonCpuUs: median(samples.map((sample) => sample.daemonCpuUs)),
  };
}

function compare(subject: Side, peer: Side, loadMax: number): RateResult {
  const paired = subject.runs.map((value, round) => value / (peer.runs[round] ?? Number.NaN));
  return {
    subject,
    peer,
    ratio: subject.median / peer.median,
    pairedRatio: median(paired),
    loadMax,
  };
}
