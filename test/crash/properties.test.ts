/**
 * What holds in every model on random traces: a state that loses nothing is the live image, no sync
 * is broken by any state, a choice names the same state for whoever asks, and the four bugs of
 * lib/dax/bugs.ts are seen in states of `dax` when they are switched on, and only then.
 */
import t, { type Test } from 'tap';
import { MODEL_NAMES, type ModelName, type StateChoice } from '../../lib/crash/choice.js';
import type { MetadataChoice } from '../../lib/crash/models/model.js';
import { openDatabaseBytes } from '../../lib/metadata/schema.js';
import { allowedStates } from '../../lib/crash/search/strategy.js';
import { type Point, points, stateOf } from '../../lib/crash/state/points.js';
import { DATA_BUG_NAMES, parseBugs } from '../../lib/dax/bugs.js';
import { RULES } from '../../lib/metadata/check_rules.js';
import { nameSeed } from '../../lib/metadata/name_table.js';
import { Random } from '../../lib/random.js';
import type { CrashState } from '../../lib/crash/state/state.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { contentsOf, emptyBase, RecordedImage, seenIn } from './recorded_image.js';
import { randomTrace } from './random_trace.js';

const SEEDS = 25;
const SETS_MAX = 50;

function newest(model: ModelName, point: Point): StateChoice {
  const { position } = point;
  return { model, position, lostOperations: [], otherLines: 'newest', lines: [] };
}

function someSets(point: Point): MetadataChoice[] {
  const sets: MetadataChoice[] = [];
  for (const set of point.metadataChoices()) {
    if (sets.push(set) === SETS_MAX) break;
  }
  return sets;
}

function randomState(model: ModelName, point: Point, random: Random): StateChoice {
  const sets = someSets(point);
  const { lostOperations } = sets[random.below(sets.length)]!;
  const { units, order } = point.data({ lostOperations });
  const cut = random.below(units.length + 1);
  const lines = units.map(({ line, valueCount }, index): [number, number] => {
    const isKept = index < cut;
    return [line, order === 'prefix' ? (isKept ? valueCount - 1 : 0) : random.below(valueCount)];
  });
  const otherLines = random.oneIn(2) ? 'newest' : 'durable';
  return { model, position: point.position, lostOperations, otherLines, lines };
}

const filesOf = (state: Parameters<typeof seenIn>[0]) => JSON.stringify([...seenIn(state).files]);

for (const model of MODEL_NAMES) {
  t.test(`${model}: a state that loses nothing is the live image`, async (t) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const image = randomTrace(seed, 40, { hasDirectories: seed % 2 === 0 });
      const live = JSON.stringify([...contentsOf(image)]);
      let last: string | undefined;
      for (const point of points(image, model)) {
        const state = point.state(newest(model, point));
        last = filesOf(state);
        state.release();
      }
      t.ok(last === live, `seed ${seed}`);
    }
  });

  t.test(`${model}: nothing that was synced is lost in any state`, async (t) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const image = randomTrace(seed, 30, { hasDirectories: seed % 2 === 0 });
      // As an fsync of a mapping does.
      image.region.flush(0, image.base.pageCount * PAGE_BYTES);
      image.force('syncfs');
      const synced = JSON.stringify([...contentsOf(image)]);
      const position = image.position;
      const random = new Random(seed);
      image.create('later');
      image.write('later', 0, 'x');
      for (const point of points(image, model)) {
        if (point.position < position) continue;
        for (let count = 0; count < 10; count++) {
          const state = point.state(randomState(model, point, random));
          const files = seenIn(state).files;
          files.delete('later');
          t.ok(JSON.stringify([...files]) === synced, `seed ${seed}`);
          state.release();
        }
      }
    }
  });

  t.test(`${model}: a choice names one state, while others live and after`, async (t) => {
    for (let seed = 1; seed <= 6; seed++) {
      const image = randomTrace(seed, 30, { hasDirectories: seed % 2 === 0 });
      const random = new Random(seed);
      const made = [];
      for (const point of points(image, model)) {
        const choice = randomState(model, point, random);
        made.push({ choice, state: point.state(choice) });
      }
      for (const { choice, state } of made) {
        const again = stateOf(image, JSON.parse(JSON.stringify(choice)));
        t.equal(again.imageHash(), state.imageHash(), `seed ${seed} at ${choice.position}`);
        t.equal(again.metadataKey, state.metadataKey);
        t.ok(filesOf(again) === filesOf(state));
        again.release();
        state.release();
        state.release();
      }
    }
  });

  t.test(`${model}: no more states are allowed than are possible`, async (t) => {
    for (let seed = 1; seed <= 8; seed++) {
      const image = randomTrace(seed, 14, { hasDirectories: seed % 2 === 0 });
      for (const point of points(image, model)) {
        const { count } = allowedStates(point);
        t.ok(count <= point.possibleStates(), `seed ${seed} at ${point.position}`);
      }
    }
  });

  t.test(`${model}: states have one hash only if a program sees the same`, async (t) => {
    const byHash = new Map<string, string>();
    const image = randomTrace(3, 40);
    const random = new Random(3);
    for (const point of points(image, model)) {
      for (let count = 0; count < 20; count++) {
        const state = point.state(randomState(model, point, random));
        const files = filesOf(state);
        t.ok((byHash.get(state.imageHash()) ?? files) === files);
        byHash.set(state.imageHash(), files);
        state.release();
      }
    }
    t.ok(byHash.size > 10);
    t.ok(new Set(byHash.values()).size <= byHash.size);
  });
}

for (const model of MODEL_NAMES) {
  t.test(
    `${model}: the metadata of every state is sound, and a crash inside it works`,
    async (t) => {
      for (let seed = 1; seed <= 24; seed++) {
        const image = randomTrace(seed, 40, { hasDirectories: seed % 2 === 0 });
        const random = new Random(seed);
        for (const point of points(image, model)) {
          const state = point.state(randomState(model, point, random));
          const problems = problemsOf(state);
          t.same(problems, [], `seed ${seed} at ${point.position}`);
          const inner = new RecordedImage(state, parseBugs([]));
          inner.create('inner');
          inner.write('inner', 0, 'inner');
          const lost = stateOf(inner, { ...newest('dax', point), model: 'dax', position: 0 });
          t.ok(filesOf(lost) === filesOf(state));
          const kept = stateOf(inner, {
            ...newest('dax', point),
            model: 'dax',
            position: inner.position,
          });
          t.equal(seenIn(kept).files.get('inner'), 'inner');
          kept.release();
          lost.release();
          state.release();
        }
      }
    },
  );
}

/** What the checker says of a state's rows; orphans are for the next mount. */
function problemsOf(state: CrashState): string[] {
  const db = openDatabaseBytes(state.database);
  const { pageCount } = state;
  const context = { db, pageCount, seed: nameSeed(state.uuid), allowOrphans: true };
  const found = RULES.flatMap((rule) =>
    [...rule(context)].map(({ kind, where }) => `${kind} ${where}`),
  );
  db.close();
  return found;
}

/** Files written whole and synced, freed and written again: whether dax shows stale or lost bytes. */
function bugTrace(bugs: readonly string[]): { source: TraceSource; synced: number } {
  const image = new RecordedImage(emptyBase(16), parseBugs(bugs));
  image.create('a');
  image.write('a', 0, 'a'.repeat(PAGE_BYTES));
  image.force('fsync', 'a');
  const synced = image.position;
  image.create('b');
  image.unlink('a');
  image.write('b', 0, 'b'.repeat(2 * PAGE_BYTES));
  image.record({ type: 'workload-end', timeNs: 0, exitStatus: 0, signal: null });
  return { source: image, synced };
}

function findings(bugs: readonly string[], random: Random): Set<string> {
  const { source, synced } = bugTrace(bugs);
  const found = new Set<string>();
  for (const point of points(source, 'dax')) {
    const choices: StateChoice[] = someSets(point).flatMap(({ lostOperations }) =>
      (['newest', 'durable'] as const).map((otherLines) => ({
        ...newest('dax', point),
        lostOperations,
        otherLines,
      })),
    );
    for (let count = 0; count < 10; count++) choices.push(randomState('dax', point, random));
    for (const choice of choices) {
      const state = point.state(choice);
      const { files, open } = seenIn(state);
      if (open.stale().length > 0) found.add('stale');
      const a = files.get('a');
      if (a === undefined) {
        // Before the sync it may be missing, after the unlink too.
      } else if (/[^a]/.test(a)) {
        found.add(/[^ab]/.test(a) ? 'loss' : 'stale');
      } else if (point.position >= synced && a.length !== PAGE_BYTES) {
        found.add('loss');
      }
      state.release();
    }
  }
  return found;
}

t.test('without a bug no state of dax is stale or lost', async (t) => {
  t.same([...findings([], new Random(1))], []);
});

for (const bug of DATA_BUG_NAMES) {
  t.test(`dax shows the bug ${bug}`, async (t: Test) => {
    const found = findings([bug], new Random(1));
    t.comment([...found].join());
    t.ok(found.size > 0, bug);
  });
}
