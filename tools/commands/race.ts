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
import { outputPath, whole } from '../crash_options.js';
import { EXIT_FAILURE } from '../failure.js';
import { raceLive } from '../live/command.js';
import { storyPage } from '../report/race.js';
import { storySvg } from '../report/race_svg.js';
import { RaceResults } from '../race_results.js';
import { AllTable, countsOf, endText, listJson, listText } from '../report/race_tables.js';
import { printJson } from '../screen.js';

const SECONDS = 60;
const ROUNDS = 60;

interface Options {
  bug?: string | false;
  live?: true;
  rounds: number;
  delays: boolean;
  depth?: number;
  seconds: number;
  seed?: number;
  preemptions?: number;
  reduction: boolean;
  all?: true;
  json?: true;
  html?: string;
  svg?: string;
}

export function raceCommand(): Command {
  return new Command('race')
    .description('explore every interleaving of faults, stores and calls in small scenarios')
    .argument('[SCENARIO|replay]', 'a scenario; none lists them; replay: run one schedule again')
    .argument('[ID]', 'for replay: as a counterexample names itself')
    .option('--all', 'each scenario with its bug, which must be found, and without')
    .option('--bug <NAME>', 'with a bug switch of the engine on')
    .option('--seconds <N>', 'stop after that long', (text) => whole('--seconds', text, 1), SECONDS)
    .option('--depth <N>', 'no schedule longer than so many steps', (text) =>
      whole('--depth', text, 1),
    )
    .option('--preemptions <N>', 'only schedules with so few', (text) =>
      whole('--preemptions', text, 0),
    )
    .option('--seed <N>', 'random schedules instead of all', (text) => whole('--seed', text, 0))
    .addOption(new Option('--no-reduction', 'try every order of every two steps'))
    .option('--live', 'as real processes under fauxdax run: the scenario, or all of them')
    .option('--no-bug', 'with --live: only without')
    .option(
      '--rounds <N>',
      'with --live: so many without a bug, at most ten times as many with',
      (text) => whole('--rounds', text, 1),
      ROUNDS,
    )
    .option('--no-delays', 'with --live: the engine is held back nowhere')
    .option('--json', 'print the result as JSON')
    .option('--html <FILE>', 'write the counterexample as a page with its page tables', (text) =>
      outputPath('--html', text),
    )
    .option('--svg <FILE>', 'write it as one drawing', (text) => outputPath('--svg', text))
    .addHelpText(
      'after',
      `
Bug switches: ${BUG_NAMES.join(', ')}.

A run ends as space-exhausted (all was tried), failure-found, limit-reached or time-exhausted.
Exit status: 0 nothing was found, 1 something was found (with --all: not as it must be), 2 usage.

With --live the scripts are run by processes under fauxdax run, on a mount of its own, in rounds. The
engine is held back where the lab's counterexample stands; what each process saw is explained by some
order of the calls, or it is a failure. Rows end with the first round that shows the bug, and seconds.

Examples:
  fauxdax race
  fauxdax race hole-fault-race --bug hole-fault-race
  fauxdax race --all
  fauxdax race --live
  fauxdax race --live punch-without-gate --bug punch-without-gate`,
    )
    .action(race);
}

type Mode = 'list' | 'replay' | 'all' | 'live' | 'one';

/** What each takes beside --json. */
const TAKEN: Readonly<Record<Mode, readonly (keyof Options)[]>> = {
  list: [],
  replay: ['html', 'svg'],
  all: ['seconds', 'depth', 'preemptions', 'seed', 'reduction'],
  live: ['bug', 'rounds', 'seconds', 'seed', 'delays'],
  one: ['bug', 'seconds', 'depth', 'preemptions', 'seed', 'reduction', 'html', 'svg'],
};
const MODE_OPTIONS: ReadonlySet<string> = new Set(['json', 'all', 'live']);

function modeOf(name: string | undefined, { live, all }: Options): Mode {
  if (live === true) return 'live';
  if (all === true) return 'all';
  if (name === undefined) return 'list';
  return name === 'replay' ? 'replay' : 'one';
}

/** Nothing that was asked for is left out silently. @throws {UsageError} */
function checkTaken(mode: Mode, [name, id]: (string | undefined)[], command: Command): void {
  const isGiven = (option: Option): boolean =>
    command.getOptionValueSource(option.attributeName()) === 'cli';
  const given = command.options.filter(isGiven);
  const both = given.filter(({ long }) => long === '--all' || long === '--live');
  if (both.length > 1) throw new UsageError('race: --all does not go with --live');
  const where = mode === 'one' ? 'a scenario' : mode === 'replay' ? 'replay' : `--${mode}`;
  for (const option of given) {
    const attribute = option.attributeName();
    const isTaken = TAKEN[mode].includes(attribute as keyof Options);
    if (isTaken || MODE_OPTIONS.has(attribute)) continue;
    // Of --bug and --no-bug both count as given.
    const flag = option.long === '--no-bug' ? '--bug' : option.long!;
    if (mode === 'list') throw new UsageError(`race: ${flag} needs a scenario`);
    if (TAKEN.live.includes(attribute as keyof Options) && mode === 'one') {
      throw new UsageError(`race: ${flag} needs --live`);
    }
    throw new UsageError(`race: ${flag} does not go with ${where}`);
  }
  const surplus = mode === 'all' ? name : mode === 'replay' ? undefined : id;
  if (surplus !== undefined) throw new UsageError(`race: '${surplus}' does not go with ${where}`);
}

async function race(
  name: string | undefined,
  id: string | undefined,
  options: Options,
  command: Command,
): Promise<void> {
  checkTaken(modeOf(name, options), [name, id], command);
  if (options.live === true) {
    const { bug, rounds, seconds, seed = 0, delays, json = false } = options;
    const scenarios = name === undefined ? SCENARIOS : [known(name)];
    const which = bug === undefined ? {} : { bug };
    await raceLive({ scenarios, ...which, rounds, seconds, seed, delays, json });
  } else if (options.all === true) {
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
  const bug = options.bug === false ? undefined : options.bug;
  if (bug !== undefined && !BUG_NAMES.includes(bug)) {
    throw new UsageError(`race: unknown bug switch '${bug}': one of ${BUG_NAMES.join(', ')}`);
  }
  const result = explore(scenario, bug, options);
  if (isWhole(options)) {
    const results = new RaceResults();
    results.note(name, bug, result);
    keep(results);
  }
  const { failure } = result;
  if (failure !== undefined) process.exitCode = EXIT_FAILURE;
  const replayId =
    failure && formatReplayId({ scenario: scenario.name, bug, actors: failure.actors });
  const story = failure && tell(scheduleOf(scenario, bug), failure.actors);
  if (story !== undefined) writePages(scenario, bug, story, replayId!, options);
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
  process.stdout.write(`${scenario.name}: ${scenario.title}\n`);
  if (story !== undefined) process.stdout.write(`\n${columnsText(story)}\n`);
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
  const results = new RaceResults();
  if (options.json === true) printJson(listJson(results));
  else process.stdout.write(listText(results));
}

/** Every scenario as the list has it, with its bug and without. */
function all(options: Options): void {
  const results = new RaceResults();
  const table = new AllTable(
    options.json === true ? () => undefined : (text) => process.stdout.write(text),
  );
  for (const scenario of SCENARIOS) {
    for (const bug of scenario.bug === undefined ? [undefined] : [scenario.bug, undefined]) {
      const before = process.cpuUsage();
      const result = explore(scenario, bug, options);
      const { user, system } = process.cpuUsage(before);
      if (isWhole(options)) results.note(scenario.name, bug, result);
      table.add(scenario, bug, result, (user + system) / 1000);
    }
  }
  table.end();
  if (options.json === true) printJson(table.rows);
  keep(results);
  if (!table.isAsExpected) process.exitCode = EXIT_FAILURE;
}

/** Whether what a run says is said of all schedules. */
function isWhole({ depth, seed, preemptions, reduction }: Options): boolean {
  return depth === undefined && seed === undefined && preemptions === undefined && reduction;
}

function keep(results: RaceResults): void {
  const problem = results.save();
  if (problem !== undefined)
    process.stderr.write(`fauxdax: race: the result is not kept: ${problem}\n`);
}

function replay(id: string, options: Options): void {
  const { scenario: name, bug, actors } = parsed(id);
  const scenario = known(name);
  const story = told(scenario, bug, actors);
  writePages(scenario, bug, story, id, options);
  if (story.violation !== undefined) process.exitCode = EXIT_FAILURE;
  if (options.json === true) {
    printJson(storyJson(story));
    return;
  }
  process.stdout.write(columnsText(story));
  if (story.violation === undefined) process.stdout.write('\nevery invariant held\n');
}

function writePages(
  scenario: Scenario,
  bug: string | undefined,
  story: Story,
  id: string,
  { html, svg }: Options,
): void {
  if (html !== undefined) writeFileSync(html, storyPage(scenario, bug, story, id));
  if (svg !== undefined) writeFileSync(svg, storySvg(scenario.title, story));
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
