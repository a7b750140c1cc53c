/**
 * The explorer itself, on scenarios drawn at random: what it leaves out must change nothing. Reduced and
 * plain enumeration must reach the same ends, and with a bug switch on give the same verdict.
 */
import t from 'tap';
import { BUG_NAMES } from '../../lib/dax/bugs.js';
import type { ExploreOptions } from '../../lib/race/explorer.js';
import type { Scenario } from '../../lib/race/scenario.js';
import { exhaust, scheduleOf } from '../../lib/race/search.js';
import { Random } from '../../lib/random.js';
import { generate } from './generated.js';

/** More of them: FAUXDAX_ROUNDS. From another seed: FAUXDAX_SEED. */
const ROUNDS = Number(process.env['FAUXDAX_ROUNDS'] ?? 20);
const SEED = Number(process.env['FAUXDAX_SEED'] ?? 1);
const PLAIN = { cutsStates: false, reducesOrders: false, schedulesMax: 1500 };

function run(scenario: Scenario, bug: string | undefined, options: ExploreOptions) {
  const ends = new Set<string>();
  const result = exhaust(scheduleOf(scenario, bug), {
    ...options,
    atEnd: (text) => ends.add(text),
  });
  return { result, ends: [...ends].sort() };
}

for (let number = SEED; number < SEED + ROUNDS; number++) {
  const scenario = generate(new Random(number), number);
  const told = JSON.stringify(scenario);
  t.test(`seed ${number}: reduction leaves nothing out`, async (t) => {
    const plain = run(scenario, undefined, PLAIN);
    const reduced = run(scenario, undefined, {});
    t.equal(reduced.result.failure?.violation.message, undefined, told);
    t.equal(reduced.result.end, 'space-exhausted', told);
    if (plain.result.end === 'limit-reached') {
      // Only a part was gone through: what it reached must be there.
      const missing = plain.ends.filter((text) => !reduced.ends.includes(text));
      t.same(missing, [], told);
    } else {
      t.same(reduced.ends, plain.ends, told);
    }
  });
  t.test(`seed ${number}: a bug is found with reduction where it is without`, async (t) => {
    const bug = BUG_NAMES[number % BUG_NAMES.length]!;
    const plain = run(scenario, bug, PLAIN).result.end;
    const reduced = run(scenario, bug, {}).result.end;
    if (plain === 'limit-reached') t.ok(reduced !== 'limit-reached', told);
    else t.equal(reduced, plain, `${bug} ${told}`);
  });
}
