/**
 * Measuring the rows that compare a rate.
 *
 * Both systems are mounted for the whole row and run in turn: warm-up, then A B, B A, A B, ... so that
 * a drift of the machine falls on both alike. The warm-up round is not counted.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runChild } from './children.js';
import { clientPrefix, loadNow, type Placement } from './host.js';
import type { Job, JobResult, PairRow, RateRow } from './rows.js';
import { built, cpuNs, type Mounted, type SystemName, start } from './systems.js';

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

/** Mounts both systems of a row, runs its rounds, unmounts. */
export async function measureRate(row: RateRow, plan: Plan): Promise<RateResult> {
  const systems: Mounted[] = [];
  const samples: Sample[][] = [[], []];
  let loadMax = 0;
  try {
    for (const name of [row.subject, row.peer]) {
      // A system compared with itself is mounted twice, in two places.
      const place = join(plan.workDirectory, `${row.name}.${systems.length}`);
      const mounted = await start(name, place, plan.placement);
      systems.push(mounted);
      if (row.prepare) await runJob(row.prepare, mounted, plan);
    }
    for (let round = 0; round <= plan.rounds; round++) {
      plan.progress(`${row.name}: ${round === 0 ? 'warm-up' : `round ${round} of ${plan.rounds}`}`);
      for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
        const sample = await sampleOf(row, systems[side] as Mounted, plan);
        if (round > 0) samples[side]?.push(sample);
      }
      loadMax = Math.max(loadMax, loadNow());
    }
  } finally {
    for (const mounted of systems) await mounted.stop();
  }
  const [subject = [], peer = []] = samples;
  return compare(sideOf(row.subject, subject), sideOf(row.peer, peer), loadMax);
}

async function sampleOf(row: RateRow, mounted: Mounted, plan: Plan): Promise<Sample> {
  const startNs = cpuNs(mounted.daemonPid);
  const result = await runJob(row.job, mounted, plan);
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
  const words = clientPrefix(plan.placement);
  if (job.client === 'client') {
    words.push(join(built, 'client'), job.job, mounted.directory, '--count', count);
    if (job.threads) words.push('--threads', String(job.threads));
    if (job.blockBytes) words.push('--block', String(job.blockBytes));
    if (job.sizeMib) words.push('--size-mib', String(job.sizeMib));
  } else if (job.client === 'lmdb_commits') {
    words.push(join(built, 'lmdb_commits'), mounted.directory, count);
  } else {
    words.push(process.execPath, join(import.meta.dirname, `${job.client}.js`));
    words.push(mounted.directory, count);
  }
  return JSON.parse(await runChild(words, jobMsMax)) as JobResult;
}

/**
 * Runs a program that measures both sides itself, once a round, and prints
 * {"unit", "subject", "peer"} as one line; the order within a round is the program's.
 */
export async function measurePair(
  row: PairRow,
  plan: Plan,
): Promise<RateResult & { unit: string }> {
  const program = join(import.meta.dirname, `${row.program}.js`);
  if (!existsSync(program)) throw new Error(`${program} is not built`);
  const words = [...clientPrefix(plan.placement), process.execPath, program];
  const sides: Sample[][] = [[], []];
  let unit = '';
  let loadMax = 0;
  for (let round = 0; round <= plan.rounds; round++) {
    plan.progress(`${row.name}: ${round === 0 ? 'warm-up' : `round ${round} of ${plan.rounds}`}`);
    const result = JSON.parse(await runChild(words, jobMsMax));
    loadMax = Math.max(loadMax, loadNow());
    if (round === 0) continue;
    unit = String(result.unit);
    for (const [side, value] of [result.subject, result.peer].entries()) {
      sides[side]?.push({ value: Number(value), p50Us: 0, p99Us: 0, daemonCpuUs: 0 });
    }
  }
  const [subject = [], peer = []] = sides;
  return { unit, ...compare(sideOf('fauxdax', subject), sideOf('hand-written', peer), loadMax) };
}

function sideOf(system: SystemName | 'hand-written', samples: readonly Sample[]): Side {
  const runs = samples.map((sample) => sample.value);
  const side: Side = {
    system,
    runs,
    min: Math.min(...runs),
    median: median(runs),
    max: Math.max(...runs),
  };
  const p50Us = median(samples.map((sample) => sample.p50Us));
  if (p50Us === 0) return side;
  return {
    ...side,
    p50Us,
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
