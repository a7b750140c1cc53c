/**
 * Keeps a runner busy with states, and hands out what they showed. A state that another run stands
 * for (memo.ts) is not run. Results are applied in the order the runs began, and a state is judged
 * by what is known of all runs but the last few: so nothing depends on which run ends first.
 */
import type { Memo, Run, Standing } from './memo.js';
import type { Observation, Runner } from './runner.js';
import type { CrashState } from '../state/state.js';

interface RunCounts {
  run: number;
  prunedSameImage: number;
  prunedUnread: number;
}

export interface Candidate {
  /** Released when it is no longer needed, run or not. */
  state: CrashState;
  acknowledged: readonly string[];
  /** Called once, in the order of submit() but for states another run stands for. */
  done: (observation: Observation, isRun: boolean) => void;
}

interface Flight extends Candidate {
  run: Run;
  result: Promise<Observation>;
}

export class Runs {
  readonly counts: RunCounts = { run: 0, prunedSameImage: 0, prunedUnread: 0 };
  private readonly flights: Flight[] = [];
  private readonly flightsMax: number;
  private active = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly runner: Runner,
    readonly memo: Memo,
  ) {
    // Some more than slots: a slot need not wait for an older run that takes longer.
    this.flightsMax = runner.slotCount + (runner.slotCount >> 1);
  }

  /** Waits until there is room. Rejects when the runner is broken. */
  async submit(candidate: Candidate): Promise<void> {
    const { state, acknowledged } = candidate;
    for (;;) {
      const standing = this.memo.find(state, acknowledged);
      if (standing !== undefined) {
        this.follow(candidate, standing);
        return;
      }
      if (this.flights.length < this.flightsMax) break;
      await this.applyOldest();
    }
    this.counts.run++;
    const run = this.memo.begin(state, acknowledged);
    const result = this.start(state, acknowledged);
    // A rejection is seen when the flight is applied.
    result.catch(() => undefined);
    this.flights.push({ ...candidate, run, result });
  }

  /** Until every state that was submitted is done. */
  async drain(): Promise<void> {
    while (this.flights.length > 0) await this.applyOldest();
  }

  /** Runs one state now, whatever stands for it. */
  start(state: CrashState, acknowledged: readonly string[], recorded = false) {
    return this.inSlot(() => this.runner.run({ state, acknowledged: [...acknowledged], recorded }));
  }

  /** What a state shows, from memory or from a run now; the state is released. */
  async probe(state: CrashState, acknowledged: readonly string[]): Promise<Observation> {
    return await new Promise((resolve, reject) => {
      const done = (observation: Observation) => resolve(observation);
      this.submit({ state, acknowledged, done })
        .then(() => this.drain())
        .catch(reject);
    });
  }

  /** Waits for what still runs, and forgets it: after an error or an abort. */
  async abandon(): Promise<void> {
    const flights = this.flights.splice(0);
    await Promise.allSettled(flights.map(({ result }) => result));
    for (const { state } of flights) state.release();
  }

  private follow({ state, done }: Candidate, { run, rule }: Standing): void {
    if (rule === 'same-image') this.counts.prunedSameImage++;
    else this.counts.prunedUnread++;
    state.release();
    if (run.observation === undefined) run.followers.push((seen) => done(seen, false));
    else done(run.observation, false);
  }

  private async applyOldest(): Promise<void> {
    const flight = this.flights[0]!;
    const observation = await flight.result;
    this.flights.shift();
    const { state, acknowledged, run } = flight;
    this.memo.apply(run, state, acknowledged, observation);
    state.release();
    flight.done(observation, true);
  }

  private async inSlot<T>(use: () => Promise<T>): Promise<T> {
    if (this.active >= this.runner.slotCount) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      this.active++;
    }
    try {
      return await use();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.active--;
      else next();
    }
  }
}
