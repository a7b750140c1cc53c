/**
 * Every state of a crash point, for tests with small spaces.
 */
import assert from 'node:assert/strict';
import type { ModelName, StateChoice } from '../../lib/crash/choice.js';
import type { Point } from '../../lib/crash/state/points.js';

const STATES_MAX = 100_000;

export function* allChoices(model: ModelName, point: Point): IterableIterator<StateChoice> {
  let count = 0;
  for (const { lostOperations } of point.metadataChoices()) {
    const { units, order } = point.data({ lostOperations });
    const values = units.map(() => 0);
    for (;;) {
      assert(++count <= STATES_MAX, 'too many states for this test');
      const firstOld = values.findIndex((value, index) => value < units[index]!.valueCount - 1);
      const isPrefix = firstOld < 0 || values.slice(firstOld + 1).every((value) => value === 0);
      if (order === 'free' || isPrefix) {
        const lines = units.map(({ line }, index): [number, number] => [line, values[index]!]);
        yield { model, position: point.position, lostOperations, otherLines: 'newest', lines };
      }
      let index = 0;
      for (; index < units.length; index++) {
        if (++values[index]! < units[index]!.valueCount) break;
        values[index] = 0;
      }
      if (index === units.length) break;
    }
  }
}
