// Runs scenarios on the library in a directory until one catches something: node mutant.mjs LIB [SCENARIO...]
import { pathToFileURL } from 'node:url';

const [lib, ...names] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(`${lib}/${file}`).href);
const { SCENARIOS } = await load('race/scenarios.js');
const { exhaust, scheduleOf } = await load('race/search.js');

const chosen = SCENARIOS.filter(({ name }) => names.length === 0 || names.includes(name));

/**
 * One after the other while a limit is what ended it. A mistake may make the space large or endless, and
 * depth first is then lost in one corner of it: random schedules find most of such mistakes at once.
 */
const TRIED = [
  { statesMax: 2000 },
  { seed: 1, stepsMax: 200, schedulesMax: 1000 },
  { statesMax: 20_000 },
];

let caught = '';
for (const scenario of chosen) {
  try {
    const schedule = scheduleOf(scenario, undefined);
    let failure;
    for (const limits of TRIED) {
      const found = exhaust(schedule, limits);
      failure = found.failure;
      if (found.end !== 'limit-reached') break;
    }
    if (failure === undefined) continue;
    caught = `${scenario.name} ${failure.violation.invariant}`;
  } catch (error) {
    caught = `${scenario.name} ${error.name}`;
  }
  break;
}
process.stdout.write(`${caught}\n`);
