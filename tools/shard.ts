/**
 * Which part of an exploration is this machine's: `--shard I/N` counts from 1; without it, what
 * the scheduler of a cluster says in the environment (SPEC.md, "Shards").
 */
import { UsageError } from '../fs/options.js';

export interface Shard {
  /** From 0. */
  index: number;
  count: number;
}

const WHOLE: Shard = { index: 0, count: 1 };
const SHARDS_MAX = 100_000;

/** @throws {UsageError} */
export function parseShard(text: string): Shard {
  const [, number, count] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  const shard = { index: Number(number) - 1, count: Number(count) };
  if (number === undefined || !isShard(shard)) {
    throw new UsageError(`--shard ${text}: expected I/N, with I from 1 to N`);
  }
  return shard;
}

/**
 * Slurm: an array job's SLURM_ARRAY_TASK_ID counts from SLURM_ARRAY_TASK_MIN in steps of
 * SLURM_ARRAY_TASK_STEP, _COUNT tasks in all. Kubernetes: an indexed job's JOB_COMPLETION_INDEX
 * counts from 0; it does not say of how many, so the pod template has to: JOB_COMPLETIONS.
 * @throws {UsageError} a variable says what cannot be, or half of it
 */
export function shardOf(environment: NodeJS.ProcessEnv): Shard {
  const task = numberOf(environment, 'SLURM_ARRAY_TASK_ID');
  if (task !== undefined) {
    const count = numberOf(environment, 'SLURM_ARRAY_TASK_COUNT');
    const first = numberOf(environment, 'SLURM_ARRAY_TASK_MIN') ?? 0;
    const step = numberOf(environment, 'SLURM_ARRAY_TASK_STEP') ?? 1;
    return checked('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT', (task - first) / step, count);
  }
  const index = numberOf(environment, 'JOB_COMPLETION_INDEX');
  if (index === undefined) return WHOLE;
  const count = numberOf(environment, 'JOB_COMPLETIONS');
  return checked('JOB_COMPLETION_INDEX', 'JOB_COMPLETIONS', index, count);
}

function checked(name: string, countName: string, index: number, count?: number): Shard {
  if (count === undefined) {
    throw new UsageError(`${name} is set and ${countName} is not: set it, or give --shard 1/1`);
  }
  const shard = { index, count };
  if (isShard(shard)) return shard;
  throw new UsageError(`${name} and ${countName} do not fit: shard ${index + 1} of ${count}`);
}

function numberOf(environment: NodeJS.ProcessEnv, name: string): number | undefined {
  const text = environment[name];
  if (text === undefined || text === '') return undefined;
  if (!/^\d+$/.test(text)) throw new UsageError(`${name}=${text}: not a number`);
  return Number(text);
}

const isShard = ({ index, count }: Shard): boolean =>
  Number.isInteger(index) && index >= 0 && index < count && count <= SHARDS_MAX;
