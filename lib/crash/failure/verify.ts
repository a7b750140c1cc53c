/**
 * Whether the order that an explanation asks for would have helped: explores the crash points around
 * a failure again, without the states that this order rules out, and counts what still fails. What
 * does is a failure of its own; it is made small and named, and its order is enforced as well. An
 * order is enforced wherever the workload does the same to a file of the same kind.
 */
import { type CallBook, type KnownCall, NAME_OPERATIONS } from './calls.js';
import type { StateChoice } from '../choice.js';
import { type Evidence, lostCalls, Witness } from './evidence.js';
import { explain } from './explain.js';
import type { Exploration, Failing } from '../search/exploration.js';
import { lossOf, type Minimal, Minimiser } from './minimise.js';
import type { Verified } from '../result/result.js';
import { roundChoices, sampledChoices, type Site } from '../search/strategy.js';

const POINTS_AROUND = 8;
const STATES_MAX = 240;
const STATES_PER_POINT_MAX = 48;
const SAMPLES_PER_POINT = 16;
/** Failures that are made small while others are ruled out. */
const ROUNDS_MAX = 4;

export interface ToVerify {
  exploration: Exploration;
  book: CallBook;
  minimal: Minimal;
  evidence: Evidence;
  shouldStop: () => boolean;
}

/** @returns null when the order cannot be enforced, or no state was left to run */
export async function verify(what: ToVerify): Promise<Verified | null> {
  const first = ruleOf(what.book, what.evidence);
  if (first === undefined) return null;
  const rules = [first];
  let tried = await around(what, rules);
  if (tried.states === 0) return null;
  let { states, failed } = tried;
  const rest: Required<Verified>['rest'] = { needs: [], states: 0, failed: 0 };
  const asked = needsOf(what, what.evidence, what.minimal);
  for (let round = 0; round < ROUNDS_MAX && tried.failing !== undefined; round++) {
    if (what.shouldStop()) break;
    const { evidence, minimal } = await lookInto(what, tried.failing, rules);
    const needs = needsOf(what, evidence, minimal);
    const isNew = needs !== asked && !rest.needs.includes(needs);
    if (isNew) rest.needs.push(needs);
    const rule = ruleOf(what.book, evidence);
    if (isNew || rule === undefined) rest.states = 0;
    if (rule === undefined) break;
    rules.push(rule);
    tried = await around(what, rules);
    // The same order, which another kind of call lacks too.
    if (rest.needs.length === 0) ({ states, failed } = tried);
    else Object.assign(rest, { states: tried.states, failed: tried.failed });
  }
  return rest.needs.length === 0 ? { states, failed } : { states, failed, rest };
}

/** What fails although the rules are kept, as small as it gets, and why. */
async function lookInto(
  { exploration, book, shouldStop }: ToVerify,
  failing: Failing,
  rules: readonly Rule[],
): Promise<{ evidence: Evidence; minimal: Minimal }> {
  const allows: Rule = (site, choice) => rules.every((rule) => rule(site, choice));
  const minimal = await new Minimiser(exploration, shouldStop, allows).minimise(failing);
  const site = exploration.siteAt(minimal.position);
  return { evidence: await new Witness(exploration, book).evidence(site, minimal), minimal };
}

function needsOf({ exploration }: ToVerify, evidence: Evidence, { verdict }: Minimal): string {
  const { model } = exploration;
  return explain({ evidence, files: [], model, summary: verdict.summary }).needs;
}

/** The states of the crash points around a failure that all rules allow, and how many fail. */
async function around(
  { exploration, minimal, shouldStop }: ToVerify,
  rules: readonly Rule[],
): Promise<{ states: number; failed: number; failing: Failing | undefined }> {
  const images = new Set<string>();
  let failed = 0;
  let failing: Failing | undefined;
  for (const point of exploration.sweep()) {
    if (point.index < minimal.pointIndex - POINTS_AROUND) continue;
    if (point.index > minimal.pointIndex + POINTS_AROUND) break;
    const site = exploration.site(point);
    let here = 0;
    for (const choice of choicesAt(site)) {
      if (images.size >= STATES_MAX || here >= STATES_PER_POINT_MAX || shouldStop()) break;
      if (!rules.every((allows) => allows(site, choice))) continue;
      const image = `${imageHashOf(site, choice)} ${exploration.acknowledged(point).length}`;
      if (images.has(image)) continue;
      images.add(image);
      here++;
      const verdict = await exploration.judge(site, choice);
      if (verdict === undefined) continue;
      failed++;
      failing ??= { pointIndex: point.index, choice, verdict };
    }
  }
  return { states: images.size, failed, failing };
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

function ruleOf(book: CallBook, evidence: Evidence): Rule | undefined {
  const { survivor } = evidence;
  switch (survivor?.kind) {
    case 'acknowledgement':
      return evidence.lost.length === 0 ? undefined : acknowledgedRule(book, evidence.lost);
    case 'call':
      return dependentRule(book, evidence.lost, survivor.call);
    case 'earlier-call': {
      const later = evidence.lost[0] ?? evidence.missing;
      return later === undefined ? undefined : togetherRule(book, survivor.call, later);
    }
    case 'rest-of-call':
      return wholeRule(book, evidence.lost);
    default:
      return undefined;
  }
}

/** A sync before each acknowledgement: what it covers is not lost behind one. */
function acknowledgedRule(book: CallBook, lost: readonly KnownCall[]): Rule {
  const covered = coveredBy(book, lost);
  return (site, choice) => {
    const { position } = site.point;
    return !covered(site, choice).some((at) => book.hasOutputBetween(at, position));
  };
}

/** A sync before each call like `later`: where one survives, nothing older of what it covers is lost. */
function dependentRule(book: CallBook, lost: readonly KnownCall[], later: KnownCall): Rule {
  const covered = coveredBy(book, lost);
  const pattern = book.pattern(later.text.callId);
  return (site, choice) => {
    const first = Math.min(...covered(site, choice));
    const lostIds = lostCalls(site, lossOf(site, choice));
    const kept = book.alike(pattern, first, site.point.position);
    return kept.every((callId) => lostIds.has(callId));
  };
}

/**
 * Positions of the lost calls that a sync of what `lost` did covers. Where metadata is a journal a
 * sync of anything covers all of it; where stores need a fence, all that was flushed too.
 */
function coveredBy(book: CallBook, lost: readonly KnownCall[]) {
  const subjects = new Set(lost.map(({ text }) => book.subject(text.callId)));
  return (site: Site, choice: StateChoice): number[] => {
    const ids = [...lostCalls(site, lossOf(site, choice))];
    const calls = book.inOrder(ids).filter(({ event, text }) => {
      if (site.model === 'dax' || site.model === 'eadr') return true;
      if (site.model === 'sector' && NAME_OPERATIONS.has(event.operation)) return true;
      return subjects.has(book.subject(text.callId));
    });
    return calls.map(({ text }) => text.position);
  };
}

/** One step that does both: an earlier call is there only when the next later one is. */
function togetherRule(book: CallBook, earlier: KnownCall, later: KnownCall): Rule {
  const earlierPattern = book.pattern(earlier.text.callId);
  const laterPattern = book.pattern(later.text.callId);
  return (site, choice) => {
    const { position } = site.point;
    const lostIds = lostCalls(site, lossOf(site, choice));
    return book.alike(earlierPattern, -1, position).every((callId) => {
      if (lostIds.has(callId)) return true;
      const at = book.get(callId)!.text.position;
      const [next] = book.inOrder(book.alike(laterPattern, at, Infinity));
      if (next === undefined) return true;
      return !lostIds.has(next.text.callId) && (next.changes?.to ?? 0) <= position;
    });
  };
}

/** Each call is there as a whole or not at all. */
function wholeRule(book: CallBook, lost: readonly KnownCall[]): Rule {
  const patterns = new Set(lost.map(({ text }) => book.pattern(text.callId)));
  return (site, choice) => {
    const { position } = site.point;
    const lostIds = lostCalls(site, lossOf(site, choice));
    const torn = keptLines(site, choice).filter((callId) => {
      const { from = 0, to = 0 } = book.get(callId)?.changes ?? {};
      return lostIds.has(callId) || (from < position && to > position);
    });
    return !torn.some((callId) => patterns.has(book.pattern(callId)));
  };
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
