/**
 * Crashes during recovery: what a check does to a crash state is recorded, and the power is cut
 * again inside that. The trace of a recovery is explored like any other, on top of the state. What
 * had been acknowledged before the first crash must survive the second too.
 *
 * A recovery puts its own times into the image, so running it again makes another one. Whoever wants
 * the same bytes again keeps its trace (ExploreOptions.keepRecovery): that has the state in it.
 */
import type { TraceSource } from '../trace/source.js';
import type { Budget } from './search/budget.js';
import { CallBook, type KnownCall } from './failure/calls.js';
import type { StateChoice } from './choice.js';
import { type Exploration, NOTHING_LOST } from './search/exploration.js';
import { judgeOutcomes } from './search/oracles.js';
import { failureId } from './failure/failure_id.js';
import type { FailureResult } from './result/result.js';
import { roundChoices } from './search/strategy.js';

/** States of one crash point whose recovery is looked into. */
const STATES_PER_POINT_MAX = 6;

interface NestedParts {
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
        if (failures.length > 0) return failures.map((failure) => within(choice, failure, trace));
      } finally {
        state.release();
      }
    }
  }
  return [];
}

/** Lines acknowledged before a crash. */
export function acknowledgedAt(source: TraceSource, choice: StateChoice): readonly string[] {
  const lines: string[] = [];
  let position = 0;
  for (const event of source.events()) {
    if (position++ >= choice.position) break;
    if (event.type === 'output') lines.push(...event.lines);
  }
  return lines;
}

function changesAnything(trace: TraceSource): boolean {
  for (const { type } of trace.events()) if (type === 'store' || type === 'metadata') return true;
  return false;
}

function within(outer: StateChoice, failure: FailureResult, trace: TraceSource): FailureResult {
  const choice = { ...outer, nested: failure.choice };
  const id = failureId(choice, failure.imageHash);
  const start = `The power went a second time, during the check's recovery ${describeOuter(outer)}`;
  const { explanation } = failure;
  const isExplained =
    failure.choice.nested !== undefined ||
    explanation.lost.length > 0 ||
    failure.choice.lines.length > 0;
  if (isExplained) {
    const text = `${start}. ${explanation.text}`;
    return { ...failure, id, choice, explanation: { ...explanation, text } };
  }
  const needs =
    'a recovery that may be cut anywhere and run again, with its effect and the mark that it is ' +
    'done in one atomic step';
  const text =
    `${start}, ${describeCut(trace, failure.choice.position)}, and took nothing that it had done ` +
    `by then. The check that runs again on what the first one left fails: ${failure.summary}.`;
  return { ...failure, id, choice, explanation: { ...explanation, text, needs } };
}

/** Between which two calls that change something a crash came. */
function describeCut(trace: TraceSource, cutPosition: number): string {
  const book = new CallBook(trace);
  let done: KnownCall | undefined;
  let position = 0;
  for (const event of trace.events()) {
    const isChange = event.type === 'store' || event.type === 'metadata';
    const call = isChange ? book.get(event.callId) : undefined;
    if (call !== undefined && position < cutPosition) done = call;
    if (call !== undefined && position >= cutPosition) {
      if (call === done) return `in the middle of ${call.text.text}`;
      const after = done === undefined ? '' : `after ${done.text.text} and `;
      return `${after}before ${call.text.text}`;
    }
    position++;
  }
  return done === undefined ? 'before it changed anything' : `after ${done.text.text}`;
}

function describeOuter({ lostOperations, otherLines, lines }: StateChoice): string {
  const isWhole =
    lostOperations.length === 0 && otherLines === NOTHING_LOST.otherLines && lines.length === 0;
  return isWhole ? 'from a first crash that lost nothing' : 'from a first crash';
}
