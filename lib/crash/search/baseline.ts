/**
 * Whether a check can be trusted with crash states: it must pass where nothing was lost and on the
 * empty start, and say the same when it is asked twice.
 */
import type { TraceSource } from '../../trace/source.js';
import {
  checkOutcome,
  type Expectation,
  howItEnded,
  judge,
  judgeOutcomes,
  OUTPUT_BYTES_MAX,
} from './oracles.js';
import type { Observation, Runner } from './runner.js';
import type { CrashState } from '../state/state.js';

/** The check is broken: it fails where nothing was lost, or on the empty start. */
export class BrokenCheckError extends Error {
  override readonly name = 'BrokenCheckError';
}

interface BaselineParts {
  source: TraceSource;
  runner: Runner;
  expect: readonly Expectation[];
  /** Nothing lost, at the end. */
  finalState: CrashState;
  /** Before the first event. */
  startState: CrashState;
  acknowledged: readonly string[];
}

/** @throws {BrokenCheckError} with what the check printed */
export async function checkBaseline(parts: BaselineParts): Promise<void> {
  const { runner, expect, finalState, startState } = parts;
  const acknowledged = [...parts.acknowledged];
  const final = await runner.run({ state: finalState, acknowledged });
  refuseFailing(final, 'on the final state, where nothing was lost');
  refuseCut(final, expect);
  const unmet = judge(final, {
    expect: expect.filter((name) => name === 'acked'),
    acknowledged,
    neighbours: undefined,
    syncedOutput: undefined,
  });
  if (unmet?.oracle === 'acked') {
    const text = `the check does not print what was acknowledged, where nothing was lost`;
    throw new BrokenCheckError(`${text} (${unmet.summary})${printed(final)}`);
  }
  const again = await runner.run({ state: finalState, acknowledged });
  refuseFailing(again, 'on the final state, at the second time');
  const comparesOutput = expect.includes('atomic') || expect.includes('synced');
  if (comparesOutput && checkOutcome(again).stdout !== checkOutcome(final).stdout) {
    const text = 'the check prints something else each time, on the same final state';
    throw new BrokenCheckError(`${text}${printed(final)}${printed(again)}`);
  }
  const start = await runner.run({ state: startState, acknowledged: [] });
  refuseFailing(start, 'on the empty start, before the workload did anything');
}

function refuseFailing(observation: Observation, where: string): void {
  const verdict = judgeOutcomes(observation);
  if (verdict?.outcome == null) return;
  const { phase } = verdict.outcome;
  const what = phase === 'continue' ? 'the continued work' : 'the check';
  const how = howItEnded(verdict.outcome);
  throw new BrokenCheckError(`${what} ${how} ${where}${printed(observation)}`);
}

function refuseCut(observation: Observation, expect: readonly Expectation[]): void {
  if (expect.length === 0) return;
  if (Buffer.byteLength(checkOutcome(observation).stdout) < OUTPUT_BYTES_MAX) return;
  const size = `${OUTPUT_BYTES_MAX / 1024} KiB`;
  throw new BrokenCheckError(
    `the check prints ${size} or more, too much to compare (${expect.join(', ')})`,
  );
}

/** What the last command of a run printed, indented; empty when nothing. */
function printed({ outcomes }: Observation): string {
  const { stdout, stderr } = outcomes.at(-1)!;
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line.trim() !== '');
  return lines
    .slice(-20)
    .map((line) => `\n  ${line}`)
    .join('');
}
