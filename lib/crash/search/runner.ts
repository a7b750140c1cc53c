/**
 * The port between the explorer and whatever runs a check on a crash state: real programs over the
 * explorer mount (fs/explorer), or a function over the state in tests.
 */
import type { CrashState } from '../state/state.js';
import type { TraceSource } from '../../trace/source.js';
import type { StalePage } from '../state/open_state.js';

export interface CheckOutcome {
  /** `continue` is the workload that goes on after a recovery that passed. */
  phase: 'check' | 'continue' | 'check-again';
  exitStatus: number | null;
  signal: string | null;
  timedOut: boolean;
  /** What it printed, cut to 64 KiB each. */
  stdout: string;
  stderr: string;
  durationMs: number;
}

export interface Observation {
  /** In the order they ran; the last one is the one that failed, if any did. */
  outcomes: CheckOutcome[];
  /**
   * Lines of the region that the run read before it overwrote them, ascending, each once. Pages
   * that the kernel read ahead are among them.
   */
  readLines: Float64Array;
  /** A read returned bytes nobody who may read that file ever wrote there: a canary. */
  stale: StalePage[];
  /** What the run did to the image, when it was asked to be recorded. */
  trace?: TraceSource;
}

export interface RunRequest {
  state: CrashState;
  /** Lines acknowledged before the crash. */
  acknowledged: string[];
  /** Record what the run does, for a crash inside it. */
  recorded?: boolean;
}

export interface Runner {
  /** Runs that go on at the same time. */
  readonly slotCount: number;
  /** At most slotCount at a time. Rejects only when it is broken: a failing check is an outcome. */
  run(request: RunRequest): Promise<Observation>;
  close(): Promise<void>;
}
