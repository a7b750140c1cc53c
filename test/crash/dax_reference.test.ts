/**
 * Random short traces of the real filesystem: the states of `dax` are exactly those of the slow
 * reference, its crash points cover the moments between them, and hashes tell states apart and nothing
 * else. Seeds are printed first.
 */
import t, { type Test } from 'tap';
import { points, stateOf } from '../../lib/crash/state/points.js';
import { Random } from '../../lib/random.js';
import { allChoices } from './choices.js';
import { type RecordedImage, seenIn } from './recorded_image.js';
import { referenceStates, TooManyStates } from './reference.js';
import { randomTrace } from './random_trace.js';

const SEEDS = 40;

t.test('the states of dax are those of the reference', async (t) => {
  let compared = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const image = randomTrace(seed, 12);
    try {
      compared += compare(t, image, seed);
    } catch (error) {
      if (!(error instanceof TooManyStates)) throw error;
    }
  }
  t.comment(`${compared} states`);
  t.ok(compared > 500, `${compared} states`);
});

function compare(t: Test, image: RecordedImage, seed: number): number {
  const random = new Random(seed);
  const hashes = new Map<string, string>();
  const reached = new Set<string>();
  let count = 0;
  for (const point of points(image, 'dax')) {
    const found = new Set<string>();
    const wanted = referenceStates(image, point.position);
    for (const choice of allChoices('dax', point)) {
      const state = point.state(choice);
      const files = JSON.stringify([...seenIn(state).files]);
      found.add(files);
      count++;
      // Of several images with the same files times may differ; never the other way round.
      const known = hashes.get(state.imageHash()) ?? files;
      hashes.set(state.imageHash(), files);
      if (known !== files) t.fail(`seed ${seed}: one hash, two images`);
      if (random.oneIn(40)) {
        const again = stateOf(image, choice);
        t.equal(again.imageHash(), state.imageHash(), `seed ${seed} at ${point.position}`);
        t.equal(JSON.stringify([...seenIn(again).files]), files);
        t.equal(again.metadataKey, state.metadataKey);
      }
      state.release();
    }
    t.same([...found].sort(), [...wanted].sort(), `seed ${seed} at ${point.position}`);
    for (const files of found) reached.add(files);
  }
  for (let position = 0; position <= image.position; position += 5) {
    for (const files of referenceStates(image, position)) {
      if (!reached.has(files)) t.fail(`seed ${seed}: a state at ${position} that no point has`);
    }
  }
  return count;
}
