/**
 * Whether the order that an explanation asks for would have helped: explores the crash points around
 * a failure again, without the states that this order rules out, and counts what still fails.
 */
import type { CallBook } from './calls.js';
import type { StateChoice } from './choice.js';
import { type Evidence, lostCalls } from './evidence.js';
import type { Exploration } from './exploration.js';
import { lossOf, type Minimal } from './minimise.js';
import { roundChoices, sampledChoices, type Site } from './strategy.js';

const POINTS_AROUND = 8;
const STATES_MAX = 240;
const STATES_PER_POINT_MAX = 48;
const SAMPLES_PER_POINT = 16;

/** @returns null when no state was left to run */
export async function verify(
  exploration: Exploration,
  book: CallBook,
  minimal: Minimal,
  evidence: Evidence,
  shouldStop: () => boolean,
): Promise<{ states: number; failed: number } | null> {
  const rule = ruleOf(book, evidence);
  if (rule === undefined) return null;
  const images = new Set<string>();
  let failed = 0;
  for (const point of exploration.sweep()) {
    if (point.index < minimal.pointIndex - POINTS_AROUND) continue;
    if (point.index > minimal.pointIndex + POINTS_AROUND) break;
    const site = exploration.site(point);
    let here = 0;
    for (const choice of choicesAt(site)) {
      if (images.size >= STATES_MAX || here >= STATES_PER_POINT_MAX || shouldStop()) break;
      if (!rule(site, choice)) continue;
      const image = `${imageHashOf(site, choice)} ${exploration.acknowledged(point).length}`;
      if (images.has(image)) continue;
      images.add(image);
      here++;
      if ((await exploration.judge(site, choice)) !== undefined) failed++;
    }
  }
  return images.size === 0 ? null : { states: images.size, failed };
}

function imageHashOf({ point }: Site, choice: StateChoice): string {
  const state = point.state(choice);
  const hash = state.imageHash();
  state.release();
  return hash;
}

function* choicesAt(site: Site): Generator<StateChoice> {
  yield* roundChoices(site, 'ends');
  yield* roundChoices(site, 'metadata');
  yield* roundChoices(site, 'calls');
  let left = SAMPLES_PER_POINT;
  for (const choice of sampledChoices(site, site.point.index)) {
    if (left-- === 0) return;
    yield choice;
  }
}

/** Says whether a state is possible when the missing order is kept, for all calls of the kind. */
type Rule = (site: Site, choice: StateChoice) => boolean;

function ruleOf(book: CallBook, { lost, survivor }: Evidence): Rule | undefined {
  const shapes = new Set(lost.map(({ text }) => book.shape(text.callId)));
  const positionOf = (callId: number): number => book.get(callId)?.text.position ?? 0;
  const lostLike = (site: Site, choice: StateChoice): number[] => {
    const ids = [...lostCalls(site, lossOf(site, choice))];
    return ids.filter((callId) => shapes.has(book.shape(callId))).map(positionOf);
  };
  if (survivor?.kind === 'acknowledgement') {
    return (site, choice) => {
      const { position } = site.point;
      return !lostLike(site, choice).some((at) => book.hasOutputBetween(at, position));
    };
  }
  if (survivor?.kind === 'call') {
    const shape = book.shape(survivor.call.text.callId);
    return (site, choice) => {
      const first = Math.min(...lostLike(site, choice));
      const lostIds = lostCalls(site, lossOf(site, choice));
      const later = book.alike(shape, first, site.point.position);
      return later.every((callId) => lostIds.has(callId));
    };
  }
  if (survivor?.kind === 'earlier-call') {
    const shape = book.shape(survivor.call.text.callId);
    return (site, choice) => {
      const last = Math.max(0, ...lostLike(site, choice));
      const lostIds = lostCalls(site, lossOf(site, choice));
      // What was lost with the one before it is no state in between.
      const undecided = new Set(site.point.operations.map(({ callId }) => callId));
      const earlier = book.alike(shape, -1, last).filter((callId) => undecided.has(callId));
      return earlier.every((callId) => lostIds.has(callId));
    };
  }
  if (survivor?.kind === 'rest-of-call') {
    return (site, choice) => {
      const lostIds = lostCalls(site, lossOf(site, choice));
      const torn = keptLines(site, choice).filter((callId) => lostIds.has(callId));
      return !torn.some((callId) => shapes.has(book.shape(callId)));
    };
  }
  return undefined;
}

/** Calls that have a line that is there. */
function keptLines(site: Site, choice: StateChoice): number[] {
  const loss = new Map(lossOf(site, choice).lines.map((line) => [line.unit.line, line.lostStores]));
  const kept = new Set<number>();
  for (const { line, callIds } of site.point.data(choice).units) {
    const count = callIds.length - (loss.get(line) ?? 0);
    for (const callId of callIds.slice(0, count)) kept.add(callId);
  }
  return [...kept];
}
