/**
 * Which states of a crash point are looked at, and in which order: rounds, each a lazy list of
 * choices. A round is made over all crash points before the next begins, so that the usual bugs are
 * found early wherever they are. SPEC.md, Exploration, has the rounds.
 *
 * Lines that no run on the same metadata read are left as they are: they cannot matter.
 */
import type { ModelName, StateChoice } from '../choice.js';
import { type Chooser, ExhaustiveChooser, SeededChooser } from './chooser.js';
import type { DataSpace, LineUnit, MetadataChoice } from '../models/model.js';
import type { Point } from '../state/points.js';

export const ROUNDS = ['ends', 'metadata', 'calls', 'lines', 'rest'] as const;
export type RoundName = (typeof ROUNDS)[number];

/** Combinations of one crash point that are all tried. */
export const EXHAUSTIVE_MAX = 4096;
/** In the first pass over all crash points. */
const EXHAUSTIVE_MIN = 64;
/** Metadata choices of one crash point that are looked at beyond the first two. */
const METADATA_MAX = 64;
/** Of these the ones whose lines are varied call by call, and line by line. */
const VARIED_METADATA_MAX = 8;
const CALLS_MAX = 128;
const LINES_MAX = 256;
const PAIRS_MAX = 128;
/** Metadata choices that are listed at all; sampling draws from them. */
const LISTED_MAX = 4096;

/** A crash point as it is explored. */
export interface Site {
  model: ModelName;
  point: Point;
  /** Lines known to be read with a metadata choice; undefined: all may be. */
  reads: (choice: MetadataChoice) => ReadonlySet<number> | undefined;
  /** Lines have values between those of their stores. */
  isTorn: boolean;
}

export interface Allowed {
  /** States the model allows, at least. */
  count: bigint;
  /** `count` is all of them: no metadata choice was left out. */
  isExact: boolean;
}

/** The choices of the first four rounds. */
export function* roundChoices(
  site: Site,
  round: Exclude<RoundName, 'rest'>,
): Generator<StateChoice> {
  const listed = metadataChoices(site.point, round === 'ends' ? 2 : METADATA_MAX);
  if (round === 'ends') {
    yield stateChoice(site, listed[0]!, 'newest');
    yield stateChoice(site, listed.at(-1)!, 'durable');
  } else if (round === 'metadata') {
    for (const choice of listed) {
      yield stateChoice(site, choice, 'newest');
      yield stateChoice(site, choice, 'durable');
    }
  } else {
    for (const choice of listed.slice(0, VARIED_METADATA_MAX)) {
      const space = readSpace(site, choice);
      if (space.order === 'prefix') yield* prefixChoices(site, choice, space);
      else if (round === 'calls') yield* callChoices(site, choice, space);
      else yield* lineChoices(site, choice, space);
    }
  }
}

/** Everything a point allows, with unread lines left as they are, each state once. */
export function* exhaustiveChoices(site: Site): Generator<StateChoice> {
  for (const choice of site.point.metadataChoices()) {
    const space = readSpace(site, choice);
    const chooser = new ExhaustiveChooser();
    do yield draw(site, choice, space, chooser);
    while (chooser.next());
  }
}

/** Combinations of one point that are all tried in a pass of the last round. */
export function exhaustiveMax(pass: number): number {
  return Math.min(EXHAUSTIVE_MAX, EXHAUSTIVE_MIN * 4 ** pass);
}

/** Endless; half of the draws lose or keep few lines, as those states break the most. */
export function* sampledChoices(site: Site, seed: number): Generator<StateChoice> {
  const chooser = new SeededChooser(seed);
  const listed = metadataChoices(site.point, LISTED_MAX);
  for (;;) {
    const choice = listed[chooser.pick(listed.length)]!;
    const space = readSpace(site, choice);
    const isFew = space.order === 'free' && space.units.length > 0 && chooser.pick(2) === 0;
    yield isFew ? drawFew(site, choice, space, chooser) : draw(site, choice, space, chooser);
  }
}

/** Combinations that exhaustiveChoices() gives; undefined when there are more than `countMax`. */
export function combinationCount(site: Site, countMax: number): number | undefined {
  const { point } = site;
  if (point.metadataChoiceCount > BigInt(countMax)) return undefined;
  let count = 0n;
  for (const choice of point.metadataChoices()) {
    count += dataCount(readSpace(site, choice));
    if (count > BigInt(countMax)) return undefined;
  }
  return Number(count);
}

/** @param listedMax metadata choices whose lines are counted; each other one counts as one state */
export function allowedStates(point: Point, listedMax = METADATA_MAX): Allowed {
  let count = 0n;
  let listed = 0n;
  for (const choice of point.metadataChoices()) {
    if (listed >= listedMax) break;
    listed++;
    count += dataCount(point.data(choice));
  }
  const unlisted = point.metadataChoiceCount - listed;
  return { count: count + unlisted, isExact: unlisted === 0n };
}

function dataCount({ units, order }: DataSpace): bigint {
  return order === 'prefix' ? BigInt(units.length + 1) : product(units);
}

function product(units: readonly LineUnit[]): bigint {
  const byValueCount = new Map<number, number>();
  for (const { valueCount } of units) {
    byValueCount.set(valueCount, (byValueCount.get(valueCount) ?? 0) + 1);
  }
  let count = 1n;
  for (const [values, times] of byValueCount) count *= BigInt(values) ** BigInt(times);
  return count;
}

/**
 * The metadata choices to look at: nothing lost, all lost, then in turn those nearest to the one
 * and to the other.
 */
export function metadataChoices(point: Point, countMax: number): MetadataChoice[] {
  const listed: MetadataChoice[] = [];
  for (const choice of point.metadataChoices()) {
    listed.push(choice);
    if (listed.length >= (countMax === 2 ? 2 : LISTED_MAX)) break;
  }
  const rest = listed.splice(2).sort(byLostCount);
  for (let low = 0, high = rest.length - 1; low <= high && listed.length < countMax; ) {
    listed.push(rest[low++]!);
    if (low <= high && listed.length < countMax) listed.push(rest[high--]!);
  }
  return listed;
}

function byLostCount(a: MetadataChoice, b: MetadataChoice): number {
  return a.lostOperations.length - b.lostOperations.length;
}

/** The lines of a metadata choice that a run may come across. */
function readSpace(site: Site, choice: MetadataChoice): DataSpace {
  const space = site.point.data(choice);
  const lines = site.reads(choice);
  if (lines === undefined || space.order === 'prefix') return space;
  const isRead = ({ line, lineCount }: LineUnit) => {
    for (let index = line; index < line + lineCount; index++) if (lines.has(index)) return true;
    return false;
  };
  return { units: space.units.filter(isRead), order: space.order };
}

/** One call's lines lost, or one call's lines kept. */
function* callChoices(
  site: Site,
  choice: MetadataChoice,
  { units }: DataSpace,
): Generator<StateChoice> {
  for (const callId of callsOf(units).slice(0, CALLS_MAX)) {
    const without = valuesWithout(units, new Set([callId]));
    yield stateChoice(site, choice, 'newest', without);
    yield stateChoice(site, choice, 'durable', newestOf(units, callId));
  }
}

/** Single lines lost or kept, then pairs of calls lost. */
function* lineChoices(
  site: Site,
  choice: MetadataChoice,
  { units }: DataSpace,
): Generator<StateChoice> {
  for (const unit of spread(units, LINES_MAX)) {
    // Between the first and the newest value: those of earlier stores, and of torn ones.
    const between = site.isTorn ? unit.valueCount - 1 : Math.min(unit.valueCount - 1, 4);
    for (let value = 0; value < between; value++) {
      yield stateChoice(site, choice, 'newest', [[unit.line, value]]);
    }
    yield stateChoice(site, choice, 'durable', [[unit.line, unit.valueCount - 1]]);
  }
  const calls = callsOf(units);
  let pairs = 0;
  for (let distance = 1; distance < calls.length; distance++) {
    for (let index = 0; index + distance < calls.length; index++) {
      if (++pairs > PAIRS_MAX) return;
      const lost = new Set([calls[index]!, calls[index + distance]!]);
      yield stateChoice(site, choice, 'newest', valuesWithout(units, lost));
    }
  }
}

/** Stores kept up to each line in turn; the newest first, bounded. */
function* prefixChoices(
  site: Site,
  choice: MetadataChoice,
  { units }: DataSpace,
): Generator<StateChoice> {
  for (const unit of spread(units, LINES_MAX)) {
    const kept = units.indexOf(unit);
    yield prefixChoice(site, choice, units, kept);
  }
}

function prefixChoice(
  site: Site,
  choice: MetadataChoice,
  units: readonly LineUnit[],
  kept: number,
): StateChoice {
  const lost = units.slice(kept).map(({ line }): [number, number] => [line, 0]);
  return stateChoice(site, choice, 'newest', lost);
}

/** Any value of any line, as the chooser says. */
function draw(
  site: Site,
  choice: MetadataChoice,
  { units, order }: DataSpace,
  chooser: Chooser,
): StateChoice {
  if (order === 'prefix') {
    return prefixChoice(site, choice, units, units.length - chooser.pick(units.length + 1));
  }
  const lines: [number, number][] = [];
  for (const { line, valueCount } of units) {
    // Answer 0 is the newest value: the first state of a point is the one that lost nothing.
    const value = valueCount - 1 - chooser.pick(valueCount);
    if (value !== valueCount - 1) lines.push([line, value]);
  }
  return stateChoice(site, choice, 'newest', lines);
}

/** A few lines unlike all others. */
function drawFew(
  site: Site,
  choice: MetadataChoice,
  { units }: DataSpace,
  chooser: Chooser,
): StateChoice {
  const otherLines = chooser.pick(2) === 0 ? 'newest' : 'durable';
  const picked = new Map<number, number>();
  for (let left = 1 + chooser.pick(Math.min(units.length, 8)); left > 0; left--) {
    const { line, valueCount } = units[chooser.pick(units.length)]!;
    const value = chooser.pick(valueCount - 1);
    picked.set(line, otherLines === 'newest' ? value : value + 1);
  }
  const lines = [...picked].sort(([a], [b]) => a - b);
  return stateChoice(site, choice, otherLines, lines);
}

export function stateChoice(
  { model, point, isTorn }: Omit<Site, 'reads'>,
  { lostOperations }: MetadataChoice,
  otherLines: StateChoice['otherLines'],
  lines: [number, number][] = [],
): StateChoice {
  const { position } = point;
  const choice: StateChoice = { model, position, lostOperations, otherLines, lines };
  return isTorn ? { ...choice, tornBytes: 8 } : choice;
}

/** Calls that stored what is undecided, in the order of their first line. */
function callsOf(units: readonly LineUnit[]): number[] {
  const calls = new Set<number>();
  for (const { callIds } of units) for (const callId of callIds) calls.add(callId);
  return [...calls].sort((a, b) => a - b);
}

/** Lines as they were before the first store of any of the calls. */
function valuesWithout(units: readonly LineUnit[], lost: ReadonlySet<number>): [number, number][] {
  const lines: [number, number][] = [];
  for (const { line, callIds } of units) {
    const value = callIds.findIndex((callId) => lost.has(callId));
    if (value >= 0) lines.push([line, value]);
  }
  return lines;
}

function newestOf(units: readonly LineUnit[], callId: number): [number, number][] {
  const lines: [number, number][] = [];
  for (const { line, callIds } of units) {
    const value = callIds.lastIndexOf(callId) + 1;
    if (value > 0) lines.push([line, value]);
  }
  return lines;
}

/** At most `countMax` of them, evenly spread, the last one first: tails break more than heads. */
function spread<T>(items: readonly T[], countMax: number): T[] {
  const count = Math.min(items.length, countMax);
  const picked: T[] = [];
  for (let index = 0; index < count; index++) {
    picked.push(items[items.length - 1 - Math.floor((index * items.length) / count)]!);
  }
  return picked;
}
