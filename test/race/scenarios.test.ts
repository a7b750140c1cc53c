/** Every scenario: its bug is found, and without it every schedule holds. */
import t from 'tap';
import { SCENARIOS } from '../../lib/race/scenarios.js';
import { exhaust, find, scheduleOf } from '../../lib/race/search.js';
import { tell } from '../../lib/race/story.js';

for (const scenario of SCENARIOS) {
  const { name, bug } = scenario;
  if (bug !== undefined) {
    t.test(`${name}: ${bug} is found, and the schedule breaks the same again`, async (t) => {
      const { end, failure } = find(scheduleOf(scenario, bug));
      t.equal(end, 'failure-found');
      const { violation } = tell(scheduleOf(scenario, bug), failure!.actors);
      t.equal(violation?.message, failure!.violation.message);
    });
  }
  t.test(`${name}: without a bug every schedule holds`, async (t) => {
    const { end, failure } = exhaust(scheduleOf(scenario, undefined));
    t.equal(failure?.violation.message, undefined);
    t.equal(end, 'space-exhausted');
  });
}
