/**
 * One scenario, many rounds, with a bug switch or without: until a round cannot be explained, or there were
 * enough of them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Scenario } from '../../lib/race/scenario.js';
import { hintsOf } from './delays.js';
import { type Round, runRound } from './round.js';
import { Stage } from './stage.js';
import type { LiveViolation } from './violation.js';

export interface TrialWishes {
  roundsMax: number;
  milliseconds: number;
  seed: number;
  /** Whether the engine is held back at points. */
  delays: boolean;
  /** Absolute, in memory. */
  runDir: string;
  signal: AbortSignal;
  progress(rounds: number): void;
}

export interface Trial {
  scenario: Scenario;
  bug: string | undefined;
  rounds: number;
  milliseconds: number;
  /** Of the round that found something, when one did. */
  found?: Round;
  /** What was wrong: with that round, or with what all of them left behind. */
  violation?: LiveViolation;
}

/** @throws what has nothing to do with the filesystem: no FUSE, no space */
export async function runTrial(
  scenario: Scenario,
  bug: string | undefined,
  wishes: TrialWishes,
): Promise<Trial> {
  const dir = mkdtempSync(join(wishes.runDir, 'live-'));
  const hints = wishes.delays ? hintsOf(scenario) : undefined;
  const beginMs = performance.now();
  const stage = await Stage.make(scenario, bug, dir);
  let rounds = 0;
  let found: Round | undefined;
  let violation: LiveViolation | undefined;
  try {
    while (rounds < wishes.roundsMax && performance.now() - beginMs < wishes.milliseconds) {
      wishes.signal.throwIfAborted();
      rounds += 1;
      const round = await runRound(stage, scenario, {
        number: rounds,
        seed: wishes.seed + rounds,
        hints,
      });
      wishes.progress(rounds);
      if (round.violation === undefined) continue;
      found = round;
      violation = round.violation;
      break;
    }
    if (found === undefined) violation = await stage.close();
    else await stage.abandon();
  } catch (error) {
    await stage.abandon();
    throw error;
  }
  rmSync(dir, { recursive: true, force: true });
  const milliseconds = performance.now() - beginMs;
  return {
    scenario,
    bug,
    rounds,
    milliseconds,
    ...(found === undefined ? {} : { found }),
    ...(violation === undefined ? {} : { violation }),
  };
}
