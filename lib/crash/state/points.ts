/**
 * The crash points of a trace under one model, in order, in one streaming pass. State sets only
 * grow between the events that make something durable, and what must survive grows with each
 * acknowledgement; so a point is the moment right before such an event, when anything was stored,
 * done or acknowledged since the last point, the end of the workload, and the end of the trace.
 */
import assert from 'node:assert/strict';
import type { TraceEvent } from '../../trace/event.js';
import type { TraceSource } from '../../trace/source.js';
import type { ModelName, StateChoice } from '../choice.js';
import { DatabaseStore } from '../fold/database_store.js';
import { Fold, type Operation } from '../fold/fold.js';
import { FoldedState } from './folded_state.js';
import { type Anchor, Ground, type GroundParts } from './ground.js';
import { SumAnchor } from './image_hash.js';
import type { DataSpace, MetadataChoice, PointSpace } from '../models/model.js';
import { MODELS } from '../models/index.js';
import type { Choices, Persistence } from '../models/persistence.js';
import type { CrashState } from './state.js';

/** Grounds of a point that are kept: one for each set of lost operations asked for lately. */
const GROUNDS_MAX = 16;

export interface PointOptions {
  tornBytes?: 8 | undefined;
}

export interface Point extends PointSpace {
  /** In order, from 0. */
  index: number;
  /** Lines that the program had printed or marked. */
  acknowledged: readonly string[];
  /** The last call that anything came from. */
  lastCallId: number;
  /** The state that a choice for this position names; it lives until its release(). */
  state(choice: StateChoice): CrashState;
}

/** Valid until the next one is taken; states made from it live until release(). */
export function* points(
  source: TraceSource,
  model: ModelName,
  options: PointOptions = {},
): Generator<Point> {
  const sweep = new Sweep(source, model, options.tornBytes);
  let hasGrown = true;
  let index = 0;
  for (const event of source.events()) {
    const before = sweep.persistence.pointBefore(event);
    const isEnd = event.type === 'workload-end';
    if (isEnd || (before !== undefined && hasGrown)) {
      hasGrown = false;
      yield sweep.point(index++, before ?? 'end');
    }
    sweep.take(event);
    const after = sweep.persistence.pointAfter(event);
    if (after !== undefined) {
      hasGrown = false;
      yield sweep.point(index++, after);
    } else {
      hasGrown ||= grows(event);
    }
  }
  if (hasGrown || index === 0) yield sweep.point(index, 'end');
}

/** The state of one choice: the same bytes and the same hash as the Point's, whoever asks. */
export function stateOf(source: TraceSource, choice: StateChoice): CrashState {
  return pointAt(source, choice).state(choice);
}

/** Any moment of the trace; the power may go at all of them. Its index says nothing. */
export function pointAt(
  source: TraceSource,
  { model, position, tornBytes }: Pick<StateChoice, 'model' | 'position' | 'tornBytes'>,
): Point {
  const sweep = new Sweep(source, model, tornBytes);
  if (position > 0) {
    for (const event of source.events()) {
      sweep.take(event);
      if (sweep.fold.position === position) break;
    }
  }
  assert(sweep.fold.position === position, `the trace has no position ${position}`);
  return sweep.point(0, 'end');
}

/** More states are possible after it, or more must survive. */
function grows({ type }: TraceEvent): boolean {
  return type === 'store' || type === 'metadata' || type === 'output';
}

class Sweep {
  readonly fold: Fold;
  readonly persistence: Persistence;
  private readonly databases: DatabaseStore;
  private readonly anchor: SumAnchor;

  constructor(
    source: TraceSource,
    readonly model: ModelName,
    readonly tornBytes: 8 | undefined,
  ) {
    this.fold = new Fold(source.base);
    this.persistence = MODELS[model].begin(this.fold);
    this.databases = new DatabaseStore(this.fold);
    this.anchor = new SumAnchor(this.fold.pages, this.fold.owners, this.fold.catalog(0));
  }

  take(event: TraceEvent): void {
    this.fold.take(event);
    this.persistence.settle(event);
  }

  point(index: number, reason: PointSpace['reason']): Point {
    const { fold } = this;
    this.anchor.moveTo(fold.catalog(fold.operationCount), fold.position);
    return new SweepPoint(this, index, reason);
  }

  newGround(
    lost: readonly number[],
    { undecidedPages, newest }: Pick<GroundParts, 'undecidedPages'> & Pick<Anchor, 'newest'>,
  ): Ground {
    const { fold, persistence, tornBytes } = this;
    const { unitLines, order } = persistence;
    return new Ground(fold, {
      ...persistence.keep(lost),
      position: fold.position,
      unitLines,
      order,
      tornBytes,
      undecidedPages,
      anchor: { sum: this.anchor.sum, catalog: this.anchor.catalog, newest },
    });
  }

  newState(ground: Ground, choice: StateChoice): CrashState {
    return new FoldedState(this.fold, this.databases, ground, choice);
  }
}

class SweepPoint implements Point {
  readonly position: number;
  readonly lastCallId: number;
  private readonly acknowledgedCount: number;
  private knownChoices: Choices | undefined;
  private knownOperations: Operation[] | undefined;
  readonly undecidedPages: readonly number[];
  readonly newest: Anchor['newest'] = { sum: undefined };
  private readonly grounds = new Map<string, Ground>();

  constructor(
    private readonly sweep: Sweep,
    readonly index: number,
    readonly reason: PointSpace['reason'],
  ) {
    const { fold } = sweep;
    this.position = fold.position;
    this.acknowledgedCount = fold.acknowledged.length;
    this.lastCallId = fold.lastCallId;
    this.undecidedPages = fold.pages.undecidedPages();
  }

  get acknowledged(): readonly string[] {
    return this.sweep.fold.acknowledged.slice(0, this.acknowledgedCount);
  }

  get operations(): Operation[] {
    this.knownOperations ??= this.sweep.persistence.undecided();
    return this.knownOperations;
  }

  private get choices(): Choices {
    this.knownChoices ??= this.sweep.persistence.choices();
    return this.knownChoices;
  }

  get metadataChoiceCount(): bigint {
    return this.choices.count;
  }

  metadataChoices(): Iterable<MetadataChoice> {
    return this.choices.list();
  }

  possibleStates(): bigint {
    const [none, all] = this.metadataChoices();
    const operations = 2n ** BigInt(this.operations.length);
    return operations * this.ground((all ?? none)!.lostOperations).valueProduct();
  }

  data(choice: MetadataChoice): DataSpace {
    return this.ground(choice.lostOperations).data();
  }

  state(choice: StateChoice): CrashState {
    const { model, tornBytes } = this.sweep;
    assert(
      choice.model === model && choice.position === this.position,
      'a choice of another point',
    );
    // The numbers of values depend on it: part of the name of the state.
    const named = tornBytes === undefined ? choice : { ...choice, tornBytes };
    return this.sweep.newState(this.ground(choice.lostOperations), named);
  }

  private ground(lost: readonly number[]): Ground {
    assert(this.sweep.fold.position === this.position, 'the point is gone');
    const key = lost.join();
    let ground = this.grounds.get(key);
    if (ground === undefined) {
      ground = this.sweep.newGround(lost, this);
      this.grounds.set(key, ground);
      const [oldest] = this.grounds.keys();
      if (this.grounds.size > GROUNDS_MAX) this.grounds.delete(oldest!);
    }
    return ground;
  }
}
