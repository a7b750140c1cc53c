/**
 * The words that all reports share: the verdict in one line, what an end means, what an oracle
 * looks for, and the rows of the table of counts.
 */
import type { ModelName } from '../../lib/crash/choice.js';
import type { EndName, FailureResult, ModelResult, Result } from '../../lib/crash/result/result.js';
import type { CheckOutcome } from '../../lib/crash/search/runner.js';
import { plural } from '../screen.js';
import type { OracleName } from '../../lib/crash/search/oracles.js';

/** Where no single order of calls is missing. */
export const UNKNOWN_NEED = 'nothing that one more sync would give';

export const END_MEANS: Record<EndName, string> = {
  'space-exhausted': 'every state that the model allows was run, or proved equal to one that was',
  'limit-reached': 'the limit of states was reached; more are possible',
  'time-exhausted': 'the time was up; more states are possible',
  'failure-found': 'ended at the failures asked for; more states are possible',
};

export const ORACLE_MEANS: Record<OracleName, string> = {
  check: 'the check succeeds in the crash state',
  continue: 'more work after recovery, and the check after it, succeed',
  acked: 'what was acknowledged is there',
  atomic: 'the check sees what was before, or after, the operation in flight',
  synced: 'after a completed sync there is one final state',
  stale: 'no file shows bytes that were never written to it',
};

export const MODEL_MEANS: Record<ModelName, string> = {
  dax: 'persistent memory: 64-byte lines are undecided until flushed and fenced',
  eadr: 'persistent memory whose caches survive: stores are durable in program order',
  sector: 'a disk with atomic 512-byte sectors and ordered data',
  posix: 'only what fsync and its kin promise',
};

/** One sentence: can a crash break it, and what does the answer cover. */
export function verdict(result: Result): string {
  if (result.failures.length > 0) {
    // Models that nothing broke are no part of the verdict; the table of counts has them.
    const { names, run, failed } = totals(result.models.filter((one) => one.states.failed > 0));
    return `a crash breaks it under ${names}: ${failed} of ${plural(run, 'crash state')} failed`;
  }
  const { names, run } = totals(result.models);
  if (result.end === 'space-exhausted') {
    return `no crash breaks it under ${names}: all states are covered, ${run} were run`;
  }
  return `no failure in ${plural(run, 'crash state')} under ${names}; not all were covered`;
}

function totals(models: readonly ModelResult[]): { names: string; run: number; failed: number } {
  const sum = (count: (one: ModelResult) => number): number =>
    models.reduce((total, one) => total + count(one), 0);
  return {
    names: models.map((one) => one.model).join(', '),
    run: sum((one) => one.states.run),
    failed: sum((one) => one.states.failed),
  };
}

/** `the check ended with status 1 after 12 ms`. */
export function describeOutcome(outcome: CheckOutcome): string {
  const who = {
    check: 'the check',
    continue: 'the continued work',
    'check-again': 'the check after continued work',
  }[outcome.phase];
  return `${who} ${howItEnded(outcome)} after ${formatMs(outcome.durationMs)}`;
}

function howItEnded(outcome: CheckOutcome): string {
  if (outcome.timedOut) return 'was killed, its time was up,';
  if (outcome.signal !== null) return `was ended by ${outcome.signal}`;
  return `ended with status ${outcome.exitStatus ?? '?'}`;
}

/** What happened; what is needed stands apart in a report. */
export function whatHappened({ explanation }: FailureResult): string {
  const { text, needs } = explanation;
  const at = text.lastIndexOf(`Needs: ${needs}`);
  return at < 0 || needs === '' ? text : text.slice(0, at).trimEnd();
}

export function describeVerified(failure: FailureResult): string {
  const { verified } = failure.explanation;
  if (verified === null) return 'not verified: that order could not be tried';
  const { states, failed, rest } = verified;
  if (failed === 0) {
    return `verified: with that order none of ${plural(states, 'state')} around it failed`;
  }
  const still = `with that order ${failed} of ${plural(states, 'state')} around it still failed`;
  if (rest === undefined) return `${still}: there is more`;
  const why = `${still}, for lack of ${rest.needs.join('; and of ')}`;
  if (rest.states === 0) return why;
  const both = rest.failed === 0 ? 'none failed' : `${rest.failed} failed, there is more`;
  return `${why}; with that too, of ${plural(rest.states, 'state')} ${both}`;
}

/** Rows of the table of counts: what, and its text for a model. */
export const COUNT_ROWS: [string, (one: ModelResult) => string][] = [
  ['states possible', (one) => formatCount(one.states.possible)],
  ['allowed by the model', (one) => formatCount(one.states.allowed)],
  ['unique images', (one) => formatCount(one.states.unique)],
  ['run', (one) => formatCount(one.states.run)],
  ['failed', (one) => formatCount(one.states.failed)],
  ['not run: same image', (one) => formatCount(one.states.prunedSameImage)],
  ['not run: differs unread', (one) => formatCount(one.states.prunedUnread)],
  ['crash points', (one) => formatCount(one.crashPoints)],
  ['crash points covered', (one) => formatCount(one.crashPointsExhausted)],
  ['time', (one) => formatMs(one.durationMs)],
  ['end', (one) => one.end],
];

/** More digits than this say nothing to a person. */
const DIGITS_MAX = 15;

/** `12,345`, or `about 3.2e41` for what nobody counts. */
export function formatCount(count: number | string): string {
  const digits = String(count);
  if (digits.length <= DIGITS_MAX) return digits.replace(/\B(?=(\d{3})+$)/g, ',');
  return `about ${digits[0]}.${digits[1]}e${digits.length - 1}`;
}

export function formatMs(ms: number): string {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}
