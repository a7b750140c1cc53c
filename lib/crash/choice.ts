/**
 * One crash state by name: where the power went, and what it took. A choice and the trace it
 * belongs to give the same bytes for ever; it is what an id stands for and what a report prints.
 */

export const MODEL_NAMES = ['dax', 'sector', 'posix', 'eadr'] as const;
export type ModelName = (typeof MODEL_NAMES)[number];

export interface StateChoice {
  model: ModelName;
  /** Events [0, position) happened. */
  position: number;
  /**
   * Metadata operations that were lost, by their number in the trace (0 is the first group of
   * records that ends with `end-operation`), ascending. All other ones before `position` are kept.
   */
  lostOperations: number[];
  /** Undecided lines that are not named below take their newest, or their durable value. */
  otherLines: 'newest' | 'durable';
  /**
   * Line (region offset / 64; the first of a sector) to the number of the value it has: 0 the
   * durable one, n the value after the n-th store to it since. Ascending lines.
   */
  lines: [line: number, value: number][];
  /** Values are numbered with torn ones in between: SPEC.md, Persistence models. */
  tornBytes?: 8;
  /** Crash inside the recovery that ran on this state: choices in the trace of that recovery. */
  nested?: StateChoice;
}
