/**
 * Explores one model: sweeps over its crash points round by round, has the states run that nothing
 * stands for, judges what they show, and counts. What a failure means is not its business: it hands
 * them to `onFailing`, between two submissions, when nothing is running.
 */
import type { TraceEvent } from '../../trace/event.js';
import type { TraceSource } from '../../trace/source.js';
import type { Budget } from './budget.js';
import type { ModelName, StateChoice } from '../choice.js';
import type { Landmarks } from './landmarks.js';
import { Memo } from './memo.js';
import type { MetadataChoice } from '../models/model.js';
import {
  checkOutcome,
  type Expectation,
  judge,
  type OracleContext,
  type Verdict,
} from './oracles.js';
import { type Point, pointAt, points, stateOf } from '../state/points.js';
import type { Observation, Runner } from './runner.js';
import { Runs } from './runs.js';
import type { CrashState } from '../state/state.js';
import * as strategy from './strategy.js';

/** Points with so few combinations are finished in whichever round comes. */
const AT_ONCE_MAX = 16;
const SAMPLES_PER_PASS = 16;
/** Without any limit; and passes that ran nothing after which sampling ends. */
const PASSES_MAX = 8;
const IDLE_PASSES_MAX = 3;

export interface ExplorationParts {
  source: TraceSource;
  runner: Runner;
  landmarks: Landmarks;
  model: ModelName;
  expect: readonly Expectation[];
  tornBytes: 8 | undefined;
  seed: number;
  shard: { index: number; count: number };
  budget: Budget;
  /** Instead of the lines of the trace: for crashes inside a recovery. */
  acknowledged?: readonly string[];
  /** Of an exploration of the same trace: where nothing is lost, models agree. */
  like?: Exploration;
  /** false: nothing but choosing the same state twice is left out. */
  prunes?: boolean;
  onProgress: () => void;
  /** Nothing runs meanwhile. @returns false when that was enough */
  onFailing: (failing: Failing) => Promise<boolean>;
}

/** A state that an oracle objects to, as it was found. */
export interface Failing {
  pointIndex: number;
  choice: StateChoice;
  verdict: Verdict;
  /** While the sweep is still at that point. */
  site?: strategy.Site | undefined;
}

export interface PointTally {
  position: number;
  passed: number;
  failed: number;
}

export class Exploration {
  readonly runs: Runs;
  /** Different images among the states considered. */
  readonly images = new Set<string>();
  readonly tallies: PointTally[] = [];
  readonly exhausted = new Set<number>();
  /** At the last crash point. */
  finalAcknowledged: readonly string[] = [];
  possible = 0n;
  allowed = 0n;
  allowedIsExact = true;
  considered = 0;
  failedRuns = 0;
  /** Proved equal without being considered one by one. */
  provedUnread = 0n;
  pointsDone = 0;
  /** Why it ended before its end. */
  stopped: Budget['ended'] | 'enough';
  private readonly parts: ExplorationParts;
  /** Of the point asked about last: a point makes a new array each time. */
  private lines: { point: Point; acknowledged: readonly string[] } | undefined;
  /** Runs that are no part of the exploration, and not in its counts. */
  private readonly probes: Runs;
  private readonly seen = new Map<number, Set<string>>();
  /** What the check prints where nothing is lost, by position. */
  private readonly references: Map<number, string>;
  private readonly failing: Failing[] = [];
  private hasFailed = false;
  /** Where the sweep of the round is. */
  private current: strategy.Site | undefined;

  constructor(parts: ExplorationParts) {
    this.parts = parts;
    this.references = parts.like?.references ?? new Map();
    const keepsOutput = parts.expect.length > 0;
    const memo = new Memo({ keepsOutput, prunes: parts.prunes ?? true });
    this.runs = new Runs(parts.runner, memo);
    this.probes = new Runs(parts.runner, memo);
  }

  /** Counts the crash points. Before run(); those who only judge() need it not. */
  survey(): void {
    let last: Point | undefined;
    for (const point of this.sweep()) {
      this.tallies.push({ position: point.position, passed: 0, failed: 0 });
      last = point;
    }
    if (last !== undefined) this.finalAcknowledged = this.acknowledged(last);
  }

  get model(): ModelName {
    return this.parts.model;
  }

  /** Crash points of this shard. */
  get pointCount(): number {
    const { index, count } = this.parts.shard;
    return Math.floor((this.tallies.length - index - 1) / count) + 1;
  }

  get isExhausted(): boolean {
    return this.exhausted.size === this.pointCount;
  }

  /** One streaming pass over all crash points. */
  sweep(): Generator<Point> {
    const { source, model, tornBytes } = this.parts;
    return points(source, model, { ...(tornBytes === undefined ? {} : { tornBytes }) });
  }

  /** Any moment of the trace, as a site. */
  siteAt(position: number): strategy.Site {
    const { source, model, tornBytes } = this.parts;
    const torn = tornBytes === undefined ? {} : { tornBytes };
    return this.site(pointAt(source, { model, position, ...torn }));
  }

  /** Events of the trace, each with the position before it. */
  *events(): Generator<[position: number, event: TraceEvent]> {
    let position = 0;
    for (const event of this.parts.source.events()) yield [position++, event];
  }

  async run(): Promise<void> {
    try {
      if (this.parts.expect.includes('atomic')) await this.learnReferences();
      for (const round of strategy.ROUNDS) {
        if (round === 'rest') await this.samplePasses();
        else await this.round(round, 0);
        if (this.stopped !== undefined || this.isExhausted) break;
      }
    } catch (error) {
      await this.runs.abandon();
      this.stopped = this.parts.budget.ended;
      if (this.stopped?.detail !== 'it was interrupted') throw error;
    }
  }

  /** What the oracles know about one point. */
  context(position: number, acknowledged: readonly string[]): OracleContext {
    const { expect, landmarks } = this.parts;
    const neighbours = expect.includes('atomic')
      ? landmarks.neighbours(position).map((output) => this.references.get(output)!)
      : undefined;
    const isSynced = expect.includes('synced') && landmarks.isSynced(position);
    const syncedOutput = isSynced ? this.references.get(position) : undefined;
    return { expect, acknowledged, neighbours, syncedOutput };
  }

  site(point: Point): strategy.Site {
    const { model, tornBytes } = this.parts;
    const keys = new Map<string, string>();
    const reads = ({ lostOperations }: MetadataChoice) => {
      const name = lostOperations.join();
      let key = keys.get(name);
      if (key === undefined) {
        key = this.metadataKey(point, { lostOperations });
        keys.set(name, key);
      }
      const known = this.runs.memo.reads(key, this.acknowledged(point));
      return known?.isComplete ? known.lines : undefined;
    };
    return { model, point, reads, isTorn: tornBytes !== undefined };
  }

  acknowledged(point: Point): readonly string[] {
    if (this.parts.acknowledged !== undefined) return this.parts.acknowledged;
    if (this.lines?.point !== point) this.lines = { point, acknowledged: point.acknowledged };
    return this.lines.acknowledged;
  }

  private metadataKey(point: Point, choice: MetadataChoice): string {
    const { model, tornBytes } = this.parts;
    const where = { model, point, isTorn: tornBytes !== undefined };
    const state = point.state(strategy.stateChoice(where, choice, 'newest'));
    state.release();
    return state.metadataKey;
  }

  /** What a state of a point is found to be, now; counted nowhere. Nothing else may run. */
  async judge(
    site: strategy.Site,
    choice: StateChoice,
    acknowledged = this.acknowledged(site.point),
  ): Promise<Verdict | undefined> {
    await this.learnSynced(site);
    const observation = await this.observe(site, choice, acknowledged);
    return judge(observation, this.context(site.point.position, acknowledged));
  }

  /** What a state shows, from memory or from a run now. Nothing else may run. */
  async observe(
    site: strategy.Site,
    choice: StateChoice,
    acknowledged = this.acknowledged(site.point),
  ): Promise<Observation> {
    this.parts.onProgress();
    return await this.probes.probe(site.point.state(choice), acknowledged);
  }

  /** Runs a state and records what the run does to it. The state must live as long as the trace. */
  async record(state: CrashState, acknowledged: readonly string[]): Promise<Observation> {
    return await this.probes.start(state, acknowledged, true);
  }

  /** Some oracle looks at what the check prints. */
  get comparesOutput(): boolean {
    return this.parts.expect.length > 0;
  }

  /** Runs a state although another run may stand for it. */
  async runAgain(site: strategy.Site, choice: StateChoice): Promise<Observation> {
    const state = site.point.state(choice);
    try {
      return await this.probes.start(state, this.acknowledged(site.point));
    } finally {
      state.release();
    }
  }

  private async samplePasses(): Promise<void> {
    const { budget } = this.parts;
    let idle = 0;
    for (let pass = 0; this.stopped === undefined && !this.isExhausted; pass++) {
      if (!budget.hasLimit && pass >= PASSES_MAX) {
        const detail = `${PASSES_MAX * SAMPLES_PER_PASS} samples for each crash point were the end`;
        this.stopped = { end: 'limit-reached', detail };
      } else if (idle >= IDLE_PASSES_MAX) {
        const detail = 'sampling went on without meeting a state that had not been run';
        this.stopped = { end: 'limit-reached', detail };
      } else {
        const before = this.runs.counts.run;
        await this.round('rest', pass);
        const isIdle = this.runs.counts.run === before;
        idle = isIdle && strategy.exhaustiveMax(pass) === strategy.EXHAUSTIVE_MAX ? idle + 1 : 0;
      }
    }
  }

  private async round(round: strategy.RoundName, pass: number): Promise<void> {
    const { index, count } = this.parts.shard;
    this.pointsDone = 0;
    for (const point of this.sweep()) {
      if (point.index % count !== index) continue;
      this.pointsDone++;
      if (round === 'ends') this.measure(point);
      if (this.exhausted.has(point.index)) continue;
      await this.visit(point, round, pass);
      if (this.stopped !== undefined) break;
    }
    this.current = undefined;
    await this.settle();
  }

  private async visit(point: Point, round: strategy.RoundName, pass: number): Promise<void> {
    const site = this.site(point);
    this.current = site;
    await this.learnSynced(site);
    // Small points first: a large one must not take the time of all others.
    const max = round === 'rest' ? strategy.exhaustiveMax(pass) : AT_ONCE_MAX;
    if (round === 'rest' && point.metadataChoiceCount <= BigInt(max)) await this.prime(site);
    if (strategy.combinationCount(site, max) !== undefined) {
      if (await this.exhaust(site, max)) return;
    }
    const { seed } = this.parts;
    const choices =
      round === 'rest'
        ? take(strategy.sampledChoices(site, mix(seed, point.index, pass)), SAMPLES_PER_PASS)
        : strategy.roundChoices(site, round);
    await this.submitAll(site, choices);
    // Where failures are frequent they are told apart while their point is there.
    if (this.hasFailed) await this.settle();
  }

  /**
   * Every combination of read lines, again while runs read more. Afterwards no state of the point
   * is left: whatever is not considered differs from one that is in lines that it never reads.
   *
   * @returns false when there were more than `countMax` in the end, or something stopped it
   */
  private async exhaust(site: strategy.Site, countMax: number): Promise<boolean> {
    for (let before = -1; ; ) {
      const count = strategy.combinationCount(site, countMax);
      if (count === undefined) return false;
      if (count === before) break;
      before = count;
      await this.submitAll(site, strategy.exhaustiveChoices(site));
      await this.settle();
      if (this.stopped !== undefined) return false;
    }
    const { index } = site.point;
    const { count } = strategy.allowedStates(site.point, Infinity);
    const considered = BigInt(this.seen.get(index)?.size ?? 0);
    if (count > considered) this.provedUnread += count - considered;
    this.seen.delete(index);
    this.exhausted.add(index);
    return true;
  }

  /** Runs each metadata choice once, so that what it reads is known. */
  private async prime(site: strategy.Site): Promise<void> {
    const choices = strategy.metadataChoices(site.point, strategy.EXHAUSTIVE_MAX);
    const unknown = choices.filter((choice) => site.reads(choice) === undefined);
    await this.submitAll(
      site,
      unknown.map((choice) => strategy.stateChoice(site, choice, 'newest')),
    );
    await this.settle();
  }

  private async submitAll(site: strategy.Site, choices: Iterable<StateChoice>): Promise<void> {
    for (const choice of choices) {
      this.stopped ??= this.parts.budget.ended;
      if (this.stopped !== undefined) return;
      if (!this.isNew(site.point.index, choice)) continue;
      await this.submit(site, choice);
      if (this.failing.length > 0) await this.settle();
    }
  }

  private async submit({ point }: strategy.Site, choice: StateChoice): Promise<void> {
    const { budget, onProgress } = this.parts;
    const { index: pointIndex, position } = point;
    const acknowledged = this.acknowledged(point);
    this.considered++;
    const runsBefore = this.runs.counts.run;
    const state = point.state(choice);
    this.images.add(state.imageHash());
    await this.runs.submit({
      state,
      acknowledged,
      done: (observation, isRun) => {
        const verdict = judge(observation, this.context(position, acknowledged));
        const tally = this.tallies[pointIndex]!;
        if (verdict === undefined) {
          tally.passed++;
        } else {
          tally.failed++;
          if (isRun) this.failedRuns++;
          this.failing.push({ pointIndex, choice, verdict });
        }
        onProgress();
      },
    });
    if (this.runs.counts.run > runsBefore) budget.spend();
  }

  /** Everything submitted is judged, and every failure has been looked at. */
  private async settle(): Promise<void> {
    await this.runs.drain();
    for (const failing of this.failing.splice(0)) {
      if (this.stopped === 'enough') return;
      this.hasFailed = true;
      const isHere = failing.pointIndex === this.current?.point.index;
      const site = isHere ? this.current : undefined;
      if (!(await this.parts.onFailing({ ...failing, site }))) this.stopped = 'enough';
    }
  }

  private isNew(index: number, choice: StateChoice): boolean {
    let seen = this.seen.get(index);
    if (seen === undefined) {
      seen = new Set();
      this.seen.set(index, seen);
    }
    const { lostOperations, otherLines, lines } = choice;
    const name = `${lostOperations.join()};${otherLines};${lines.join()}`;
    if (seen.has(name)) return false;
    seen.add(name);
    return true;
  }

  private measure(point: Point): void {
    this.possible += point.possibleStates();
    const { count, isExact } = strategy.allowedStates(point);
    this.allowed += count;
    this.allowedIsExact &&= isExact;
  }

  /** What the check prints where nothing is lost, at each output and at both ends. */
  private async learnReferences(): Promise<void> {
    const { source, model, landmarks } = this.parts;
    const wanted = new Set(landmarks.outputs);
    for (const point of this.sweep()) {
      if (!wanted.delete(point.position)) continue;
      await this.learnReference(point.position, () => nothingLost(point, model), point);
    }
    for (const position of wanted) {
      const choice: StateChoice = { model, position, ...NOTHING_LOST };
      await this.learnReference(position, () => stateOf(source, choice), undefined);
    }
  }

  private async learnSynced({ point, model }: strategy.Site): Promise<void> {
    const { expect, landmarks } = this.parts;
    const { position } = point;
    if (!expect.includes('synced') || !landmarks.isSynced(position)) return;
    if (this.references.has(position)) return;
    await this.learnReference(position, () => nothingLost(point, model), point);
  }

  private async learnReference(
    position: number,
    makeState: () => ReturnType<Point['state']>,
    point: Point | undefined,
  ): Promise<void> {
    const acknowledged = point === undefined ? [] : this.acknowledged(point);
    const observation = await this.probes.probe(makeState(), acknowledged);
    this.references.set(position, checkOutcome(observation).stdout);
  }
}

export const NOTHING_LOST = {
  lostOperations: [],
  otherLines: 'newest',
  lines: [],
} as const satisfies Omit<StateChoice, 'model' | 'position'>;

function nothingLost(point: Point, model: ModelName) {
  return point.state({ model, position: point.position, ...NOTHING_LOST });
}

/** A seed of its own for each crash point and pass, the same in every shard. */
function mix(seed: number, index: number, pass: number): number {
  return (
    (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b) ^ (pass * 0x27d4eb2f)) >>> 0
  );
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let taken = 0;
  for (const item of items) {
    yield item;
    if (++taken === count) return;
  }
}
