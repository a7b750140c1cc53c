/**
 * The failures of an exploration: tells new ones from those that are known in another state, and
 * makes of each new one what a person can use.
 */
import type { TraceSource } from '../trace/source.js';
import type { Exploration, Failing } from './exploration.js';
import type { ExploreOptions, Progress } from './explorer.js';
import { failureId } from './failure_id.js';
import { stateOf } from './points.js';
import type { FailureResult } from './result.js';
import type { Runner } from './runner.js';

export interface FailureBookParts {
  source: TraceSource;
  runner: Runner;
  options: ExploreOptions;
  onPhase: (phase: Progress['phase']) => void;
  onProgress: () => void;
}

export class FailureBook {
  readonly results: FailureResult[] = [];
  /** Failing states that nobody looked into. */
  unexplained = 0;

  constructor(private readonly parts: FailureBookParts) {}

  /** @returns false when more are not wanted */
  async add(failing: Failing, _exploration: Exploration): Promise<boolean> {
    const { choice, verdict } = failing;
    const known = this.results.find(({ oracle }) => oracle === verdict.oracle);
    if (known !== undefined) {
      known.similar++;
    } else {
      const state = stateOf(this.parts.source, choice);
      const imageHash = state.imageHash();
      state.release();
      this.results.push({
        id: failureId(choice, imageHash),
        oracle: verdict.oracle,
        models: [choice.model],
        choice,
        imageHash,
        summary: verdict.summary,
        outcome: verdict.outcome,
        explanation: { text: verdict.summary, lost: [], survived: [], needs: '', verified: null },
        files: [],
        similar: 1,
      });
    }
    return this.results.length < this.parts.options.failuresMax;
  }
}
