/**
 * Runs checks on crash states (the port of lib/crash/search/runner.ts) with real programs: each
 * state is a directory of the explorer mount, and each command sees it at the workload's path. A run
 * is: the check; with `continue`, when that passed, the continued workload and the check again, on a
 * new slot over the same image, so that nothing comes from the page cache.
 *
 * All of it on one thread, but for the commands. The process must have a mount namespace of its own
 * (tools/namespace.ts). Environment of a command: SPEC.md, "Environment of a check".
 */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { StateChoice } from '../../lib/crash/choice.js';
import type {
  CheckOutcome,
  Observation,
  Runner,
  RunRequest,
} from '../../lib/crash/search/runner.js';
import { openState } from '../../lib/crash/state/open_state.js';
import type { CrashState } from '../../lib/crash/state/state.js';
import type { OpenImage } from '../../lib/image.js';
import { loadNative } from '../../lib/native.js';
import type { TraceInfo } from '../../lib/trace/source.js';
import { type Check, parseCheck } from './checks.js';
import { Explorer, type Slot, type Watcher } from './explorer.js';
import { Lane } from './lane.js';
import { RunTrace } from './run_trace.js';

const TIMEOUT_MS = 30_000;

export interface RunnerOptions {
  /** The workload's directory, where commands see the state. Absolute; made when missing. */
  dir: string;
  /** A directory of the run, for the explorer mount and files that commands are given. */
  runDir: string;
  /** As the user wrote them: a ready check or a line for /bin/sh. */
  check: string;
  continue: string | null;
  /**
   * States at a time; default one more than there are CPUs: while this thread opens the next state
   * of one, the commands of the others go on.
   */
  jobs?: number;
  /** For each command. */
  timeoutMs?: number;
}

interface Place {
  lane: Lane;
  ackedPath: string;
}

export class ExplorerRunner implements Runner {
  readonly slotCount: number;
  readonly #options: RunnerOptions;
  readonly #check: Check;
  readonly #continue: Check | null;
  readonly #explorerDir: string;
  readonly #explorer: Explorer;
  readonly #places: Place[] = [];
  readonly #free: Place[] = [];
  /** Some command reads the environment. */
  readonly #usesShell: boolean;
  #brokenReason: string | undefined;
  #closing: Promise<void> | undefined;

  /**
   * @throws {UsageError} what is wrong with the check's text
   * @throws {Errno} the explorer could not be mounted
   */
  constructor(options: RunnerOptions) {
    this.#options = options;
    const { dir, runDir, jobs = cpus().length + 1, timeoutMs = TIMEOUT_MS } = options;
    assert(jobs >= 1);
    this.slotCount = jobs;
    this.#check = parseCheck(options.check, dir);
    this.#continue = options.continue === null ? null : parseCheck(options.continue, dir);
    this.#usesShell = [this.#check, this.#continue].some((check) => check?.run === 'shell');
    this.#explorerDir = join(runDir, 'states');
    mkdirSync(this.#explorerDir, { recursive: true });
    mkdirSync(dir, { recursive: true });
    this.#explorer = new Explorer(loadNative(), this.#explorerDir, (reason) =>
      this.#broken(reason),
    );
    for (let index = 0; index < jobs; index += 1) {
      const lane = new Lane({ dir, explorerDir: this.#explorerDir, timeoutMs });
      const ackedPath = join(runDir, `acked-${index}`);
      this.#places.push({ lane, ackedPath });
    }
    this.#free.push(...this.#places);
  }

  async run(request: RunRequest): Promise<Observation> {
    if (this.#brokenReason !== undefined) throw new Error(this.#brokenReason);
    const place = this.#free.pop();
    assert(place !== undefined, `at most ${this.slotCount} runs at a time`);
    try {
      return await this.#observe(place, request);
    } catch (error) {
      throw this.#brokenReason === undefined ? error : new Error(this.#brokenReason);
    } finally {
      this.#free.push(place);
    }
  }

  /** Ends what runs; leaves no process and no mount. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#brokenReason ??= 'the runner was closed';
    await Promise.all(this.#places.map(({ lane }) => lane.close()));
    this.#explorer.close();
    for (const { ackedPath } of this.#places) rmSync(ackedPath, { force: true });
  }

  #broken(reason: string): void {
    this.#brokenReason ??= reason;
    for (const { lane } of this.#places) void lane.close();
  }

  async #observe(place: Place, request: RunRequest): Promise<Observation> {
    const { state, acknowledged, recorded } = request;
    if (this.#usesShell) {
      // Each time: a check may have done anything to it.
      writeFileSync(place.ackedPath, acknowledged.map((line) => `${line}\n`).join(''));
    }
    const trace = recorded === true ? new RunTrace(state, this.#traceInfo()) : undefined;
    const open = openState(state, trace === undefined ? {} : { sink: trace.sink });
    trace?.attach(open);
    try {
      const outcomes = await this.#phases(place, state, open.image, trace);
      const seen = { outcomes, readLines: open.readLines(), stale: open.stale() };
      return trace === undefined ? seen : { ...seen, trace: trace.take() };
    } finally {
      open.close();
    }
  }

  async #phases(
    place: Place,
    state: CrashState,
    image: OpenImage,
    watcher: Watcher | undefined,
  ): Promise<CheckOutcome[]> {
    const outcomes: CheckOutcome[] = [];
    const run = async (slot: Slot, phase: CheckOutcome['phase'], check: Check) => {
      const environment = this.#environment(place, state, phase);
      const outcome = await place.lane.run({ phase, check, statePath: slot.path, environment });
      outcomes.push(outcome);
      return outcome.exitStatus === 0;
    };
    const goesOn = await this.#inSlot(image, watcher, async (slot) => {
      if (!(await run(slot, 'check', this.#check))) return false;
      return this.#continue !== null && (await run(slot, 'continue', this.#continue));
    });
    if (goesOn) {
      await this.#inSlot(image, watcher, (slot) => run(slot, 'check-again', this.#check));
    }
    return outcomes;
  }

  async #inSlot<T>(
    image: OpenImage,
    watcher: Watcher | undefined,
    use: (slot: Slot) => Promise<T>,
  ): Promise<T> {
    const slot = this.#explorer.open(image, watcher);
    try {
      return await use(slot);
    } finally {
      this.#explorer.drop(slot);
    }
  }

  #traceInfo(): TraceInfo {
    const { dir, check } = this.#options;
    const startedAt = new Date().toISOString();
    return { dir, workload: check, setup: null, startedAt, fauxdaxVersion: '', mountOptions: '' };
  }

  #environment(
    { ackedPath }: Place,
    { choice }: CrashState,
    phase: CheckOutcome['phase'],
  ): Record<string, string> {
    return environmentOf({ dir: this.#options.dir, ackedPath, choice, phase });
  }
}

/** What commands find beside what fauxdax itself was started with. */
export function environmentOf({
  dir,
  ackedPath,
  choice,
  phase,
}: {
  dir: string;
  ackedPath: string;
  choice: StateChoice;
  phase: CheckOutcome['phase'];
}): Record<string, string> {
  return {
    FAUXDAX_DIR: dir,
    FAUXDAX_ACKED: ackedPath,
    FAUXDAX_PHASE: phase,
    FAUXDAX_STATE: `${choice.model}:${choice.position}`,
  };
}
