// Looks for two steps that the reduction takes for independent and that are not: made in either order
// they must see the same, and lead to the same state. node commute.mjs LIB [SCENARIO...], on the library
// in a directory; prints the first scenario that has such steps, and the schedule.
import { pathToFileURL } from 'node:url';

const [lib, ...names] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(`${lib}/${file}`).href);
const { areIndependent } = await load('race/footprint.js');
const { SCENARIOS } = await load('race/scenarios.js');
const { scheduleOf } = await load('race/search.js');
const { Random } = await load('random.js');

const WALKS = 40;
/** Of two steps that are told alike, where a walk comes by. */
const TRIES_MAX = 4;

function enabledIn(schedule) {
  const enabled = schedule.enabled();
  const all = Array.from({ length: schedule.actorCount }, (_, actor) => actor);
  return all.filter((actor) => (enabled & (1 << actor)) !== 0);
}

/** What an actor does next, for a person. */
function told(schedule, actor) {
  const thread = schedule.threads[actor];
  if (thread !== undefined) return `${actor} ${thread.next}`;
  const [command] = schedule.world.mmu.all()[actor - schedule.threads.length].queue;
  return `${actor} ${command.does.kind} ${command.shootdowns === undefined}`;
}

/** What each of the last two actors saw, and the state after them. */
function outcome(schedule, before, last) {
  const { journal } = schedule.world;
  schedule.reset();
  for (const actor of before) schedule.step(actor);
  const saw = last.map((actor) => {
    journal.take();
    schedule.step(actor);
    return [actor, journal.take()];
  });
  saw.sort(([one], [other]) => one - other);
  return `${schedule.text()} ${schedule.enabled()} ${JSON.stringify(saw)}`;
}

function touchedBy(schedule, before, actor) {
  schedule.reset();
  for (const each of [...before, actor]) schedule.step(each);
  return schedule.touched;
}

/** @returns a schedule whose last two steps do not commute */
function clashIn(schedule) {
  const random = new Random(1);
  const tries = new Map();
  schedule.world.journal.isKept = true;
  for (let walk = 0; walk < WALKS; walk++) {
    const before = [];
    for (;;) {
      schedule.reset();
      for (const actor of before) schedule.step(actor);
      const able = enabledIn(schedule);
      if (able.length === 0) break;
      const labels = able.map((actor) => told(schedule, actor));
      const touched = [];
      for (const [at, one] of able.entries()) {
        for (const [later, other] of able.entries()) {
          const pair = `${labels[at]}, ${labels[later]}`;
          const count = tries.get(pair) ?? 0;
          if (later <= at || count === TRIES_MAX) continue;
          tries.set(pair, count + 1);
          touched[at] ??= touchedBy(schedule, before, one);
          touched[later] ??= touchedBy(schedule, before, other);
          if (!areIndependent(touched[at], touched[later])) continue;
          const first = outcome(schedule, before, [one, other]);
          if (first !== outcome(schedule, before, [other, one])) return [...before, one, other];
        }
      }
      before.push(able[random.below(able.length)]);
    }
  }
  return undefined;
}

for (const scenario of SCENARIOS) {
  if (names.length > 0 && !names.includes(scenario.name)) continue;
  const clash = clashIn(scheduleOf(scenario, undefined));
  if (clash === undefined) continue;
  process.stdout.write(`${scenario.name} ${clash.map((actor) => actor.toString(36)).join('')}\n`);
  break;
}
