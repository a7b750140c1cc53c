/**
 * Makes a failing state small: the fewest lost lines, then the fewest lost operations, then the
 * earliest moment at which the same fails. Every step is a state that was run and failed in the
 * same way. Delta debugging (Zeller and Hildebrandt 2002) over lines; over sets of operations only
 * those are tried that the model allows.
 *
 * What is lost of a line is counted from its newest store: values are numbered from the durable
 * one, and which that is depends on the metadata and on the position.
 */
import type { StateChoice } from '../choice.js';
import type { Exploration, Failing } from '../search/exploration.js';
import type { DataSpace, LineUnit } from '../models/model.js';
import type { Verdict } from '../search/oracles.js';
import type { Point } from '../state/points.js';
import type { Site } from '../search/strategy.js';

const PROBES_MAX = 400;
export const OPERATION_SETS_MAX = 4096;
const OPERATION_PROBES_MAX = 96;
const EARLIER_PROBES_MAX = 64;

/** Events after which another state is possible, or another one has to survive. */
const CHANGES = new Set(['store', 'metadata', 'output', 'fence', 'commit', 'force', 'return']);

/** One line and how many of its newest stores are lost. */
export interface LostLine {
  unit: LineUnit;
  lostStores: number;
}

/** A failing state as sets of what is lost. */
export interface Loss {
  operations: number[];
  lines: LostLine[];
}

export interface Minimal {
  pointIndex: number;
  position: number;
  choice: StateChoice;
  loss: Loss;
  verdict: Verdict;
}

export class Minimiser {
  private probesLeft = PROBES_MAX;

  constructor(
    private readonly exploration: Exploration,
    private readonly shouldStop: () => boolean,
    /** States that are not to be used on the way. */
    private readonly allows: (site: Site, choice: StateChoice) => boolean = () => true,
  ) {}

  private async judge(site: Site, choice: StateChoice): Promise<Verdict | undefined> {
    return this.allows(site, choice) ? await this.exploration.judge(site, choice) : undefined;
  }

  async minimise(failing: Failing): Promise<Minimal> {
    let best = await atPoint(this.exploration, failing.pointIndex, (site) =>
      this.atPoint(site, failing),
    );
    const earlier = await this.earlier(best);
    if (earlier !== undefined) {
      best = await atPoint(this.exploration, earlier.pointIndex, (site) =>
        this.atPoint(site, earlier),
      );
    }
    return await this.shorter(best);
  }

  /**
   * The shortest history: a moment since the crash point before, where a part of the same, lost,
   * fails in the same way. Crash points hold everything up to the next barrier, and most of it came
   * after what matters.
   */
  private async shorter(found: Minimal): Promise<Minimal> {
    const { oracle } = found.verdict;
    const moments = this.moments(found);
    let best: Failing | undefined;
    const failsAt = async (position: number): Promise<boolean> => {
      if (this.probesLeft <= 0 || this.shouldStop()) return false;
      this.probesLeft--;
      const site = this.exploration.siteAt(position);
      const loss = lossThere(site, found.loss);
      if (loss === undefined) return false;
      const choice = choiceOf(site, loss);
      const verdict = await this.judge(site, choice);
      if (verdict?.oracle !== oracle) return false;
      best = { pointIndex: found.pointIndex, choice, verdict };
      return true;
    };
    let [passing, failing] = [-1, moments.length];
    while (failing - passing > 1) {
      // The first one first: nothing after the barrier is needed then.
      const middle = passing < 0 ? 0 : (passing + failing) >> 1;
      if (await failsAt(moments[middle]!)) failing = middle;
      else passing = middle;
    }
    if (best === undefined) return found;
    const { pointIndex } = found;
    const there = this.exploration.siteAt(best.choice.position);
    return { ...(await this.atPoint(there, best)), pointIndex };
  }

  /** After each event since the crash point before that makes a difference, ascending. */
  private moments({ pointIndex, position }: Minimal): number[] {
    let from = 0;
    for (const point of this.exploration.sweep()) {
      if (point.index >= pointIndex) break;
      from = point.position;
    }
    const moments: number[] = [];
    for (const [before, { type }] of this.exploration.events()) {
      if (before + 1 >= position) break;
      if (before >= from && CHANGES.has(type)) moments.push(before + 1);
    }
    return moments;
  }

  private async atPoint(site: Site, failing: Failing): Promise<Minimal> {
    const { point } = site;
    const { oracle } = failing.verdict;
    let { verdict } = failing;
    const fails = async (loss: Loss): Promise<boolean> => {
      if (this.probesLeft <= 0 || this.shouldStop()) return false;
      this.probesLeft--;
      const found = await this.judge(site, choiceOf(site, loss));
      if (found?.oracle !== oracle) return false;
      verdict = found;
      return true;
    };
    let loss = lossOf(site, failing.choice);
    loss = await this.fewerLines(site, loss, fails);
    const before = loss.operations.length;
    loss = await this.fewerOperations(site, loss, fails);
    if (loss.operations.length < before) loss = await this.fewerLines(site, loss, fails);
    loss = await this.fewerStores(loss, fails);
    const { index: pointIndex, position } = point;
    return { pointIndex, position, choice: choiceOf(site, loss), loss, verdict };
  }

  /** Lines by the calls whose stores are lost, then one by one. */
  private async fewerLines(
    site: Site,
    loss: Loss,
    fails: (loss: Loss) => Promise<boolean>,
  ): Promise<Loss> {
    const { operations } = loss;
    if (loss.lines.length === 0) return loss;
    const { order } = site.point.data({ lostOperations: operations });
    const test = (lines: LostLine[]) => fails({ operations, lines });
    if (order === 'prefix') return { operations, lines: await shortestSuffix(loss.lines, test) };
    const groups = new Map<string, LostLine[]>();
    for (const line of loss.lines) {
      const key = lostCallsOf(line).join();
      groups.set(key, [...(groups.get(key) ?? []), line]);
    }
    const kept = await ddmin([...groups.values()], (some) => test(inOrder(some.flat())));
    const lines = await ddmin(inOrder(kept.flat()), test);
    return { operations, lines };
  }

  /** Allowed sets of fewer operations, the smallest first. */
  private async fewerOperations(
    site: Site,
    loss: Loss,
    fails: (loss: Loss) => Promise<boolean>,
  ): Promise<Loss> {
    const lost = new Set(loss.operations);
    const sets: number[][] = [];
    let listed = 0;
    for (const { lostOperations } of site.point.metadataChoices()) {
      if (++listed > OPERATION_SETS_MAX) break;
      if (lostOperations.length >= lost.size) continue;
      if (lostOperations.every((number) => lost.has(number))) sets.push(lostOperations);
    }
    sets.sort((a, b) => a.length - b.length);
    for (const operations of sets.slice(0, OPERATION_PROBES_MAX)) {
      const lines = projected(site.point.data({ lostOperations: operations }), loss.lines);
      const smaller = { operations, lines };
      if (await fails(smaller)) return smaller;
    }
    return loss;
  }

  /** Of lines that lose several stores only the newest. */
  private async fewerStores(loss: Loss, fails: (loss: Loss) => Promise<boolean>): Promise<Loss> {
    if (!loss.lines.some(({ lostStores }) => lostStores > 1)) return loss;
    const lines = loss.lines.map(({ unit }) => ({ unit, lostStores: 1 }));
    const smaller = { operations: loss.operations, lines };
    return (await fails(smaller)) ? smaller : loss;
  }

  /** The first earlier crash point at which the same things, lost, fail in the same way. */
  private async earlier(found: Minimal): Promise<Failing | undefined> {
    const { operations, lines } = found.loss;
    let probes = 0;
    for (const point of this.exploration.sweep()) {
      if (point.index >= found.pointIndex || probes >= EARLIER_PROBES_MAX) break;
      if (this.shouldStop()) break;
      const numbers = new Set(point.operations.map(({ number }) => number));
      if (!operations.every((number) => numbers.has(number))) continue;
      if (!isAllowed(point, operations)) continue;
      const there = projected(point.data({ lostOperations: operations }), lines);
      if (there.length < lines.length) continue;
      const site = this.exploration.site(point);
      const choice = choiceOf(site, { operations, lines: there });
      probes++;
      const verdict = await this.judge(site, choice);
      if (verdict?.oracle === found.verdict.oracle) {
        return { pointIndex: point.index, choice, verdict };
      }
    }
    return undefined;
  }
}

/** Does something at one crash point, by a sweep of its own. */
export async function atPoint<T>(
  exploration: Exploration,
  index: number,
  use: (site: Site) => Promise<T>,
): Promise<T> {
  for (const point of exploration.sweep()) {
    if (point.index === index) return await use(exploration.site(point));
  }
  throw new Error(`the trace has no crash point ${index}`);
}

export function lossOf(site: Site, choice: StateChoice): Loss {
  const { lostOperations, otherLines } = choice;
  const named = new Map(choice.lines);
  const lines: LostLine[] = [];
  for (const unit of site.point.data({ lostOperations }).units) {
    const other = otherLines === 'newest' ? unit.valueCount - 1 : 0;
    const lostStores = unit.valueCount - 1 - (named.get(unit.line) ?? other);
    if (lostStores > 0) lines.push({ unit, lostStores });
  }
  return { operations: lostOperations, lines };
}

export function choiceOf(site: Site, { operations, lines }: Loss): StateChoice {
  const { model, point, isTorn } = site;
  const choice: StateChoice = {
    model,
    position: point.position,
    lostOperations: operations,
    otherLines: 'newest',
    lines: lines.map(({ unit, lostStores }) => [unit.line, unit.valueCount - 1 - lostStores]),
  };
  return isTorn ? { ...choice, tornBytes: 8 } : choice;
}

/** Calls whose stores to a line are lost. */
export function lostCallsOf({ unit, lostStores }: LostLine): number[] {
  return unit.callIds.slice(unit.callIds.length - lostStores);
}

/** The same loss in other metadata or at another position: what of it can be lost there. */
function projected({ units }: DataSpace, lines: readonly LostLine[]): LostLine[] {
  const byLine = new Map(units.map((unit) => [unit.line, unit]));
  const found: LostLine[] = [];
  for (const lost of lines) {
    const unit = byLine.get(lost.unit.line);
    if (unit === undefined) continue;
    const first = unit.callIds.indexOf(lostCallsOf(lost)[0]!);
    if (first >= 0) found.push({ unit, lostStores: unit.callIds.length - first });
  }
  return found;
}

/** What of a loss can be lost at another moment; undefined when that is nothing, or not allowed. */
function lossThere({ point }: Site, { operations, lines }: Loss): Loss | undefined {
  const numbers = new Set(point.operations.map(({ number }) => number));
  const some = operations.filter((number) => numbers.has(number));
  if (!isAllowed(point, some)) return undefined;
  const there = projected(point.data({ lostOperations: some }), lines);
  const losesNothing = some.length === 0 && there.length === 0;
  if (losesNothing && operations.length + lines.length > 0) return undefined;
  return { operations: some, lines: there };
}

function isAllowed(point: Point, operations: readonly number[]): boolean {
  const wanted = operations.join();
  let listed = 0;
  for (const { lostOperations } of point.metadataChoices()) {
    if (lostOperations.join() === wanted) return true;
    if (++listed > OPERATION_SETS_MAX) break;
  }
  return false;
}

function inOrder(lines: LostLine[]): LostLine[] {
  return lines.sort((a, b) => a.unit.line - b.unit.line);
}

async function shortestSuffix(
  lines: LostLine[],
  test: (lines: LostLine[]) => Promise<boolean>,
): Promise<LostLine[]> {
  for (let count = 0; count < lines.length; count++) {
    const suffix = lines.slice(lines.length - count);
    if (await test(suffix)) return suffix;
  }
  return lines;
}

/** A part of `items` that fails while no part with one item less does. */
async function ddmin<T>(items: T[], test: (items: T[]) => Promise<boolean>): Promise<T[]> {
  let current = items;
  if (current.length > 0 && (await test([]))) return [];
  for (let parts = 2; current.length >= 2; ) {
    const size = Math.ceil(current.length / parts);
    let smaller: T[] | undefined;
    for (let from = 0; from < current.length && smaller === undefined; from += size) {
      const part = current.slice(from, from + size);
      if (parts === 2 && (await test(part))) smaller = part;
    }
    for (let from = 0; from < current.length && smaller === undefined; from += size) {
      const rest = [...current.slice(0, from), ...current.slice(from + size)];
      if (await test(rest)) smaller = rest;
    }
    if (smaller !== undefined) {
      current = smaller;
      parts = Math.max(2, parts - 1);
    } else if (size === 1) {
      break;
    } else {
      parts = Math.min(current.length, parts * 2);
    }
  }
  return current;
}
