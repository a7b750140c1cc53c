/**
 * The options that `test`, `record`, `explore` and `merge` have in common: their help, what they
 * mean, and what contradicts what. Times are seconds on the command line.
 */
import { existsSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../fs/options.js';
import { MODEL_NAMES, type ModelName } from '../lib/crash/choice.js';
import type { ExploreOptions } from '../lib/crash/explorer.js';
import { REGION_PAGES_MIN } from '../lib/image.js';
import { PAGE_BYTES } from '../lib/units.js';
import { parseShard, shardOf } from './shard.js';
import { parseSize } from './size.js';

export interface RecordWords {
  workload: string;
  setup?: string;
  size: string;
  workloadSeconds?: string;
  dax?: true;
  ownFlushes?: string;
}

export interface RecordWishes {
  workload: string;
  setup: string | null;
  sizeBytes: number;
  /** Then the workload is killed, and that is no failure. */
  workloadSeconds: number | undefined;
  /** The workload maps files directly, as under `fauxdax run`. */
  isDax: boolean;
  /** Flush instructions of a program's own count as nothing, instead of ending it. */
  ignoresOwnFlushes: boolean;
}

export function addRecordOptions(command: Command): Command {
  return command
    .requiredOption('--workload <CMD>', 'what to record: a line for /bin/sh')
    .option('--setup <CMD>', 'run before, on the same directory; all of it is durable')
    .option('--size <SIZE>', 'size of the filesystem', '256M')
    .option('--workload-seconds <N>', 'kill the workload after so long, as a server wants it')
    .option(
      '--dax',
      'mappings are the region itself: see flushes, drains, and what was stored before each',
    )
    .option('--own-flushes <WHAT>', 'refuse (default) or ignore clwb and its kin outside libpmem');
}

export function parseRecordOptions(words: RecordWords): RecordWishes {
  const sizeBytes = parseSize(words.size);
  if (sizeBytes % PAGE_BYTES !== 0 || sizeBytes < REGION_PAGES_MIN * PAGE_BYTES) {
    throw new UsageError(`--size ${words.size}: a multiple of 4 KiB, 64 KiB at least`);
  }
  return {
    workload: command('--workload', words.workload),
    setup: words.setup === undefined ? null : command('--setup', words.setup),
    sizeBytes,
    workloadSeconds: seconds('--workload-seconds', words.workloadSeconds),
    isDax: words.dax === true,
    ignoresOwnFlushes: parseOwnFlushes(words),
  };
}

function parseOwnFlushes({ dax, ownFlushes }: RecordWords): boolean {
  if (ownFlushes === undefined) return false;
  if (dax !== true) throw new UsageError('--own-flushes says nothing without --dax');
  if (ownFlushes === 'ignore' || ownFlushes === 'refuse') return ownFlushes === 'ignore';
  throw new UsageError(`--own-flushes ${ownFlushes}: expected refuse or ignore`);
}

export interface ExploreWords {
  check: string;
  continue?: string;
  model: string;
  expect?: string;
  states?: string;
  seconds: string;
  checkSeconds: string;
  seed: string;
  failures: string;
  nested: string;
  torn?: string;
  jobs?: string;
  shard?: string;
  keep?: string;
}

export type ExploreWishes = Omit<ExploreOptions, 'onProgress' | 'signal'> & {
  jobs: number;
  checkMs: number;
  /** Where failures are saved; undefined is the user's own place. */
  keepDir: string | undefined;
};

export function addExploreOptions(command: Command): Command {
  return command
    .requiredOption('--check <CMD>', 'exit status 0 when a crash state is as it should be')
    .option('--continue <CMD>', 'more work after a check that passed; then the check again')
    .option('--model <NAME,...>', 'dax, sector, posix, eadr, or all', 'dax')
    .option('--expect <WHAT,...>', 'acked, atomic, synced: see below')
    .option('--seconds <N>', 'end after so long; 0: when all is covered', '60')
    .option('--states <N>', 'end after running so many states')
    .option('--failures <N>', 'go on until so many different failures were found', '1')
    .option('--nested <N>', 'crashes inside the recovery too, this deep', '0')
    .option('--torn <BYTES>', '8: a line may be torn between its 8-byte words')
    .option('--seed <N>', 'of what is chosen by chance', '1')
    .option('--check-seconds <N>', 'a check that takes longer has failed', '30')
    .option('--jobs <N>', 'states checked at a time (default: number of CPUs)')
    .option('--shard <I/N>', 'only the I-th of N parts, from 1; join results with merge')
    .option('--keep <DIR>', 'where failures are saved');
}

export const EXPLORE_HELP = `
A check is a line for /bin/sh, or sqlite:FILE, lmdb:DIR, git:DIR, leveldb:DIR, json:FILE. Commands
run in the workload's directory; $OLDPWD is where fauxdax was started. What the workload printed
before the crash is in the file $FAUXDAX_ACKED, a line each.

--expect names what else must hold:
  acked    each line that the workload printed is among those the check prints
  atomic   the check prints what it printed before or after the operation in flight
  synced   after a completed sync the check prints one and the same

Exit status: 0 no failure, 1 a failure was found, 2 usage, or a check or workload that fails where
nothing was lost, 3 the environment (no FUSE, no space).`;

/** @param environment where a scheduler says which part is ours, when --shard does not */
export function parseExploreOptions(
  words: ExploreWords,
  environment: NodeJS.ProcessEnv,
): ExploreWishes {
  const models = parseModels(words.model);
  if (words.torn !== undefined && words.torn !== '8') {
    throw new UsageError(`--torn ${words.torn}: only 8 bytes are written at once for certain`);
  }
  if (words.torn !== undefined && !models.includes('dax')) {
    throw new UsageError(`--torn contradicts --model ${words.model}: only under dax do lines tear`);
  }
  return {
    models,
    check: command('--check', words.check),
    continue: words.continue === undefined ? null : command('--continue', words.continue),
    expect: parseExpect(words.expect),
    seed: whole('--seed', words.seed, 0),
    statesMax: words.states === undefined ? undefined : whole('--states', words.states, 1),
    secondsMax: words.seconds === '0' ? undefined : seconds('--seconds', words.seconds),
    shard: words.shard === undefined ? shardOf(environment) : parseShard(words.shard),
    nestedDepth: whole('--nested', words.nested, 0),
    tornBytes: words.torn === undefined ? undefined : 8,
    failuresMax: whole('--failures', words.failures, 1),
    jobs: words.jobs === undefined ? cpus().length : jobs(words.jobs),
    checkMs: 1000 * (seconds('--check-seconds', words.checkSeconds) ?? 0),
    keepDir: words.keep === undefined ? undefined : resolve(words.keep),
  };
}

function parseModels(text: string): ModelName[] {
  if (text === 'all') return [...MODEL_NAMES];
  const models = text.split(',') as ModelName[];
  for (const [index, model] of models.entries()) {
    if (!MODEL_NAMES.includes(model)) {
      throw new UsageError(`--model ${text}: '${model}' is none of ${MODEL_NAMES.join(', ')}, all`);
    }
    if (models.indexOf(model) !== index) throw new UsageError(`--model ${text}: ${model} twice`);
  }
  return models;
}

const EXPECTATIONS = ['acked', 'atomic', 'synced'] as const;

function parseExpect(text: string | undefined): ExploreWishes['expect'] {
  const names = (text?.split(',') ?? []) as ExploreWishes['expect'];
  const unknown = names.find((name) => !EXPECTATIONS.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`--expect ${text}: '${unknown}' is none of ${EXPECTATIONS.join(', ')}`);
  }
  return [...new Set(names)];
}

export interface ReportWords {
  report?: string;
  junit?: string;
  json?: string;
}

export function addReportOptions(command: Command): Command {
  return command
    .option('--report <FILE>', 'write the report as one HTML page')
    .option('--junit <FILE>', 'write the result as JUnit XML')
    .option('--json <FILE>', 'write the result as JSON');
}

/**
 * Absolute paths; said to be impossible before the long work begins.
 * @throws {UsageError} two to one file, a directory that is not there
 */
export function parseReportOptions(words: ReportWords): ReportWords {
  const taken = new Map<string, string>();
  const paths: ReportWords = {};
  for (const name of ['report', 'junit', 'json'] as const) {
    const text = words[name];
    if (text === undefined) continue;
    const path = outputPath(`--${name}`, text);
    const other = taken.get(path);
    if (other !== undefined) throw new UsageError(`--${name} contradicts ${other}: the same file`);
    taken.set(path, `--${name}`);
    paths[name] = path;
  }
  return paths;
}

/** @throws {UsageError} the file cannot be there */
export function outputPath(option: string, text: string): string {
  const path = resolve(text);
  if (text === '' || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new UsageError(`${option} ${text}: not a file`);
  }
  if (!existsSync(dirname(path))) {
    throw new UsageError(`${option} ${text}: ${dirname(path)} is not there`);
  }
  return path;
}

function command(option: string, text: string): string {
  if (text.trim() === '') throw new UsageError(`${option}: the command is empty`);
  return text;
}

/** @throws {UsageError} */
export function whole(option: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`${option} ${text}: expected a whole number, ${least} at least`);
}

/** Each has processes and pipes of its own: more would meet limits of the machine. */
const JOBS_MAX = 256;

function jobs(text: string): number {
  const count = whole('--jobs', text, 1);
  if (count <= JOBS_MAX) return count;
  throw new UsageError(`--jobs ${text}: expected ${JOBS_MAX} at most`);
}

const SECONDS_MAX = 1_000_000;

function seconds(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= SECONDS_MAX) return value;
  throw new UsageError(`${option} ${text}: expected seconds, more than 0`);
}
