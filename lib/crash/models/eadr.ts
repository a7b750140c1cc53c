/**
 * The model `eadr`: caches are inside the persistence domain, so that every store is durable, in
 * program order, as soon as it is made; inside a store of several lines a prefix of them. Metadata
 * as in `dax`.
 */
import type { TraceEvent } from '../../trace/event.js';
import type { Fold, Operation } from '../fold/fold.js';
import type { PointSpace } from './model.js';
import {
  type Choices,
  type Kept,
  keepPrefix,
  type Persistence,
  type PersistenceModel,
  SAME_PAGES,
  suffixChoices,
} from './persistence.js';

/** Stores after which the pages they changed get new durable versions. */
const STORES_MAX = 64;

export const EADR: PersistenceModel = {
  name: 'eadr',
  promise: 'every store is durable in program order; metadata is a prefix of its operations',
  begin: (fold) => new Eadr(fold),
};

class Eadr implements Persistence {
  readonly unitLines = 1;
  readonly order = 'prefix';
  /** Right after a store, the position before it: only that one may be there in part. */
  private durableAt = 0;
  private stores = 0;

  constructor(private readonly fold: Fold) {}

  pointBefore({ type }: TraceEvent): PointSpace['reason'] | undefined {
    return type === 'commit' || type === 'output' ? type : undefined;
  }

  pointAfter({ type }: TraceEvent): PointSpace['reason'] | undefined {
    return type === 'store' ? type : undefined;
  }

  settle({ type }: TraceEvent): void {
    const { fold } = this;
    if (type === 'store') {
      this.durableAt = fold.position - 1;
      this.stores++;
      return;
    }
    this.durableAt = fold.position;
    if (type === 'fence' || this.stores > STORES_MAX) {
      this.stores = 0;
      fold.pages.force(fold.position, fold.pages.undecidedPages());
    }
  }

  undecided(): Operation[] {
    return this.fold.operations(this.fold.committedCount);
  }

  choices(): Choices {
    return suffixChoices(this.fold.committedCount, this.fold.operationCount);
  }

  keep(lost: readonly number[]): Kept {
    const { durableAt } = this;
    return { ...keepPrefix(this.fold, lost), floor: () => durableAt, ...SAME_PAGES };
  }
}
