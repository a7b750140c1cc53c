/** Interface only while it is built; see the contract. */
import type { TraceSource } from '../trace/source.js';
import type { ModelName, StateChoice } from './choice.js';
import type { Result } from './result.js';
import type { Runner } from './runner.js';

export interface ExploreOptions {
  models: ModelName[];
  check: string;
  continue: string | null;
  /** Oracles beside check, continue and stale, which are always on. */
  expect: ('acked' | 'atomic' | 'synced')[];
  seed: number;
  /** Limits; undefined is none. */
  statesMax: number | undefined;
  secondsMax: number | undefined;
  shard: { index: number; count: number };
  /** Crashes inside recovery, this deep. */
  nestedDepth: number;
  /** 8: values in which only the first words of a line are new are possible too. */
  tornBytes: 8 | undefined;
  /** Go on after the first failure, to this many different ones. */
  failuresMax: number;
  onProgress?: (progress: Progress) => void;
  /** ^C: the run ends with what it has. */
  signal?: AbortSignal;
}

export interface Progress {
  phase: 'baseline' | 'exploring' | 'minimising' | 'verifying';
  model: ModelName;
  considered: number;
  run: number;
  unique: number;
  failing: number;
  crashPoints: { done: number; total: number };
  perSecond: number;
  secondsLeft: number | null;
}

/** The check is broken: it fails where nothing was lost, or on the empty start. */
export class BrokenCheckError extends Error {
  override readonly name = 'BrokenCheckError';
}

export declare function explore(
  source: TraceSource,
  runner: Runner,
  options: ExploreOptions,
): Promise<Result>;

/** The state that a choice names. */
export declare function stateOf(
  source: TraceSource,
  choice: StateChoice,
): import('./state.js').CrashState;
