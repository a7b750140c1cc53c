/**
 * Crashes during recovery: what a check does to a crash state is recorded, and the power is cut
 * again inside that. The trace of a recovery is explored like any other, on top of the state. What
 * had been acknowledged before the first crash must survive the second too.
 *
 * A recovery that puts the time of day into the image makes another image each time; then an id
 * leads to the same choice, not to the same bytes.
 */
import type { TraceSource } from '../trace/source.js';
import type { Budget } from './budget.js';
import type { StateChoice } from './choice.js';
import { type Exploration, NOTHING_LOST } from './exploration.js';
import { judgeOutcomes } from './oracles.js';
import { failureId } from './failure_id.js';
import { points, stateOf } from './points.js';
import type { FailureResult } from './result.js';
import type { Runner } from './runner.js';
import type { CrashState } from './state.js';
import { roundChoices } from './strategy.js';

/** States of one crash point whose recovery is looked into. */
const STATES_PER_POINT_MAX = 6;

export interface NestedParts {
  /** Explores a recovery; its failures are those of the recovery's trace. */
  exploreRecovery: (recovery: Recovery) => Promise<FailureResult[]>;
  budget: Budget;
  shard: { index: number; count: number };
}

export interface Recovery {
  trace: TraceSource;
  acknowledged: readonly string[];
}

/**
 * Looks into the recoveries of the states at the ends of each crash point's space.
 * @returns the first failures found, with choices that name both crashes
 */
export async function exploreNested(
  exploration: Exploration,
  { exploreRecovery, budget, shard }: NestedParts,
): Promise<FailureResult[]> {
  const images = new Set<string>();
  for (const point of exploration.sweep()) {
    if (point.index % shard.count !== shard.index) continue;
    const site = exploration.site(point);
    const acknowledged = exploration.acknowledged(point);
    let left = STATES_PER_POINT_MAX;
    for (const choice of [...roundChoices(site, 'ends'), ...roundChoices(site, 'metadata')]) {
      if (left-- === 0) break;
      if (budget.ended !== undefined) return [];
      const state = point.state(choice);
      try {
        if (images.has(state.imageHash())) continue;
        images.add(state.imageHash());
        const observation = await exploration.record(state, acknowledged);
        budget.spend();
        const { trace } = observation;
        if (trace === undefined || judgeOutcomes(observation) !== undefined) continue;
        if (!changesAnything(trace)) continue;
        const failures = await exploreRecovery({ trace, acknowledged });
        if (failures.length > 0) return failures.map((failure) => within(choice, failure));
      } finally {
        state.release();
      }
    }
  }
  return [];
}

/** The state that a choice with crashes inside recoveries names; the recoveries are run for it. */
export async function nestedState(
  source: TraceSource,
  runner: Runner,
  { nested, ...outer }: StateChoice,
  acknowledged: readonly string[] = acknowledgedAt(source, outer),
): Promise<CrashState> {
  const state = stateOf(source, outer);
  if (nested === undefined) return state;
  const { trace } = await runner.run({ state, acknowledged: [...acknowledged], recorded: true });
  if (trace === undefined) throw new Error('the runner does not record what a check does');
  return await nestedState(trace, runner, nested, acknowledged);
}

/** Lines acknowledged before a crash. */
export function acknowledgedAt(source: TraceSource, choice: StateChoice): readonly string[] {
  let lines: readonly string[] = [];
  for (const point of points(source, choice.model)) {
    if (point.position > choice.position) break;
    lines = point.acknowledged;
  }
  return lines;
}

function changesAnything(trace: TraceSource): boolean {
  for (const { type } of trace.events()) if (type === 'store' || type === 'metadata') return true;
  return false;
}

function within(outer: StateChoice, failure: FailureResult): FailureResult {
  const choice = { ...outer, nested: failure.choice };
  const id = failureId(choice, failure.imageHash);
  const start = `The power went a second time, during the check's recovery ${describeOuter(outer)}`;
  const { explanation } = failure;
  if (explanation.lost.length > 0 || failure.choice.lines.length > 0) {
    const text = `${start}. ${explanation.text}`;
    return { ...failure, id, choice, explanation: { ...explanation, text } };
  }
  const needs =
    'a recovery that may be cut anywhere and run again, with its effect and the mark that it is ' +
    'done in one atomic step';
  const text =
    `${start}, and took nothing that it had done by then. The check that runs again on what the ` +
    `first one left fails: ${failure.summary}. Needs: ${needs}.`;
  return { ...failure, id, choice, explanation: { ...explanation, text, needs } };
}

function describeOuter({ lostOperations, otherLines, lines }: StateChoice): string {
  const isWhole =
    lostOperations.length === 0 && otherLines === NOTHING_LOST.otherLines && lines.length === 0;
  return isWhole ? 'from a first crash that lost nothing' : 'from a first crash';
}
