/**
 * Random short traces: at each crash point the files that programs see in the states of `eadr`,
 * `sector` and `posix` are exactly those that the slow references find. Seeds are in the messages.
 */
import t, { type Test } from 'tap';
import type { ModelName } from '../../lib/crash/choice.js';
import { points } from '../../lib/crash/state/points.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { allChoices } from './choices.js';
import { eadrStates, posixStates, sectorStates, TooManyStates } from './model_references.js';
import { randomTrace } from './random_trace.js';
import { seenIn } from './recorded_image.js';

const SEEDS = 60;

const REFERENCES = [
  { model: 'eadr', statesAt: eadrStates },
  { model: 'sector', statesAt: sectorStates },
  { model: 'posix', statesAt: posixStates },
] as const;

for (const { model, statesAt } of REFERENCES) {
  t.test(`the states of ${model} are those of the reference`, async (t) => {
    let compared = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const options = { hasDirectories: seed % 3 === 0, hasCalls: seed % 2 === 0 };
      const image = randomTrace(seed, 10, options);
      compared += compare(t, image, { model, statesAt, seed });
    }
    t.comment(`${compared} states`);
    t.ok(compared > 300, `${compared} states`);
  });
}

function compare(
  t: Test,
  image: TraceSource,
  what: { model: ModelName; statesAt: typeof eadrStates; seed: number },
): number {
  const { model, statesAt, seed } = what;
  let count = 0;
  for (const point of points(image, model)) {
    let wanted: Set<string>;
    try {
      wanted = statesAt(image, point.position);
    } catch (error) {
      if (error instanceof TooManyStates) continue;
      throw error;
    }
    const found = new Set<string>();
    for (const choice of allChoices(model, point)) {
      const state = point.state(choice);
      found.add(JSON.stringify([...seenIn(state).files]));
      state.release();
    }
    const more = [...found].filter((files) => !wanted.has(files));
    const less = [...wanted].filter((files) => !found.has(files));
    const where = `seed ${seed} at ${point.position} (${point.reason})`;
    t.same({ more, less }, { more: [], less: [] }, where);
    count += found.size;
  }
  return count;
}
