/**
 * The model `dax`: persistent memory behind volatile caches, a filesystem that journals metadata.
 * Lines of 64 bytes; a line that is not flushed, and then fenced by the same thread, may hold any of
 * its values since. Of the operations since the last commit a suffix is lost; a commit that kept the
 * others came after a fence, so that lines flushed before it are durable.
 */
import { FILESYSTEM_THREAD, type TraceEvent } from '../../trace/event.js';
import type { Fold, Operation } from '../fold/fold.js';
import type { PointSpace } from './model.js';
import { flushFloor } from '../fold/page_history.js';
import {
  type Choices,
  type Kept,
  keepPrefix,
  type Persistence,
  type PersistenceModel,
  SAME_PAGES,
  suffixChoices,
} from './persistence.js';

export const DAX: PersistenceModel = {
  name: 'dax',
  promise: 'flushed and fenced lines are durable; metadata is a prefix of its operations',
  begin: (fold) => new Dax(fold),
};

class Dax implements Persistence {
  readonly unitLines = 1;
  readonly order = 'free';

  constructor(private readonly fold: Fold) {}

  pointBefore({ type }: TraceEvent): PointSpace['reason'] | undefined {
    return type === 'fence' || type === 'commit' || type === 'output' ? type : undefined;
  }

  pointAfter(): undefined {
    return undefined;
  }

  settle(event: TraceEvent): void {
    if (event.type === 'fence') this.fold.pages.fence(this.fold.position, event.thread);
  }

  undecided(): Operation[] {
    return this.fold.operations(this.fold.committedCount);
  }

  choices(): Choices {
    return suffixChoices(this.fold.committedCount, this.fold.operationCount);
  }

  keep(lost: readonly number[]): Kept {
    const { fold } = this;
    const kept = keepPrefix(fold, lost);
    const { prefix } = kept.plan;
    // The latest moment before which the commit of what is kept may have fenced.
    const isCommitted = prefix === fold.committedCount;
    const fencedAt = isCommitted ? 0 : fold.operation(prefix - 1).position;
    return {
      ...kept,
      // A thread's own flushes wait for its own fence.
      floor: (_page, { entries }, line) =>
        flushFloor(entries, { line, thread: FILESYSTEM_THREAD, until: fencedAt }),
      ...SAME_PAGES,
    };
  }
}
