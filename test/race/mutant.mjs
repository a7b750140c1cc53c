// Runs scenarios on the library in a directory until one catches something: node mutant.mjs LIB [SCENARIO...]
import { pathToFileURL } from 'node:url';

const [lib, ...names] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(`${lib}/${file}`).href);
const { SCENARIOS } = await load('race/scenarios.js');
const { exhaust, scheduleOf } = await load('race/search.js');

const chosen = SCENARIOS.filter(({ name }) => names.length === 0 || names.includes(name));
let caught = '';
for (const scenario of chosen) {
  try {
    const schedule = scheduleOf(scenario, undefined);
    let { failure, end } = exhaust(schedule, { statesMax: 20_000 });
    // A mistake may make the space endless, and depth first is then lost in one corner of it.
    if (end === 'limit-reached') {
      ({ failure } = exhaust(schedule, { seed: 1, stepsMax: 200, schedulesMax: 1000 }));
    }
    if (failure === undefined) continue;
    caught = `${scenario.name} ${failure.violation.invariant}`;
  } catch (error) {
    caught = `${scenario.name} ${error.name}`;
  }
  break;
}
process.stdout.write(`${caught}\n`);
