/**
 * Joins the results of the shards of one exploration into the result of the whole. Refuses results
 * that are not of one run: of another trace, check, model, seed or limit.
 */
import {
  type EndName,
  type FailureResult,
  type ModelResult,
  type Result,
  type Timeline,
  type TimelineEntry,
  overallEnd,
} from './result.js';

/** Why results do not belong together, in one sentence. */
export class MergeError extends Error {
  override readonly name = 'MergeError';
}

/**
 * The order of the results does not matter. When shards are missing the result says which, and is
 * never `space-exhausted`.
 *
 * @throws {MergeError}
 */
export function mergeResults(results: readonly Result[]): Result {
  const sorted = [...results].sort((a, b) => a.shard.index - b.shard.index);
  const [first] = sorted;
  if (first === undefined) throw new MergeError('there is no result to merge');
  for (const other of sorted) refuseOther(first, other);
  refuseTwice(sorted);
  const missing = missingShards(sorted);
  const failures = mergeFailures(sorted);
  const models = mergeModels(sorted, missing.length > 0);
  return {
    ...first,
    end: overallEnd(models, failures.length > 0),
    endDetail: endDetail(sorted, missing),
    shard: { index: 0, count: 1 },
    models,
    failures,
    timeline: mergeTimelines(sorted.map(({ timeline }) => timeline)),
    durationMs: Math.max(...sorted.map(({ durationMs }) => durationMs)),
  };
}

/** What must be equal, with the words for it. */
const SAME: [what: string, of: (result: Result) => unknown][] = [
  ['version of fauxdax', ({ fauxdax }) => [fauxdax.result, fauxdax.version]],
  ['trace', ({ trace }) => trace],
  ['check', ({ check }) => check],
  ['continued work', (result) => result.continue],
  ['seed', ({ seed }) => seed],
  ['limit', ({ limits }) => limits],
  ['oracle', ({ oracles }) => oracles],
  ['number of shards', ({ shard }) => shard.count],
];

function refuseOther(first: Result, other: Result): void {
  for (const [what, of] of SAME) {
    if (JSON.stringify(of(first)) === JSON.stringify(of(other))) continue;
    const where = `${nameOf(first)} and ${nameOf(other)}`;
    throw new MergeError(`${where} are not of one run: another ${what}`);
  }
}

function refuseTwice(sorted: readonly Result[]): void {
  for (const [index, { shard }] of sorted.entries()) {
    if (sorted[index + 1]?.shard.index !== shard.index) continue;
    throw new MergeError(`${nameOf({ shard })} is there twice`);
  }
}

/** As `--shard` names it: from 1. */
function nameOf({ shard }: Pick<Result, 'shard'>): string {
  return `shard ${shard.index + 1} of ${shard.count}`;
}

function missingShards(sorted: readonly Result[]): number[] {
  const there = new Set(sorted.map(({ shard }) => shard.index));
  const all = Array.from({ length: sorted[0]!.shard.count }, (_, index) => index);
  return all.filter((index) => !there.has(index));
}

function mergeModels(sorted: readonly Result[], isPartial: boolean): ModelResult[] {
  const names = [...new Set(sorted.flatMap(({ models }) => models.map(({ model }) => model)))];
  return names.map((name) => {
    const parts = sorted.flatMap(({ models }) => models.filter(({ model }) => model === name));
    const ends = parts.map(({ end }) => end);
    const isWhole = !isPartial && parts.length === sorted.length;
    return {
      model: name,
      end: joinEnds(ends, isWhole),
      crashPoints: sum(parts, (part) => part.crashPoints),
      crashPointsExhausted: sum(parts, (part) => part.crashPointsExhausted),
      states: {
        possible: bigSum(parts, (part) => part.states.possible),
        allowed: bigSum(parts, (part) => part.states.allowed),
        allowedIsExact: parts.every((part) => part.states.allowedIsExact),
        unique: sum(parts, (part) => part.states.unique),
        run: sum(parts, (part) => part.states.run),
        failed: sum(parts, (part) => part.states.failed),
        prunedSameImage: sum(parts, (part) => part.states.prunedSameImage),
        prunedUnread: sum(parts, (part) => part.states.prunedUnread),
      },
      durationMs: Math.max(...parts.map(({ durationMs }) => durationMs)),
    };
  });
}

function joinEnds(ends: readonly EndName[], isWhole: boolean): EndName {
  if (ends.includes('failure-found')) return 'failure-found';
  const other = ends.find((end) => end !== 'space-exhausted');
  return other ?? (isWhole ? 'space-exhausted' : 'limit-reached');
}

function endDetail(sorted: readonly Result[], missing: readonly number[]): string {
  const { count } = sorted[0]!.shard;
  const byEnd = new Map<EndName, number[]>();
  for (const { end, shard } of sorted) byEnd.set(end, [...(byEnd.get(end) ?? []), shard.index]);
  const ends = [...byEnd].map(([end, shards]) => `${end} in ${shardList(shards, count)}`);
  if (missing.length > 0) ends.unshift(`${shardList(missing, count)} missing`);
  const models = sorted.flatMap((result) => result.models);
  const total = sum(models, (one) => one.crashPoints);
  const left = total - sum(models, (one) => one.crashPointsExhausted);
  ends.push(`${left} of ${total} crash points were not covered wholly`);
  return ends.join('; ');
}

/** Counted from 1, as people do. */
function shardList(shards: readonly number[], count: number): string {
  if (shards.length === count) return `all ${count} shards`;
  const word = shards.length === 1 ? 'shard' : 'shards';
  return `${word} ${shards.map((index) => index + 1).join(', ')} of ${count}`;
}

/** The same failure found by several shards is one; the smallest first. */
function mergeFailures(sorted: readonly Result[]): FailureResult[] {
  const byKind = new Map<string, FailureResult>();
  for (const failure of sorted.flatMap(({ failures }) => failures)) {
    const lost = failure.explanation.lost.map(({ operation, path }) => `${operation} ${path}`);
    const kind = [failure.oracle, ...lost.sort()].join('\n');
    const known = byKind.get(kind);
    if (known === undefined) {
      byKind.set(kind, failure);
      continue;
    }
    const [small, large] = [known, failure].sort(bySize) as [FailureResult, FailureResult];
    const models = [...new Set([...small.models, ...large.models])];
    byKind.set(kind, { ...small, models, similar: small.similar + large.similar });
  }
  return [...byKind.values()].sort(bySize);
}

/** By what is lost, then by the crash point. */
export function bySize(a: FailureResult, b: FailureResult): number {
  const size = ({ choice }: FailureResult) => choice.lostOperations.length + choice.lines.length;
  return size(a) - size(b) || a.choice.position - b.choice.position;
}

function mergeTimelines(timelines: readonly Timeline[]): Timeline {
  const [first] = timelines as [Timeline];
  const counts = new Map<number, { passed: number; failed: number }>();
  for (const entry of timelines.flatMap(({ entries }) => entries)) {
    if (entry.kind !== 'crash-point') continue;
    const { passed, failed } = counts.get(entry.position) ?? { passed: 0, failed: 0 };
    counts.set(entry.position, { passed: passed + entry.passed, failed: failed + entry.failed });
  }
  const entries = first.entries.map((entry): TimelineEntry => {
    return entry.kind === 'crash-point' ? { ...entry, ...counts.get(entry.position) } : entry;
  });
  return { ...first, entries };
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function bigSum<T>(items: readonly T[], of: (item: T) => string): string {
  return String(items.reduce((total, item) => total + BigInt(of(item)), 0n));
}
