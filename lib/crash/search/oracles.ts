/**
 * What says that a crash state is bad: each oracle a pure function over what a run on the state
 * showed, and what is known about the crash point. The first that objects names the failure.
 */
import type { CheckOutcome, Observation } from './runner.js';

export type OracleName =
  | 'check' // exit status, signal or timeout of the check
  | 'continue'
  | 'acked' // an acknowledged line is not among those the check prints
  | 'atomic' // its output is neither that of before nor of after the operation in flight
  | 'synced' // after a completed sync, two states give two outputs
  | 'stale'; // bytes of another owner were shown

/** Runners cut output here; what was cut cannot be compared. */
export const OUTPUT_BYTES_MAX = 64 * 1024;

export type Expectation = 'acked' | 'atomic' | 'synced';

export interface OracleContext {
  expect: readonly Expectation[];
  acknowledged: readonly string[];
  /** What the check prints before and after the operation in flight; `atomic` needs it. */
  neighbours: readonly string[] | undefined;
  /** What it prints in the one state that a completed sync left; undefined where none just did. */
  syncedOutput: string | undefined;
}

export interface Verdict {
  oracle: OracleName;
  /** One line. */
  summary: string;
  outcome: CheckOutcome | null;
}

/** @returns undefined when nothing objects */
export function judge(observation: Observation, context: OracleContext): Verdict | undefined {
  return (
    judgeOutcomes(observation) ??
    judgeStale(observation) ??
    (context.expect.includes('acked') ? judgeAcked(observation, context) : undefined) ??
    (context.expect.includes('atomic') ? judgeAtomic(observation, context) : undefined) ??
    (context.expect.includes('synced') ? judgeSynced(observation, context) : undefined)
  );
}

export function judgeOutcomes({ outcomes }: Observation): Verdict | undefined {
  const bad = outcomes.find((outcome) => howItEnded(outcome) !== undefined);
  if (bad === undefined) return undefined;
  const what = PHASE_TEXT[bad.phase];
  const oracle = bad.phase === 'check' ? 'check' : 'continue';
  const said = lastLine(bad.stderr) || lastLine(bad.stdout);
  const summary = `${what} ${howItEnded(bad)}${said === '' ? '' : `: ${said}`}`;
  return { oracle, summary, outcome: bad };
}

const PHASE_TEXT: Record<CheckOutcome['phase'], string> = {
  check: 'the check',
  continue: 'the continued work',
  'check-again': 'the check after continued work',
};

function judgeStale({ stale }: Observation): Verdict | undefined {
  const [first] = stale;
  if (first === undefined) return undefined;
  const owner = first.ownerIno === 0 ? 'nobody' : `inode ${first.ownerIno}`;
  const summary = `inode ${first.ino} shows at page ${first.filePage} what ${owner} left there`;
  return { oracle: 'stale', summary, outcome: null };
}

function judgeAcked(observation: Observation, context: OracleContext): Verdict | undefined {
  const outcome = checkOutcome(observation);
  const printed = new Set(outcome.stdout.split('\n'));
  const lost = context.acknowledged.filter((line) => line !== '' && !printed.has(line));
  if (lost.length === 0) return undefined;
  const others = lost.length > 1 ? ` and ${lost.length - 1} more` : '';
  const summary = `acknowledged and lost: '${shorten(lost[0]!)}'${others}`;
  return { oracle: 'acked', summary, outcome };
}

function judgeAtomic(observation: Observation, context: OracleContext): Verdict | undefined {
  const outcome = checkOutcome(observation);
  const { neighbours } = context;
  if (neighbours === undefined || neighbours.includes(outcome.stdout)) return undefined;
  const wanted = [...new Set(neighbours)].map((text) => `'${shorten(text)}'`).join(' nor ');
  const summary = `the check prints '${shorten(outcome.stdout)}', neither ${wanted}`;
  return { oracle: 'atomic', summary, outcome };
}

function judgeSynced(observation: Observation, context: OracleContext): Verdict | undefined {
  const outcome = checkOutcome(observation);
  const { syncedOutput } = context;
  if (syncedOutput === undefined || outcome.stdout === syncedOutput) return undefined;
  const [found, wanted] = [shorten(outcome.stdout), shorten(syncedOutput)];
  const summary = `after a completed sync the check prints '${found}' instead of '${wanted}'`;
  return { oracle: 'synced', summary, outcome };
}

/** The first check of a run: what it prints is about the state as the crash left it. */
export function checkOutcome({ outcomes }: Observation): CheckOutcome {
  return outcomes[0]!;
}

/** `ended with status 1`; undefined when it passed. */
export function howItEnded(outcome: CheckOutcome): string | undefined {
  if (outcome.timedOut) return `did not end within ${Math.round(outcome.durationMs / 1000)} s`;
  if (outcome.signal !== null) return `was ended by ${outcome.signal}`;
  return outcome.exitStatus === 0 ? undefined : `ended with status ${outcome.exitStatus}`;
}

/** Whether two runs on one image agree, as far as an oracle looks. */
export function sameAnswer(a: Observation, b: Observation, looksAtOutput: boolean): boolean {
  const [first, second] = [judgeOutcomes(a), judgeOutcomes(b)];
  if (first?.outcome?.phase !== second?.outcome?.phase) return false;
  if (first?.outcome?.exitStatus !== second?.outcome?.exitStatus) return false;
  return !looksAtOutput || checkOutcome(a).stdout === checkOutcome(b).stdout;
}

/** Where most programs say what is wrong: a traceback and notices come before. */
function lastLine(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return shorten(lines.findLast((line) => line !== '') ?? '');
}

function shorten(text: string): string {
  const plain = text.replace(/\n+$/, '').replaceAll('\n', ' | ');
  return plain.length > 120 ? `${plain.slice(0, 119)}…` : plain;
}
