/**
 * `fauxdax race`: the historical races of the DAX fault path, found, printed, and proved absent: the
 * production engine under every interleaving of small scenarios (lib/race). Nothing is mounted.
 */
import { Command, Option } from 'commander';
import { writeFileSync } from 'node:fs';
import { BUG_NAMES } from '../../lib/dax/bugs.js';
import { columnsText } from '../../lib/race/columns.js';
import type { Exploration, ExploreOptions } from '../../lib/race/explorer.js';
import { formatReplayId, parseReplayId } from '../../lib/race/replay_id.js';
import type { Scenario } from '../../lib/race/scenario.js';
import { SCENARIOS, scenarioOf } from '../../lib/race/scenarios.js';
import { exhaust, find, scheduleOf } from '../../lib/race/search.js';
import { type Story, tell } from '../../lib/race/story.js';
import { UsageError } from '../../fs/options.js';
import { EXIT_FAILURE } from '../failure.js';
import { storyPage } from '../report/race.js';
import { plural, printJson, table } from '../screen.js';

const SECONDS = 60;

interface Options {
  bug?: string;
  depth?: number;
  seconds: number;
  seed?: number;
  preemptions?: number;
  reduction: boolean;
  all?: true;
  json?: true;
  html?: string;
}

export function raceCommand(): Command {
  return new Command('race')
    .description('explore every interleaving of faults, stores and calls in small scenarios')
    .argument('[SCENARIO|replay]', 'a scenario; none lists them; replay: run one schedule again')
    .argument('[ID]', 'for replay: as a counterexample names itself')
    .option('--all', 'each scenario with its bug, which must be found, and without')
    .option('--bug <NAME>', 'with a bug switch of the engine on')
    .option('--seconds <N>', 'stop after that long', positive, SECONDS)
    .option('--depth <N>', 'no schedule longer than so many steps', positive)
    .option('--preemptions <N>', 'only schedules with so few', count)
    .option('--seed <N>', 'random schedules instead of all', count)
    .addOption(new Option('--no-reduction', 'try every order of every two steps'))
    .option('--json', 'print the result as JSON')
    .option('--html <FILE>', 'write the counterexample as a page with its page tables')
    .addHelpText(
      'after',
      `
Bug switches: ${BUG_NAMES.join(', ')}.

A run ends as space-exhausted (all was tried), failure-found, limit-reached or time-exhausted.
Exit status: 0 nothing was found, 1 something was found (with --all: not as it must be), 2 usage.

Examples:
  fauxdax race
  fauxdax race hole-fault-race --bug hole-fault-race
  fauxdax race --all`,
    )
    .action(race);
}

function race(name: string | undefined, id: string | undefined, options: Options): void {
  if (options.all === true) {
    all(options);
  } else if (name === undefined) {
    list(options);
  } else if (name === 'replay') {
    if (id === undefined) throw new UsageError('race: replay: which? give the id that was printed');
    replay(id, options);
  } else {
    one(name, options);
  }
}

function one(name: string, options: Options): void {
  const scenario = known(name);
  const { bug } = options;
  if (bug !== undefined && !BUG_NAMES.includes(bug)) {
    throw new UsageError(`race: unknown bug switch '${bug}': one of ${BUG_NAMES.join(', ')}`);
  }
  const result = explore(scenario, bug, options);
  const { failure } = result;
  if (failure !== undefined) process.exitCode = EXIT_FAILURE;
  const replayId =
    failure && formatReplayId({ scenario: scenario.name, bug, actors: failure.actors });
  const story = failure && tell(scheduleOf(scenario, bug), failure.actors);
  if (story !== undefined && options.html !== undefined) {
    writeFileSync(options.html, storyPage(scenario, bug, story, replayId!));
  }
  if (options.json === true) {
    printJson({
      scenario: scenario.name,
      bug: bug ?? null,
      ...countsOf(result),
      ...storyJson(story),
      replay: replayId ?? null,
    });
    return;
  }
  if (story !== undefined) process.stdout.write(`${columnsText(story)}\n`);
  process.stdout.write(
    `${scenario.name}${bug === undefined ? '' : ` with ${bug}`}: ${endText(result)}\n`,
  );
  if (replayId !== undefined) process.stdout.write(`again: fauxdax race replay ${replayId}\n`);
}

function explore(scenario: Scenario, bug: string | undefined, options: Options): Exploration {
  const limits: ExploreOptions = {
    now: () => performance.now(),
    milliseconds: options.seconds * 1000,
    ...(options.depth === undefined ? {} : { stepsMax: options.depth }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.preemptions === undefined ? {} : { preemptionsMax: options.preemptions }),
    ...(options.reduction ? {} : { reducesOrders: false, cutsStates: false }),
  };
  const isPlain = options.seed === undefined && options.preemptions === undefined;
  const schedule = scheduleOf(scenario, bug);
  return bug !== undefined && isPlain && options.reduction
    ? find(schedule, limits)
    : exhaust(schedule, limits);
}

function list(options: Options): void {
  if (options.json === true) {
    printJson(
      SCENARIOS.map(({ name, title, bug, seed }) => ({
        name,
        title,
        bug: bug ?? null,
        seed: seed?.file ?? null,
      })),
    );
    return;
  }
  const rows = SCENARIOS.map(({ name, bug, seed, threads, title }) => [
    name,
    seed?.file.slice(0, 3) ?? '',
    bug ?? '',
    threads.map(({ script }) => script.length).join('+'),
    title,
  ]);
  process.stdout.write(table(['scenario', 'seed', 'bug', 'script', 'what happens'], rows));
}

const WIDTHS = { scenario: 22, bug: 22, end: 16, broke: 11 };

function all(options: Options): void {
  const results: object[] = [];
  let isAsExpected = true;
  if (options.json !== true)
    process.stdout.write(allRow(['', 'scenario', 'bug', 'end', 'broke'], COUNTS));
  for (const scenario of SCENARIOS) {
    for (const bug of scenario.bug === undefined ? [undefined] : [scenario.bug, undefined]) {
      const result = explore(scenario, bug, options);
      const isRight = result.end === (bug === undefined ? 'space-exhausted' : 'failure-found');
      isAsExpected &&= isRight;
      results.push({ scenario: scenario.name, bug: bug ?? null, isRight, ...countsOf(result) });
      if (options.json === true) continue;
      const broke = result.failure?.violation.invariant ?? '';
      const { steps, states, schedules, depth, milliseconds } = result;
      const counts = [schedules, states, depth, steps, (milliseconds / 1000).toFixed(1)];
      process.stdout.write(
        allRow([isRight ? 'ok' : 'WRONG', scenario.name, bug ?? '-', result.end, broke], counts),
      );
    }
  }
  if (!isAsExpected) process.exitCode = EXIT_FAILURE;
  if (options.json === true) printJson(results);
}

const COUNTS = ['schedules', 'states', 'depth', 'steps', 's'];

/** Written as soon as it is known: all of them take minutes. */
function allRow(words: string[], counts: (string | number)[]): string {
  const [ok = '', scenario = '', bug = '', end = '', broke = ''] = words;
  const left = [
    ok.padEnd(5),
    scenario.padEnd(WIDTHS.scenario),
    bug.padEnd(WIDTHS.bug),
    end.padEnd(WIDTHS.end),
    broke.padEnd(WIDTHS.broke),
  ];
  return `${[...left, ...counts.map((one) => String(one).padStart(9))].join(' ')}\n`;
}

function replay(id: string, options: Options): void {
  const { scenario: name, bug, actors } = parsed(id);
  const scenario = known(name);
  const story = told(scenario, bug, actors);
  if (options.html !== undefined) writeFileSync(options.html, storyPage(scenario, bug, story, id));
  if (story.violation !== undefined) process.exitCode = EXIT_FAILURE;
  if (options.json === true) {
    printJson(storyJson(story));
    return;
  }
  process.stdout.write(columnsText(story));
  if (story.violation === undefined) process.stdout.write('\nevery invariant held\n');
}

function told(scenario: Scenario, bug: string | undefined, actors: readonly number[]): Story {
  try {
    return tell(scheduleOf(scenario, bug), actors);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`race: replay: ${error.message}`);
    throw error;
  }
}

function parsed(id: string): ReturnType<typeof parseReplayId> {
  try {
    return parseReplayId(id);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`race: ${error.message}`);
    throw error;
  }
}

function known(name: string): Scenario {
  try {
    return scenarioOf(name);
  } catch (error) {
    if (error instanceof RangeError) {
      throw new UsageError(`race: ${error.message}: fauxdax race lists them`);
    }
    throw error;
  }
}

function countsOf(result: Exploration): object {
  const { failure, ...counts } = result;
  return { ...counts, broke: failure?.violation.invariant ?? null };
}

function storyJson(story: Story | undefined): object {
  if (story === undefined) return {};
  const { steps, violation, cut } = story;
  return {
    columns: story.columns,
    steps: steps.map(({ column, label, notes, after }) => ({ column, label, notes, after })),
    cut: cut ?? null,
    broke:
      violation === undefined
        ? null
        : { invariant: violation.invariant, message: violation.message },
  };
}

function endText(result: Exploration): string {
  const { end, schedules, states, depth, steps, milliseconds, cuts } = result;
  const rate = Math.round(steps / Math.max(0.001, milliseconds / 1000));
  const power = cuts === 0 ? '' : `, ${plural(cuts, 'power cut')}`;
  return `${end}: ${plural(schedules, 'schedule')}, ${plural(states, 'state')}, at most ${depth} steps deep${power}; ${steps} steps in ${(milliseconds / 1000).toFixed(2)} s, ${rate} a second`;
}

function positive(text: string): number {
  const value = count(text);
  if (value === 0) throw new UsageError(`race: ${text}: at least 1`);
  return value;
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`race: ${text}: not a number`);
  return Number(text);
}
