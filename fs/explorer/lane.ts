/**
 * What runs the checks of one state at a time: a warden for shell commands, and, once a ready check
 * needs one, a checker process. A runner has as many lanes as states are checked at once. Processes
 * that a check killed or hung are started again; they all end when ours does.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CheckOutcome } from '../../lib/crash/search/runner.js';
import type { CheckerAnswer, CheckerRequest } from './checker.js';
import type { Check, CheckerName } from './checks.js';
import { Warden } from './warden.js';

const CHECKER_PROGRAM = fileURLToPath(new URL('./checker.js', import.meta.url));
/** As native/warden.c keeps of each stream. */
const OUTPUT_BYTES_MAX = 64 << 10;

interface LaneRun {
  phase: CheckOutcome['phase'];
  check: Check;
  /** The state's directory under the explorer mount. */
  statePath: string;
  environment: Record<string, string>;
}

interface LaneOptions {
  /** Where commands see the state. */
  dir: string;
  /** The explorer mount, which commands do not see. */
  explorerDir: string;
  timeoutMs: number;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #warden = new Warden();
  #checker: ChildProcess | undefined;
  #isOpen = true;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /**
   * Resolves when nothing of the check runs any more.
   * @throws {WardenError} the command could not be started
   */
  run(run: LaneRun): Promise<CheckOutcome> {
    const { check } = run;
    if (check.run === 'shell') return this.#runShell(check.command, run);
    return this.#runChecker(check.name, check.path, run);
  }

  /** Kills what runs. May be called twice. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#checker?.kill('SIGKILL');
    await this.#warden.close();
  }

  async #runShell(
    command: string,
    { phase, statePath, environment }: LaneRun,
  ): Promise<CheckOutcome> {
    const { dir, explorerDir, timeoutMs } = this.#options;
    const outcome = await this.#warden.run({
      command,
      dir,
      bind: statePath,
      hide: explorerDir,
      environment,
      timeoutMs,
    });
    const { exitStatus, signal, timedOut, durationMs } = outcome;
    const stdout = outcome.stdout.toString();
    return {
      phase,
      exitStatus,
      signal,
      timedOut,
      stdout,
      stderr: outcome.stderr.toString(),
      durationMs,
    };
  }

  #runChecker(
    name: CheckerName,
    path: string,
    { phase, statePath }: LaneRun,
  ): Promise<CheckOutcome> {
    this.#checker ??= fork(CHECKER_PROGRAM, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
    });
    const checker = this.#checker;
    const startedMs = performance.now();
    const request: CheckerRequest = { name, root: statePath, path };
    return new Promise((resolve, reject) => {
      let timedOut = false;
      const timer = setTimeout(() => {
        timedOut = true;
        checker.kill('SIGKILL');
      }, this.#options.timeoutMs);
      const settle = (
        end: Pick<CheckOutcome, 'exitStatus' | 'signal' | 'stdout' | 'stderr'>,
      ): void => {
        clearTimeout(timer);
        checker.removeAllListeners();
        resolve({ phase, timedOut, ...end, durationMs: performance.now() - startedMs });
      };
      checker.once('message', (answer: CheckerAnswer) => {
        const [stdout, stderr] = [cut(answer.stdout), cut(answer.stderr)];
        settle({ exitStatus: answer.exitStatus, signal: null, stdout, stderr });
      });
      checker.once('exit', (exitStatus, signal) => {
        this.#checker = undefined;
        if (this.#isOpen) settle({ exitStatus, signal, stdout: '', stderr: '' });
        else reject(new Error('the runner was closed'));
      });
      checker.once('error', reject);
      checker.send(request, (error) => error !== null && reject(error));
    });
  }
}

function cut(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.length <= OUTPUT_BYTES_MAX ? text : bytes.toString('utf8', 0, OUTPUT_BYTES_MAX);
}
