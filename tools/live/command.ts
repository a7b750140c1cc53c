/**
 * `fauxdax race --live`: the scenarios of the race lab as real processes under `fauxdax run`, each with its
 * bug switch, where a round must come to show it, and without, where no round may. The lab says what
 * must come out: the verdicts have to be the same.
 */
import { createLogUpdate } from 'log-update';
import { BUG_NAMES } from '../../lib/dax/bugs.js';
import type { Scenario } from '../../lib/race/scenario.js';
import { UsageError } from '../../fs/options.js';
import { assertKernel } from '../direct.js';
import { EXIT_FAILURE } from '../failure.js';
import { type Run, inRunDirectory } from '../run_directory.js';
import { color, printJson } from '../screen.js';
import { eventJson, roundText } from './report.js';
import { runTrial, type Trial } from './trial.js';

export interface LiveWishes {
  scenarios: readonly Scenario[];
  /** Only with this switch, or only without any (false); both unless given. */
  bug?: string | false;
  rounds: number;
  seconds: number;
  seed: number;
  delays: boolean;
  json: boolean;
}

const WRITE_MS_MIN = 100;
/** With a bug that many times as many rounds at most: the first that shows it is the last. */
const BUG_ROUNDS = 10;

/** Ends with the exit status: 0 as it must be, 1 not. */
export async function raceLive(wishes: LiveWishes): Promise<void> {
  if (typeof wishes.bug === 'string' && !BUG_NAMES.includes(wishes.bug)) {
    throw new UsageError(
      `race: unknown bug switch '${wishes.bug}': one of ${BUG_NAMES.join(', ')}`,
    );
  }
  assertKernel('race');
  await inRunDirectory((run) => runAll(wishes, run), { inMemory: true });
}

async function runAll(wishes: LiveWishes, run: Run): Promise<number> {
  const isOne = wishes.scenarios.length === 1;
  const rows: Row[] = [];
  const update = process.stderr.isTTY === true ? createLogUpdate(process.stderr) : undefined;
  let writtenMs = 0;
  if (!wishes.json) process.stdout.write(rowText(HEAD));
  for (const scenario of wishes.scenarios) {
    for (const bug of bugsOf(scenario, wishes.bug)) {
      const trial = await runTrial(scenario, bug, {
        roundsMax: wishes.rounds * (bug === undefined ? 1 : BUG_ROUNDS),
        milliseconds: wishes.seconds * 1000,
        seed: wishes.seed,
        delays: wishes.delays,
        runDir: run.runDir,
        signal: run.signal,
        progress: (rounds) => {
          if (performance.now() - writtenMs < WRITE_MS_MIN) return;
          writtenMs = performance.now();
          const what = `${scenario.name}${bug === undefined ? '' : ` with ${bug}`}`;
          update?.(color.dim(`fauxdax: ${what}: round ${rounds}`));
        },
      });
      update?.clear();
      const row = rowOf(trial);
      rows.push(row);
      if (wishes.json) continue;
      if (trial.violation !== undefined && (isOne || !row.isRight))
        process.stdout.write(storyText(trial));
      process.stdout.write(rowText(wordsOf(row)));
    }
  }
  update?.done();
  if (wishes.json) printJson(rows.map(rowJson));
  return rows.every(({ isRight }) => isRight) ? 0 : EXIT_FAILURE;
}

function bugsOf(scenario: Scenario, wish: string | false | undefined): (string | undefined)[] {
  if (typeof wish === 'string') return [wish];
  if (wish === false || scenario.bug === undefined) return [undefined];
  return [scenario.bug, undefined];
}

interface Row {
  trial: Trial;
  /** What the lab finds: with the scenario's bug something, without it nothing. */
  labFinds: boolean;
  /** As it must be. */
  isRight: boolean;
}

function rowOf(trial: Trial): Row {
  const labFinds = trial.bug !== undefined;
  return { trial, labFinds, isRight: labFinds === (trial.violation !== undefined) };
}

const HEAD = ['', 'scenario', 'bug', 'lab', 'live', 'rounds', 's'];
const WIDTHS = [4, 22, 20, 8, 14, 7, 7];

function wordsOf({ trial, labFinds, isRight }: Row): string[] {
  const { scenario, bug, rounds, milliseconds, violation } = trial;
  return [
    isRight ? 'same' : 'NOT',
    scenario.name,
    bug ?? '-',
    labFinds ? 'found' : 'absent',
    violation === undefined ? 'absent' : violation.invariant,
    String(rounds),
    (milliseconds / 1000).toFixed(1),
  ];
}

/** Written as soon as it is known: all of them take minutes. */
function rowText(words: readonly string[]): string {
  const cells = words.map((word, column) => {
    const width = WIDTHS[column]!;
    return column < 5 ? word.padEnd(width) : word.padStart(width);
  });
  return `${cells.join(' ').trimEnd()}\n`;
}

function storyText({ scenario, bug, found, violation }: Trial): string {
  const what = `${scenario.name}${bug === undefined ? '' : ` with ${bug}`}`;
  if (found === undefined) return `${what}: ${violation!.invariant}: ${violation!.message}\n`;
  const head = `${what}: round ${found.number}, seed ${found.seed}; times in ms`;
  return `\n${head}\n\n${roundText(scenario, found)}\n${violation!.invariant}: ${violation!.message}\n\n`;
}

function rowJson({ trial, labFinds, isRight }: Row): object {
  const { scenario, bug, rounds, milliseconds, found, violation } = trial;
  return {
    scenario: scenario.name,
    bug: bug ?? null,
    lab: labFinds ? 'found' : 'absent',
    live: violation === undefined ? 'absent' : 'found',
    isRight,
    rounds,
    milliseconds,
    broke: violation ?? null,
    round:
      found === undefined
        ? null
        : {
            number: found.number,
            seed: found.seed,
            events: found.events.map((event) => eventJson(event, found.startNs)),
          },
  };
}
