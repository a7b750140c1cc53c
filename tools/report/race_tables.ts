/**
 * What `fauxdax race` prints beside counterexamples: the list of scenarios with their last results, and
 * the table of --all with the figures at its end.
 */
import type { Exploration } from '../../lib/race/explorer.js';
import type { Scenario } from '../../lib/race/scenario.js';
import { SCENARIOS } from '../../lib/race/scenarios.js';
import { exhaust, scheduleOf } from '../../lib/race/search.js';
import type { LastResult, RaceResults } from '../race_results.js';
import { plural, section, table } from '../screen.js';

/** What is promised of a run on one core, in seconds. */
const FOUND_SECONDS_MAX = 5;
const EXHAUSTED_SECONDS_MAX = 60;

/** Spaces up to so many steps are gone through without reduction too, to compare. */
const COMPARED_STEPS_MAX = 1500;
/** One that has more schedules than that without it is not compared: that would take minutes. */
const COMPARED_SCHEDULES_MAX = 5000;

export function listJson(results: RaceResults): object[] {
  return SCENARIOS.map(({ name, title, bug, seed, threads }) => {
    const without = results.of(name, undefined);
    return {
      name,
      title,
      seed: seed?.file ?? null,
      bug: bug ?? null,
      steps: threads.map(({ script }) => script.length),
      space: spaceOf(without) ?? null,
      last: {
        withBug: (bug === undefined ? undefined : results.of(name, bug)) ?? null,
        without: without ?? null,
      },
    };
  });
}

export function listText(results: RaceResults): string {
  const rows = SCENARIOS.map(({ name, bug, seed, threads }) => {
    const space = spaceOf(results.of(name, undefined));
    return [
      name,
      seed?.file.slice(0, 3) ?? '-',
      bug ?? '-',
      threads.map(({ script }) => script.length).join('+'),
      space === undefined ? '-' : `${space.states} states, ${space.schedules} schedules`,
      lastText(name, bug, results),
    ];
  });
  const isKnown = SCENARIOS.some(({ name }) => results.of(name, undefined) !== undefined);
  const hint = isKnown ? '' : '\nfauxdax race --all runs them, in about half a minute\n';
  const head = ['scenario', 'seed', 'bug switch', 'steps', 'space without the bug', 'last result'];
  return table(head, rows) + hint;
}

function spaceOf(last: LastResult | undefined): { states: number; schedules: number } | undefined {
  if (last?.end !== 'space-exhausted') return undefined;
  return { states: last.states, schedules: last.schedules };
}

/** Of both runs, with the day of the older one. */
function lastText(name: string, bug: string | undefined, results: RaceResults): string {
  const parts: string[] = [];
  const days: string[] = [];
  for (const wanted of bug === undefined ? [undefined] : [bug, undefined]) {
    const last = results.of(name, wanted);
    if (last === undefined) {
      parts.push(wanted === undefined ? 'without: never run' : 'bug: never run');
      continue;
    }
    days.push(last.at.slice(0, 10));
    const seconds = `${(last.milliseconds / 1000).toFixed(1)} s`;
    if (last.broke !== null) {
      parts.push(`${wanted === undefined ? 'BROKE' : 'found'}: ${last.broke} in ${seconds}`);
    } else parts.push(`${last.end === 'space-exhausted' ? 'exhausted' : last.end} in ${seconds}`);
  }
  if (days.length === 0) return 'never run';
  return `${parts.join(', ')} (${days.sort()[0]})`;
}

const WIDTHS = { scenario: 22, bug: 20, end: 15, broke: 13 };
const COUNTS = ['schedules', 'states', 'depth', 'steps', 's', 'plain', 'saved'];

/** The table of --all. A row is written as soon as it is known. */
export class AllTable {
  /** For JSON. */
  readonly rows: object[] = [];
  isAsExpected = true;
  private found: Exploration[] = [];
  private exhausted: Exploration[] = [];
  private readonly totals = {
    steps: 0,
    milliseconds: 0,
    cpuMilliseconds: 0,
    reduced: 0,
    plain: 0,
    compared: 0,
  };

  constructor(private readonly write: (text: string) => void) {
    this.line(['', 'scenario', 'bug', 'end', 'broke'], COUNTS);
  }

  /** @param cpuMilliseconds what it took of the processor, with setting up */
  add(
    scenario: Scenario,
    bug: string | undefined,
    result: Exploration,
    cpuMilliseconds: number,
  ): void {
    this.totals.cpuMilliseconds += cpuMilliseconds;
    const isRight = result.end === (bug === undefined ? 'space-exhausted' : 'failure-found');
    this.isAsExpected &&= isRight;
    if (isRight) (bug === undefined ? this.exhausted : this.found).push(result);
    const { steps, states, schedules, depth, milliseconds } = result;
    this.totals.steps += steps;
    this.totals.milliseconds += milliseconds;
    const plainSteps = bug === undefined && isRight ? this.plainSteps(scenario, steps) : undefined;
    this.rows.push({
      scenario: scenario.name,
      bug: bug ?? null,
      isRight,
      ...countsOf(result),
      plainSteps: plainSteps ?? null,
    });
    const broke = result.failure?.violation.invariant ?? '';
    const counts = [schedules, states, depth, steps, (milliseconds / 1000).toFixed(1)];
    if (plainSteps !== undefined) counts.push(plainSteps, percentSaved(steps, plainSteps));
    this.line([isRight ? 'ok' : 'WRONG', scenario.name, bug ?? '-', result.end, broke], counts);
  }

  /** The figures. */
  end(): void {
    const { steps, milliseconds, cpuMilliseconds, reduced, plain, compared } = this.totals;
    const rows: [string, string][] = [
      ['bugs found', slowest(this.found, FOUND_SECONDS_MAX)],
      ['spaces exhausted', slowest(this.exhausted, EXHAUSTED_SECONDS_MAX)],
      ['steps a second', `${rateOf(steps, milliseconds)}: ${steps} in ${seconds(milliseconds)}`],
      [
        'of processor time',
        `${rateOf(steps, cpuMilliseconds)} in ${seconds(cpuMilliseconds)}, with setting up`,
      ],
    ];
    if (compared > 0) {
      const saved = `${percentSaved(reduced, plain)} of ${plain} steps, in the ${plural(compared, 'space')} that were also gone through without it`;
      rows.push(['saved by reduction', saved]);
    }
    this.write(`\n${section('figures', rows)}`);
  }

  /** Every order of every two steps, and no state left out. */
  private plainSteps(scenario: Scenario, reducedSteps: number): number | undefined {
    if (reducedSteps > COMPARED_STEPS_MAX) return undefined;
    const schedulesMax = COMPARED_SCHEDULES_MAX;
    const plain = { cutsStates: false, reducesOrders: false, schedulesMax };
    const { end, steps } = exhaust(scheduleOf(scenario, undefined), plain);
    if (end !== 'space-exhausted') return undefined;
    this.totals.reduced += reducedSteps;
    this.totals.plain += steps;
    this.totals.compared++;
    return steps;
  }

  private line(words: string[], counts: readonly (string | number)[]): void {
    const [ok = '', scenario = '', bug = '', end = '', broke = ''] = words;
    const left = [
      ok.padEnd(5),
      scenario.padEnd(WIDTHS.scenario),
      bug.padEnd(WIDTHS.bug),
      end.padEnd(WIDTHS.end),
      broke.padEnd(WIDTHS.broke),
    ];
    const right = counts.map((count, at) => String(count).padStart(at === 2 || at === 4 ? 6 : 9));
    this.write(`${[...left, ...right].join(' ').trimEnd()}\n`);
  }
}

export function countsOf(result: Exploration): object {
  const { failure, ...counts } = result;
  return { ...counts, broke: failure?.violation.invariant ?? null };
}

export function endText(result: Exploration): string {
  const { end, schedules, states, depth, steps, milliseconds, cuts } = result;
  const power = cuts === 0 ? '' : `, ${plural(cuts, 'moment')} at which power was cut`;
  return `${end}: ${plural(schedules, 'schedule')}, ${plural(states, 'state')}, at most ${depth} steps deep${power}; ${steps} steps in ${seconds(milliseconds)}, ${rateOf(steps, milliseconds)} a second`;
}

function slowest(results: readonly Exploration[], secondsMax: number): string {
  const most = Math.max(0, ...results.map(({ milliseconds }) => milliseconds));
  return `${results.length}, the slowest in ${seconds(most)} (${secondsMax} s at most are promised)`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

function rateOf(steps: number, milliseconds: number): string {
  return String(Math.round(steps / Math.max(0.001, milliseconds / 1000)));
}

function percentSaved(steps: number, plainSteps: number): string {
  return `${(100 * (1 - steps / plainSteps)).toFixed(1)}%`;
}
