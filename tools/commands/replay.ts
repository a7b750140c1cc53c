/**
 * `fauxdax replay`: makes a failing crash state again from its saved trace, proves that it is the
 * same image, and runs the check on it; or opens a shell in it, or copies its files out.
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { environmentOf, ExplorerRunner } from '../../fs/explorer/runner.js';
import { UsageError } from '../../fs/options.js';
import { acknowledgedAt } from '../../lib/crash/nested.js';
import { stateOf } from '../../lib/crash/state/points.js';
import type { FailureResult } from '../../lib/crash/result/result.js';
import type { Observation } from '../../lib/crash/search/runner.js';
import type { CrashState } from '../../lib/crash/state/state.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { EXIT_FAILURE, EXIT_USAGE, Failure } from '../failure.js';
import { defaultPlace, type Found, findFailure } from '../failures.js';
import { EXIT_ENVIRONMENT } from '../namespace.js';
import { visible, visibleLines } from '../report/visible.js';
import { describeOutcome, describeVerified, UNKNOWN_NEED, whatHappened } from '../report/words.js';
import { inRunDirectory, type Run } from '../run_directory.js';
import { makeOutside } from '../scratch.js';
import { color } from '../screen.js';
import { copyOut, inState, openShell } from '../state_directory.js';
import { openTrace } from '../trace_file.js';

interface Options {
  shell?: true;
  export?: string;
  keep?: string;
}

export function replayCommand(): Command {
  return new Command('replay')
    .description('make the crash state of a failure again, and run its check')
    .argument('<ID>', 'a failure as reports name it, or the directory where it was saved')
    .option('--shell', 'open $SHELL in the state instead; changes are not kept')
    .option('--export <DIR>', 'copy the files of the state to a new directory instead')
    .option('--keep <DIR>', 'where failures were saved')
    .addHelpText(
      'after',
      `
Exit status: 1 when the check fails again, 0 when it does not, 3 when the image is not the same.

Example:
  fauxdax replay k7f3q2 --shell`,
    )
    .action(replay);
}

async function replay(id: string, options: Options): Promise<void> {
  if (options.shell === true && options.export !== undefined) {
    throw new UsageError('--export contradicts --shell: one at a time');
  }
  const exportDir = options.export === undefined ? undefined : newDirectory(options.export);
  const found = findFailure(resolve(options.keep ?? defaultPlace()), id);
  await inRunDirectory(async (run) => {
    const { failure } = found.saved;
    const source = openTrace(found.trace, EXIT_USAGE);
    const recovery =
      failure.choice.nested === undefined ? undefined : openTrace(found.recovery, EXIT_USAGE);
    try {
      explain(failure);
      const { dir } = source.info;
      makeOutside(run.runDir, dir);
      const acked = [...acknowledgedAt(source, failure.choice)];
      const state = sameState(recovery ?? source, found);
      const runner = startRunner(dir, found, run);
      try {
        if (exportDir !== undefined) return await exportState(state, dir, run, exportDir);
        if (options.shell === true) return await shellInState(state, dir, run, acked);
        return await check(state, found, runner, acked);
      } finally {
        await runner.close();
      }
    } finally {
      recovery?.close();
      source.close();
    }
  });
}

/** @throws {UsageError} something is there */
function newDirectory(text: string): string {
  const path = resolve(text);
  const there = statSync(path, { throwIfNoEntry: false });
  if (there !== undefined && (!there.isDirectory() || readdirSync(path).length > 0)) {
    throw new UsageError(`--export ${text}: is there, and is no empty directory`);
  }
  return path;
}

function explain(failure: FailureResult): void {
  const { explanation } = failure;
  process.stdout.write(
    `${color.bold(color.red(failure.id))}  ${visible(failure.summary)}\n` +
      `${visibleLines(whatHappened(failure))}\n` +
      `${color.yellow(`Needs: ${visible(explanation.needs || UNKNOWN_NEED)}`)}\n` +
      `${describeVerified(failure)}\n`,
  );
}

function startRunner(dir: string, { saved }: Found, run: Run): ExplorerRunner {
  const runner = new ExplorerRunner({
    dir,
    runDir: run.runDir,
    check: saved.check,
    continue: saved.continue,
    jobs: 1,
    timeoutMs: saved.checkMs,
  });
  run.signal.addEventListener('abort', () => void runner.close());
  return runner;
}

/**
 * Of a crash inside a recovery, the trace of that recovery alone makes the state: its base is what
 * the crashes before left.
 *
 * @throws {Failure} what is made is not what was found
 */
function sameState(source: TraceSource, { saved, dir }: Found): CrashState {
  let { choice } = saved.failure;
  while (choice.nested !== undefined) choice = choice.nested;
  const state = stateOf(source, choice);
  const { imageHash } = saved.failure;
  const hash = state.imageHash();
  if (hash !== imageHash) {
    const what = `the image is another one: ${hash}, not ${imageHash}`;
    throw new Failure(`replay: ${dir}: ${what}`, EXIT_ENVIRONMENT);
  }
  process.stdout.write(`image: the same, SHA-256 ${hash}\n`);
  return state;
}

async function exportState(state: CrashState, dir: string, run: Run, to: string): Promise<number> {
  mkdirSync(to, { recursive: true });
  await inState(state, dir, run, () => copyOut(dir, to));
  process.stdout.write(`copied to ${to}\n`);
  return 0;
}

async function shellInState(
  state: CrashState,
  dir: string,
  run: Run,
  acked: string[],
): Promise<number> {
  const path = join(run.runDir, 'acked');
  writeFileSync(path, acked.map((line) => `${line}\n`).join(''));
  process.stdout.write(`the state is ${dir}; leave the shell to end\n`);
  const { choice } = state;
  const environment = environmentOf({ dir, ackedPath: path, choice, phase: 'check' });
  await inState(state, dir, run, () => openShell(dir, environment));
  return 0;
}

async function check(
  state: CrashState,
  { saved }: Found,
  runner: ExplorerRunner,
  acknowledged: string[],
): Promise<number> {
  const seen = await runner.run({ state, acknowledged });
  const outcome = seen.outcomes.at(-1);
  if (outcome !== undefined) {
    process.stdout.write(`${describeOutcome(outcome)}\n`);
    for (const text of [outcome.stdout, outcome.stderr]) {
      if (text.trim() !== '') process.stdout.write(`${visibleLines(text.trimEnd())}\n`);
    }
  }
  const fails = failsAgain(saved.failure, seen);
  process.stdout.write(
    `${fails ? color.red('it fails again') : color.green('it does not fail')}\n`,
  );
  return fails ? EXIT_FAILURE : 0;
}

/**
 * The same verdict as when it was found. Oracles that compare states need the other one too; what
 * the check printed stands for that: the same output has the same verdict.
 */
function failsAgain(failure: FailureResult, seen: Observation): boolean {
  const outcome = seen.outcomes.at(-1);
  if (failure.oracle === 'stale') return seen.stale.length > 0;
  if (outcome === undefined) return false;
  if (outcome.exitStatus !== 0) return true;
  const isBySight = ['acked', 'atomic', 'synced'].includes(failure.oracle);
  return isBySight && outcome.stdout === failure.outcome?.stdout;
}
