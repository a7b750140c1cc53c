/**
 * What a persistence model decides while a trace is folded: at which events stores and operations
 * become durable, at which the power is cut, and what may be lost there. One object for one pass
 * over one trace. SPEC.md, Persistence models, has the rules.
 */
import assert from 'node:assert/strict';
import type { TraceEvent } from '../../trace/event.js';
import type { Catalog } from '../fold/catalog.js';
import type { MetadataPlan } from '../fold/database_store.js';
import { chainKey, type Fold, type Operation } from '../fold/fold.js';
import { Replay } from '../fold/replay.js';
import type { DataSpace, MetadataChoice, Model, PointSpace } from './model.js';
import type { PageMoment } from '../fold/page_history.js';

/** Stores up to this position are durable in every state of one choice, besides those settled. */
export type FloorRule = (page: number, moment: PageMoment, line: number) => number;

/** The metadata of one choice, and what it makes of the data. */
export interface Kept {
  plan: MetadataPlan;
  catalog: Catalog;
  floor: FloorRule;
  /** See GroundParts. */
  pageKey: (regionPage: number) => number;
  regionPage: (pageKey: number) => number;
}

export interface Choices {
  count: bigint;
  /** None lost first, all lost second, each set once. */
  list: () => Iterable<MetadataChoice>;
}

export interface Persistence {
  readonly unitLines: 1 | 8;
  readonly order: DataSpace['order'];
  /** Why the power is cut right before this event; undefined when it is not. */
  pointBefore(event: TraceEvent): PointSpace['reason'] | undefined;
  /** And right after it. */
  pointAfter(event: TraceEvent): PointSpace['reason'] | undefined;
  /** Makes durable what `event`, which the fold has taken, makes durable. */
  settle(event: TraceEvent): void;
  /** Operations that may be lost now, oldest first. */
  undecided(): Operation[];
  choices(): Choices;
  /** @param lost operations, ascending, as choices() gives them */
  keep(lost: readonly number[]): Kept;
}

export interface PersistenceModel extends Model {
  begin(fold: Fold): Persistence;
}

/** Every page of the state is the page of the fold with the same number. */
export const SAME_PAGES = {
  pageKey: (regionPage: number): number => regionPage,
  regionPage: (pageKey: number): number => pageKey,
};

/** Metadata is a journal: what is lost of the operations since the last commit is a suffix. */
export function suffixChoices(firstNumber: number, endNumber: number): Choices {
  const total = endNumber - firstNumber;
  const lose = (count: number): MetadataChoice => ({
    lostOperations: Array.from({ length: count }, (_, index) => endNumber - count + index),
  });
  function* list(): IterableIterator<MetadataChoice> {
    for (const count of zigzag(total)) yield lose(count);
  }
  return { count: BigInt(total + 1), list };
}

/** 0, total, 1, total - 1, ...: each of 0 .. total once. */
export function zigzag(total: number): number[] {
  const counts: number[] = [];
  for (let few = 0, many = total; few <= many; few++, many--) {
    counts.push(few);
    if (many > few) counts.push(many);
  }
  return counts;
}

/** The metadata of a suffix lost. */
export function keepPrefix(
  fold: Fold,
  lost: readonly number[],
): { plan: MetadataPlan; catalog: Catalog } {
  const prefix = fold.operationCount - lost.length;
  assert(
    lost.every((number, index) => number === prefix + index),
    'not a suffix',
  );
  assert(prefix >= fold.committedCount, 'a committed operation is not lost');
  const plan = { prefix, tail: [], key: fold.key(prefix), pageCount: fold.base.pageCount };
  return { plan, catalog: fold.catalog(prefix) };
}

/** The metadata of any set lost: operations after the first lost one are applied as far as they go. */
export function keepSome(fold: Fold, lost: readonly number[]): Omit<Kept, 'floor'> {
  const prefix = lost[0] ?? fold.operationCount;
  const replay = new Replay(fold, fold.catalog(prefix), fold.operations(prefix), new Set(lost));
  const { records, catalog, pageCount } = replay;
  let key = fold.key(prefix);
  if (records.length > 0) key = chainKey(key, records);
  const plan = { prefix, tail: records, key, pageCount };
  return {
    plan,
    catalog,
    pageKey: (regionPage) => replay.pageKey(regionPage),
    regionPage: (key) => replay.regionPage(key),
  };
}
