/**
 * Answers whether a power cut can break a program: runs a check on the crash states of a trace,
 * model by model, and makes a result of what failed. Works through points.ts (which states there
 * are) and a Runner (what a check says about one); everything between is here and in the files this
 * one names. One thread; the only waiting is for the runner.
 *
 * For a seed and a limit of states the result is the same on every run, whatever ends first. With a
 * limit of seconds it is not, nor with another `slotCount` of the runner: which of two states that
 * stand for each other is run may differ then, and with it the counts.
 */
import { readFileSync } from 'node:fs';
import type { TraceSource } from '../trace/source.js';
import { checkBaseline } from './search/baseline.js';
import { Budget } from './search/budget.js';
import type { ModelName, StateChoice } from './choice.js';
import { Exploration, type Failing, NOTHING_LOST } from './search/exploration.js';
import { FailureBook, type FailureBookParts } from './failure/failures.js';
import { Landmarks } from './search/landmarks.js';
import { lint } from './lint/lint.js';
import { bySize } from './result/merge.js';
import { whyNotModel } from './models/index.js';
import { exploreNested, type Recovery } from './nested.js';
import type { Expectation, OracleName } from './search/oracles.js';
import { stateOf } from './state/points.js';
import {
  type EndName,
  type FailureResult,
  type ModelResult,
  type Result,
  RESULT_VERSION,
  overallEnd,
} from './result/result.js';
import type { Runner } from './search/runner.js';
import { makeTimeline } from './result/timeline.js';

export { BrokenCheckError } from './search/baseline.js';
export { stateOf } from './state/points.js';

const PROGRESS_MS = 200;
const GRACE_MS = 20_000;
/** A recovery is explored for this part of what is left of the limits, at most. */
const RECOVERY_SHARES = 8;

export interface ExploreOptions {
  models: ModelName[];
  check: string;
  continue: string | null;
  /** Oracles beside check, continue and stale, which are always on. */
  expect: Expectation[];
  seed: number;
  /** Limits; undefined is none. */
  statesMax: number | undefined;
  secondsMax: number | undefined;
  shard: { index: number; count: number };
  /** Crashes inside recovery, this deep. */
  nestedDepth: number;
  /** 8: values in which only the first words of a line are new are possible too. */
  tornBytes: 8 | undefined;
  /** Go on after the first failure, to this many different ones. */
  failuresMax: number;
  /**
   * Gets the trace of each recovery in which a crash led to a failure, and its digest, which the
   * failure names; the trace can be read during the call only.
   */
  keepRecovery?: (digest: string, trace: TraceSource) => void;
  onProgress?: (progress: Progress) => void;
  /** ^C: the run ends with what it has. */
  signal?: AbortSignal;
}

export interface Progress {
  phase: 'baseline' | 'exploring' | 'minimising' | 'verifying';
  model: ModelName;
  considered: number;
  run: number;
  unique: number;
  failing: number;
  crashPoints: { done: number; total: number };
  perSecond: number;
  secondsLeft: number | null;
}

/** @throws {BrokenCheckError} the check fails where nothing was lost, or on the empty start */
export async function explore(
  source: TraceSource,
  runner: Runner,
  options: ExploreOptions,
): Promise<Result> {
  return await new Explorer(source, runner, options).explore();
}

class Explorer {
  private readonly budget: Budget;
  private readonly landmarks: Landmarks;
  private readonly failures: FailureBook;
  private readonly models: ModelResult[] = [];
  private readonly details: string[] = [];
  private exploration: Exploration | undefined;
  /** Of the model that is explored. */
  private recoveries: Exploration[] = [];
  private phase: Progress['phase'] = 'baseline';
  private lastProgressMs = 0;

  constructor(
    private readonly source: TraceSource,
    private readonly runner: Runner,
    private readonly options: ExploreOptions,
  ) {
    const { statesMax, secondsMax, signal } = options;
    this.budget = new Budget({ statesMax, secondsMax, signal });
    this.landmarks = new Landmarks(source);
    this.failures = new FailureBook(this.bookParts(source));
  }

  private bookParts(source: TraceSource): FailureBookParts {
    return {
      source,
      failuresMax: this.options.failuresMax,
      onPhase: (phase) => {
        this.phase = phase;
        this.progress(true);
      },
      otherModel: (model, like) => {
        if (whyNotModel(model, source.info.mountOptions) !== undefined) return undefined;
        return this.begin(model, this.budget, like);
      },
      shouldStop: () => this.shouldHurry(),
    };
  }

  async explore(): Promise<Result> {
    const { models } = this.options;
    let first: Exploration | undefined;
    for (const [done, model] of models.entries()) {
      const parts = (models.length - done) * (this.options.nestedDepth > 0 ? 2 : 1);
      const exploration = this.begin(model, this.budget.share(parts));
      this.exploration = exploration;
      exploration.survey();
      if (first === undefined) await this.checkBaseline(exploration);
      first ??= exploration;
      await this.exploreModel(exploration, model);
      if (exploration.stopped === 'enough' || this.options.signal?.aborted) break;
    }
    return this.result(first!);
  }

  /** Failures are looked into for a while longer than the limit: a found one should be explained. */
  private shouldHurry(): boolean {
    const { signal, secondsMax = Infinity } = this.options;
    return signal?.aborted === true || this.budget.elapsedMs > secondsMax * 1000 + GRACE_MS;
  }

  private begin(model: ModelName, budget: Budget, like?: Exploration): Exploration {
    const { expect, tornBytes, seed, shard } = this.options;
    const { source, runner, landmarks } = this;
    return new Exploration({
      source,
      runner,
      landmarks,
      model,
      expect,
      tornBytes,
      seed,
      shard,
      budget,
      onProgress: () => this.progress(false),
      onFailing: (failing) => this.failed(failing),
      ...(like === undefined ? {} : { like }),
    });
  }

  private async checkBaseline(exploration: Exploration): Promise<void> {
    this.progress(true);
    const [model] = this.options.models as [ModelName];
    const position = exploration.tallies.at(-1)!.position;
    const final: StateChoice = { model, position, ...NOTHING_LOST };
    const { source, runner } = this;
    const { expect } = this.options;
    const finalState = stateOf(source, final);
    const startState = stateOf(source, { ...final, position: 0 });
    const acknowledged = exploration.finalAcknowledged;
    await checkBaseline({ source, runner, expect, finalState, startState, acknowledged });
    finalState.release();
    startState.release();
  }

  private async exploreModel(exploration: Exploration, model: ModelName): Promise<void> {
    this.phase = 'exploring';
    const startedMs = performance.now();
    await exploration.run();
    const { nestedDepth } = this.options;
    if (nestedDepth > 0 && exploration.stopped !== 'enough') {
      await this.exploreRecoveries(exploration, nestedDepth);
    }
    const failuresHere = this.failures.results.some(({ models }) => models[0] === model);
    const { end, detail } = endOf(exploration, failuresHere);
    this.details.push(this.options.models.length > 1 ? `${model}: ${detail}` : detail);
    this.models.push({
      model,
      end,
      crashPoints: exploration.pointCount,
      crashPointsExhausted: exploration.exhausted.size,
      states: this.states(exploration),
      durationMs: Math.round(performance.now() - startedMs),
    });
  }

  /** Counts of an exploration, with those of the recoveries it led to. */
  private states(exploration: Exploration): ModelResult['states'] {
    const all = [exploration, ...this.recoveries];
    this.recoveries = [];
    const sum = (of: (one: Exploration) => number) =>
      all.reduce((total, one) => total + of(one), 0);
    const bigSum = (of: (one: Exploration) => bigint) =>
      all.reduce((total, one) => total + of(one), 0n);
    const proved = Number(bigSum((one) => one.provedUnread));
    const unread = sum(({ runs }) => runs.counts.prunedUnread) + proved;
    return {
      possible: String(bigSum((one) => one.possible)),
      allowed: String(bigSum((one) => one.allowed)),
      allowedIsExact: all.every((one) => one.allowedIsExact),
      unique: sum(({ images }) => images.size),
      run: sum(({ runs }) => runs.counts.run),
      failed: sum((one) => one.failedRuns),
      prunedSameImage: sum(({ runs }) => runs.counts.prunedSameImage),
      prunedUnread: Math.min(Number.MAX_SAFE_INTEGER, unread),
    };
  }

  private async exploreRecoveries(exploration: Exploration, depth: number): Promise<void> {
    const { model } = exploration;
    const { budget } = this;
    const failures = await exploreNested(exploration, {
      budget,
      shard: this.options.shard,
      exploreRecovery: (recovery) => this.exploreRecovery(recovery, model, depth),
    });
    this.failures.results.push(...failures);
    this.details.push(
      failures.length > 0
        ? 'a crash during recovery ended it'
        : 'crashes during recovery were sampled',
    );
  }

  private async exploreRecovery(
    { trace, acknowledged }: Recovery,
    model: ModelName,
    depth: number,
  ): Promise<FailureResult[]> {
    const { shouldStop, ...parts } = this.bookParts(trace);
    const book = new FailureBook({
      ...parts,
      shouldStop,
      failuresMax: 1,
      otherModel: () => undefined,
    });
    const { expect, tornBytes, seed, keepRecovery } = this.options;
    const landmarks = new Landmarks(trace);
    const exploration: Exploration = new Exploration({
      source: trace,
      runner: this.runner,
      landmarks,
      model,
      // What a recovery prints is no sequence of operations.
      expect: expect.filter((name) => name === 'acked'),
      tornBytes,
      seed,
      shard: { index: 0, count: 1 },
      budget: this.budget.share(RECOVERY_SHARES),
      acknowledged,
      onProgress: () => this.progress(false),
      onFailing: (failing) => book.add(failing, exploration),
    });
    exploration.survey();
    await exploration.run();
    this.recoveries.push(exploration);
    if (book.results.length > 0) {
      keepRecovery?.(landmarks.digest, trace);
      return book.results.map((failure) => ({ ...failure, recovery: landmarks.digest }));
    }
    if (depth <= 1) return [];
    return await exploreNested(exploration, {
      budget: this.budget,
      shard: { index: 0, count: 1 },
      exploreRecovery: (recovery) => this.exploreRecovery(recovery, model, depth - 1),
    });
  }

  private async failed(failing: Failing): Promise<boolean> {
    const wantsMore = await this.failures.add(failing, this.exploration!);
    this.phase = 'exploring';
    return wantsMore;
  }

  private result(first: Exploration): Result {
    const { source, options, landmarks } = this;
    const failures = [...this.failures.results].sort(bySize);
    const unfinished = options.models.slice(this.models.length);
    if (unfinished.length > 0) this.details.push(`not explored: ${unfinished.join(', ')}`);
    if (this.failures.unexplained > 0) {
      this.details.push(`${this.failures.unexplained} failing states were not looked into`);
    }
    return {
      fauxdax: { result: RESULT_VERSION, version: packageVersion() },
      trace: landmarks.digest,
      end: overallEnd(this.models, failures.length > 0),
      endDetail: this.details.join('; '),
      workload: source.info.workload,
      setup: source.info.setup,
      check: options.check,
      continue: options.continue,
      oracles: oraclesOf(options),
      seed: options.seed,
      limits: limitsOf(options),
      shard: options.shard,
      models: this.models,
      failures,
      lints: lint(source),
      timeline: makeTimeline(source, first.tallies),
      durationMs: Math.round(this.budget.elapsedMs),
    };
  }

  private progress(isForced: boolean): void {
    const { onProgress, models } = this.options;
    const now = performance.now();
    if (onProgress === undefined || this.exploration === undefined) return;
    if (!isForced && now - this.lastProgressMs < PROGRESS_MS) return;
    this.lastProgressMs = now;
    const { runs, images, considered, failedRuns, pointsDone, pointCount } = this.exploration;
    onProgress({
      phase: this.phase,
      model: models[this.models.length] ?? models.at(-1)!,
      considered,
      run: runs.counts.run,
      unique: images.size,
      failing: failedRuns,
      crashPoints: { done: pointsDone, total: pointCount },
      perSecond: considered / (this.budget.elapsedMs / 1000),
      secondsLeft: this.budget.secondsLeft,
    });
  }
}

function endOf(exploration: Exploration, hasFailure: boolean): { end: EndName; detail: string } {
  const { stopped, exhausted, pointCount } = exploration;
  const left = `${pointCount - exhausted.size} of ${pointCount} crash points were not covered wholly`;
  if (stopped === 'enough') return { end: 'failure-found', detail: `a failure ended it; ${left}` };
  if (stopped !== undefined) {
    const end = hasFailure ? 'failure-found' : stopped.end;
    return { end, detail: `${stopped.detail}; ${left}` };
  }
  const detail = `every state of all ${pointCount} crash points was run or proved equal to one that was`;
  return { end: hasFailure ? 'failure-found' : 'space-exhausted', detail };
}

function oraclesOf(options: ExploreOptions): OracleName[] {
  const always: OracleName[] = options.continue === null ? ['check'] : ['check', 'continue'];
  return [...always, ...options.expect, 'stale'];
}

function limitsOf(options: ExploreOptions): Result['limits'] {
  const { statesMax = null, secondsMax = null, nestedDepth, failuresMax } = options;
  return { statesMax, secondsMax, nestedDepth, failuresMax, tornBytes: options.tornBytes ?? null };
}

function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8');
      return (JSON.parse(text) as { version: string }).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return 'unknown';
}
