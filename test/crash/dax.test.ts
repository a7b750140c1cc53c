/**
 * The rules of the model `dax`, one short trace each: which files a power cut may leave.
 */
import t from 'tap';
import { points } from '../../lib/crash/state/points.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { RecordedImage, seenIn } from './recorded_image.js';
import { allChoices } from './choices.js';

/** The contents of `path` in every state of every point, by reason of the point. */
function seen(source: TraceSource, path: string): Set<string> {
  const found = new Set<string>();
  for (const point of points(source, 'dax')) {
    for (const choice of allChoices('dax', point)) {
      const state = point.state(choice);
      found.add(seenIn(state).files.get(path) ?? 'none');
      state.release();
    }
  }
  return found;
}

function sorted(set: Set<string>): string[] {
  return [...set].sort();
}

t.test(
  'a file that was not synced is there or not, with any of its lines when it is',
  async (t) => {
    const image = new RecordedImage();
    image.create('a');
    image.write('a', 0, 'old');
    t.same(sorted(seen(image, 'a')), ['', 'none', 'old']);
  },
);
