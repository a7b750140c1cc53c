/**
 * What `fauxdax race` does with one scenario: look for the shortest counterexample, or go through the
 * whole space. To find one, few preemptions are tried first: such schedules are the ones a person can
 * follow, and most races need no more than two.
 */
import { NO_BUGS, parseBugs } from '../dax/bugs.js';
import { type Exploration, type ExploreOptions, Explorer } from './explorer.js';
import type { Scenario } from './scenario.js';
import { Schedule } from './schedule.js';
import { World } from './world.js';

/** Preemptions tried one after the other before there is no bound. */
const PREEMPTIONS_TRIED_MAX = 3;

/** @param bug a switch of lib/dax/bugs.ts. @throws {RangeError} for one that is not known */
export function scheduleOf(scenario: Scenario, bug: string | undefined): Schedule {
  return new Schedule(new World(scenario, bug === undefined ? NO_BUGS : parseBugs([bug])));
}

/** Goes through all of it, reduced; ends with the first failure made short. */
export function exhaust(schedule: Schedule, options: ExploreOptions = {}): Exploration {
  return new Explorer(schedule, options).run();
}

/** A shortest failure with as few preemptions as any has; goes through all when there is none. */
export function find(schedule: Schedule, options: ExploreOptions = {}): Exploration {
  let total: Exploration | undefined;
  for (let preemptionsMax = 0; preemptionsMax <= PREEMPTIONS_TRIED_MAX; preemptionsMax++) {
    total = sum(total, new Explorer(schedule, { ...options, preemptionsMax }).run());
    if (total.end === 'failure-found' || total.end === 'time-exhausted') return total;
  }
  return sum(total, new Explorer(schedule, options).run());
}

function sum(before: Exploration | undefined, now: Exploration): Exploration {
  if (before === undefined) return now;
  return {
    ...now,
    schedules: before.schedules + now.schedules,
    states: Math.max(before.states, now.states),
    depth: Math.max(before.depth, now.depth),
    steps: before.steps + now.steps,
    milliseconds: before.milliseconds + now.milliseconds,
    cuts: before.cuts + now.cuts,
  };
}
