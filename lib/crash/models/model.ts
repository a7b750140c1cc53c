/**
 * A persistence model: which states a power cut at one position may leave. SPEC.md has the rules of
 * each by name. A model sees the fold at one position and answers in two steps: which sets of
 * metadata operations may be lost, and, for one such set, which lines are undecided and which values
 * each may have. The explorer chooses; models never do.
 */
import type { ModelName } from '../choice.js';
import type { Operation } from '../fold/fold.js';

/** The smallest thing that is kept or lost of the data: one line, or one sector of 8 lines. */
export interface LineUnit {
  /** First line: region offset / 64. */
  line: number;
  lineCount: number;
  /** Values 0 (durable) .. valueCount-1 (newest). At least 2. */
  valueCount: number;
  /** callIds[i] stored value i+1. */
  callIds: number[];
  /** The file page that shows it, in the metadata of this choice. */
  ino: number;
  filePage: number;
}

export interface MetadataChoice {
  /** As in StateChoice. */
  lostOperations: number[];
}

export interface DataSpace {
  /**
   * In ascending line order. Only what the chosen metadata shows: lines of pages that no written
   * extent maps differ in no state that anybody can see.
   */
  units: LineUnit[];
  /** free: every unit has any value. prefix: a unit is newest only if all before it in `units` are. */
  order: 'free' | 'prefix';
}

/** What a model allows at one position. Valid while the explorer works on this position. */
export interface PointSpace {
  position: number;
  /** Why the power is cut here: what comes next, or what came last. */
  reason: 'fence' | 'commit' | 'output' | 'store' | 'end';
  /** Operations that are not decided, oldest first. */
  operations: Operation[];
  /**
   * Every allowed set of lost operations, each once; the one that loses nothing comes first, the
   * one that loses all that may be lost second.
   */
  metadataChoices(): Iterable<MetadataChoice>;
  /** How many metadataChoices() gives. */
  metadataChoiceCount: bigint;
  /** Product of all undecided operations and lines, whether the model allows it or not. */
  possibleStates(): bigint;
  data(choice: MetadataChoice): DataSpace;
}

export interface Model {
  readonly name: ModelName;
  /** One sentence for a report. */
  readonly promise: string;
}
