/**
 * What cutting states and orders leaves out is nothing: the same ends are reached as by trying every
 * order of every two steps; and a state's text says all that the next steps go by.
 */
import t from 'tap';
import type { ExploreOptions } from '../../lib/race/explorer.js';
import { SCENARIOS, scenarioOf } from '../../lib/race/scenarios.js';
import { exhaust, scheduleOf } from '../../lib/race/search.js';
import { Random } from '../../lib/random.js';

/** Small enough that every schedule can be run. */
const SMALL = [
  'convert-before-zero',
  'zero-range-fault',
  'reuse-before-commit',
  'private-truncate',
];
const SCHEDULES_MAX = 60_000;

function ends(name: string, options: ExploreOptions) {
  const reached = new Set<string>();
  const atEnd = (text: string) => reached.add(text);
  const result = exhaust(scheduleOf(scenarioOf(name), undefined), { ...options, atEnd });
  return { result, reached: [...reached].sort() };
}

for (const name of SMALL) {
  t.test(`${name}: the same ends with and without reduction`, async (t) => {
    const plain = ends(name, {
      cutsStates: false,
      reducesOrders: false,
      schedulesMax: SCHEDULES_MAX,
    });
    t.equal(plain.result.end, 'space-exhausted');
    for (const options of [{}, { reducesOrders: false }, { cutsStates: false }]) {
      const reduced = ends(name, options);
      t.equal(reduced.result.end, 'space-exhausted');
      t.same(reduced.reached, plain.reached);
      t.ok(reduced.result.steps <= plain.result.steps);
    }
    const { result } = ends(name, {});
    t.comment(`${plain.result.steps} steps without reduction, ${result.steps} with`);
  });
}

/** Runs schedules at random; in a state that was met before each step must lead where it led then. */
function firstSurprise(name: string, seed: number, schedules: number): string | undefined {
  const schedule = scheduleOf(scenarioOf(name), undefined);
  const random = new Random(seed);
  const next = new Map<string, string>();
  for (let round = 0; round < schedules; round++) {
    schedule.reset();
    const actors: number[] = [];
    let text = schedule.text();
    for (let enabled = schedule.enabled(); enabled !== 0; enabled = schedule.enabled()) {
      const able: number[] = [];
      for (let actor = 0; actor < schedule.actorCount; actor++) {
        if ((enabled & (1 << actor)) !== 0) able.push(actor);
      }
      const actor = able[random.below(able.length)]!;
      actors.push(actor);
      schedule.step(actor);
      const after = schedule.text();
      const step = `${actor}\n${text}`;
      const before = next.get(step);
      if (before !== undefined && before !== after)
        return `${actors.join('')}\n${before}\n${after}`;
      next.set(step, after);
      text = after;
    }
  }
  return undefined;
}

for (const { name } of SCENARIOS) {
  t.test(`${name}: states with the same text go on alike`, async (t) => {
    t.equal(firstSurprise(name, 1, 60), undefined);
  });
}
