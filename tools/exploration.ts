/**
 * Explores a trace and says what came out: verifies the trace as a whole before anything runs,
 * starts the runner over the explorer mount, and afterwards saves the failures and writes the
 * reports. Used by `test` and `explore`, inside a private mount namespace (run_directory.ts).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExplorerRunner } from '../fs/explorer/runner.js';
import { UsageError } from '../fs/options.js';
import type { ModelName } from '../lib/crash/choice.js';
import { BrokenCheckError, explore } from '../lib/crash/explorer.js';
import { whyNotModel } from '../lib/crash/models/index.js';
import type { Result } from '../lib/crash/result/result.js';
import { writeTrace } from '../lib/trace/writer.js';
import type { ExploreWishes, ReportWords } from './crash_options.js';
import { EXIT_FAILURE, EXIT_USAGE, Failure } from './failure.js';
import { defaultPlace, type SavedFailure, saveFailures, type Traces } from './failures.js';
import { ProgressLine } from './progress.js';
import { htmlPage } from './report/html.js';
import { junitXml } from './report/junit.js';
import { terminalSummary } from './report/terminal.js';
import { visibleLines } from './report/visible.js';
import type { Run } from './run_directory.js';
import { makeOutside } from './scratch.js';
import { openTrace } from './trace_file.js';
import { version } from './version.js';

/** After ^C the explorer may end what it has for so long. */
const ABORT_MS_MAX = 3000;

/**
 * @returns the exit status
 * @throws {Failure} a damaged trace, a broken check
 */
export async function exploreTrace(
  trace: string,
  wishes: ExploreWishes,
  reports: ReportWords,
  run: Run,
): Promise<number> {
  const source = openTrace(trace, EXIT_USAGE);
  const progress = new ProgressLine();
  try {
    const { dir, mountOptions } = source.info;
    assertModels(wishes.models, mountOptions);
    const recoveries = new Map<string, string>();
    makeOutside(run.runDir, dir);
    const runner = new ExplorerRunner({
      dir,
      runDir: run.runDir,
      check: wishes.check,
      continue: wishes.continue,
      jobs: wishes.jobs,
      timeoutMs: wishes.checkMs,
    });
    let result: Result;
    try {
      const exploring = explore(source, runner, {
        ...wishes,
        keepRecovery: (digest, recovery) => {
          const path = join(run.runDir, `recovery-${digest}`);
          writeTrace(path, recovery);
          recoveries.set(digest, path);
        },
        onProgress: progress.show,
        signal: run.signal,
      });
      result = await orAborted(exploring, run.signal);
    } finally {
      await runner.close();
      progress.clear();
    }
    const savedIn = save(result, wishes, { trace, recoveries });
    return present(result, reports, savedIn);
  } catch (error) {
    throw error instanceof BrokenCheckError ? brokenCheck(error) : error;
  } finally {
    source.close();
  }
}

/**
 * @param mountOptions of the recorded mount
 * @throws {UsageError} one of the models says nothing about what is recorded on such a mount
 */
export function assertModels(models: readonly ModelName[], mountOptions: string): void {
  for (const model of models) {
    const why = whyNotModel(model, mountOptions);
    if (why !== undefined) throw new UsageError(`--dax contradicts --model ${model}: ${why}`);
  }
}

/** @returns where each failure was saved; where that is not possible it is said, and the report comes */
function save(result: Result, wishes: ExploreWishes, traces: Traces): Map<string, string> {
  const place = wishes.keepDir ?? defaultPlace();
  try {
    const failures = result.failures.map((one) => saved(one, wishes, result));
    return saveFailures(place, traces, failures);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    process.stderr.write(`fauxdax: failures are not saved: ${message}; --keep says where\n`);
    return new Map();
  }
}

/** An explorer that does not end when it is told to is left behind. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const late = (): void => {
      void sleep(ABORT_MS_MAX).then(() => reject(new Failure('interrupted')));
    };
    if (signal.aborted) late();
    else signal.addEventListener('abort', late, { once: true });
  });
  return await Promise.race([work, aborted]);
}

function brokenCheck(error: BrokenCheckError): Failure {
  const [first = '', ...rest] = error.message.split('\n');
  return new Failure(first, EXIT_USAGE, visibleLines(rest.join('\n')).trimEnd());
}

function saved(
  failure: SavedFailure['failure'],
  wishes: ExploreWishes,
  result: Result,
): SavedFailure {
  return {
    format: 1,
    fauxdaxVersion: version(),
    failure,
    workload: result.workload,
    check: wishes.check,
    continue: wishes.continue,
    expect: wishes.expect,
    checkMs: wishes.checkMs,
    models: wishes.models,
    tornBytes: wishes.tornBytes ?? null,
  };
}

/** Writes the reports, prints the summary; @returns the exit status */
export function present(
  result: Result,
  reports: ReportWords,
  savedIn: ReadonlyMap<string, string>,
): number {
  if (reports.json !== undefined) {
    writeFileSync(reports.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  if (reports.junit !== undefined) writeFileSync(reports.junit, junitXml(result));
  if (reports.report !== undefined) writeFileSync(reports.report, htmlPage(result));
  process.stdout.write(terminalSummary(result, savedIn));
  return result.failures.length > 0 ? EXIT_FAILURE : 0;
}
