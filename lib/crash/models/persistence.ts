/**
 * What a persistence model decides while a trace is folded: at which events stores and operations
 * become durable, at which the power is cut, and what may be lost there. One object for one pass
 * over one trace. SPEC.md, Persistence models, has the rules.
 */
import assert from 'node:assert/strict';
import type { TraceEvent } from '../../trace/event.js';
import type { Catalog } from '../catalog.js';
import type { MetadataPlan } from '../database_store.js';
import type { Fold } from '../fold.js';
import type { FloorRule } from '../ground.js';
import type { DataSpace, MetadataChoice, Model, Operation, PointSpace } from '../model.js';

/** The metadata of one choice, and what it makes of the data. */
export interface Kept {
  plan: MetadataPlan;
  catalog: Catalog;
  floor: FloorRule;
  /** See GroundParts. */
  relocated: ReadonlyMap<number, number>;
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

export const NOT_RELOCATED: ReadonlyMap<number, number> = new Map();

/** Metadata is a journal: what is lost of the operations since the last commit is a suffix. */
export function suffixChoices(firstNumber: number, endNumber: number): Choices {
  const total = endNumber - firstNumber;
  const lose = (count: number): MetadataChoice => ({
    lostOperations: Array.from({ length: count }, (_, index) => endNumber - count + index),
  });
  function* list(): IterableIterator<MetadataChoice> {
    yield lose(0);
    if (total > 0) yield lose(total);
    for (let few = 1, many = total - 1; few <= many; few++, many--) {
      yield lose(few);
      if (many > few) yield lose(many);
    }
  }
  return { count: BigInt(total + 1), list };
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
