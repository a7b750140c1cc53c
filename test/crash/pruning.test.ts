/**
 * What an exploration leaves out is never a state that could have been bad: compared with the plain
 * product of everything a model allows, on small random programs.
 */
import t from 'tap';
import { Budget } from '../../lib/crash/search/budget.js';
import { ExhaustiveChooser } from '../../lib/crash/search/chooser.js';
import type { ModelName, StateChoice } from '../../lib/crash/choice.js';
import { Exploration } from '../../lib/crash/search/exploration.js';
import { Landmarks } from '../../lib/crash/search/landmarks.js';
import { points } from '../../lib/crash/state/points.js';
import { Random } from '../../lib/random.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { type Check, FunctionRunner, type Program, traceOf } from './tiny_programs.js';

/** Two files; each commit leaves a handful of lines undecided. */
function randomProgram(seed: number): TraceSource {
  const random = new Random(seed);
  const steps = (p: Program): void => {
    for (let step = 0; step < 8; step++) {
      const name = random.oneIn(2) ? 'a' : 'b';
      const letter = String.fromCharCode(98 + random.below(20));
      p.write(name, random.below(4) * 100, letter.repeat(1 + random.below(120)));
      if (random.oneIn(2)) p.fsync(name);
      if (random.oneIn(4)) p.print(`step ${step}`);
      if (random.oneIn(6) && !p.has(`n${step}`)) p.create(`n${step}`);
    }
  };
  return traceOf(steps, (p) => {
    for (const name of ['a', 'b']) {
      p.create(name);
      p.write(name, 0, 'a'.repeat(600));
      p.fsync(name);
    }
  });
}

/** Reads one file only, and finds some contents bad, which ones depends on what was acknowledged. */
const check: Check = (files, { acknowledged }) => {
  const text = files.read('a');
  const sum = [...text].reduce((total, letter) => total + letter.charCodeAt(0), 0);
  if ((sum + acknowledged.length) % 5 === 2) throw new Error(`${acknowledged.join()}: ${text}`);
  return text;
};

interface Found {
  bad: Set<string>;
  hashes: Set<string>;
  runs: number;
  exploration: Exploration;
}

async function exploreAll(
  source: TraceSource,
  model: ModelName,
  how: { prunes: boolean; shard?: { index: number; count: number }; slotCount?: number },
): Promise<Found> {
  const bad = new Set<string>();
  const noting: Check = (files, request) => {
    try {
      return check(files, request);
    } catch (error) {
      bad.add((error as Error).message);
      throw error;
    }
  };
  const runner = new FunctionRunner(noting, how.slotCount ?? 1);
  const exploration = new Exploration({
    source,
    runner,
    landmarks: new Landmarks(source),
    model,
    expect: [],
    tornBytes: undefined,
    seed: 1,
    shard: how.shard ?? { index: 0, count: 1 },
    budget: new Budget({ statesMax: undefined, secondsMax: undefined, signal: undefined }),
    prunes: how.prunes,
    onProgress: () => undefined,
    onFailing: async () => true,
  });
  exploration.survey();
  await exploration.run();
  return { bad, hashes: new Set(runner.hashes), runs: runner.runCount, exploration };
}

/** Image hashes of everything a model allows. */
function naiveProduct(source: TraceSource, model: ModelName): Set<string> {
  const hashes = new Set<string>();
  for (const point of points(source, model)) {
    for (const { lostOperations } of point.metadataChoices()) {
      const { units } = point.data({ lostOperations });
      const chooser = new ExhaustiveChooser();
      do {
        const lines = units.map(({ line, valueCount }): [number, number] => [
          line,
          chooser.pick(valueCount),
        ]);
        const { position } = point;
        const choice: StateChoice = {
          model,
          position,
          lostOperations,
          otherLines: 'durable',
          lines,
        };
        const state = point.state(choice);
        hashes.add(state.imageHash());
        state.release();
      } while (chooser.next());
    }
  }
  return hashes;
}

const SEEDS = [1, 2, 3, 4, 5, 6];

for (const model of ['dax', 'sector'] as const) {
  t.test(`without pruning every state of the ${model} product is run`, async (t) => {
    for (const seed of SEEDS) {
      const source = randomProgram(seed);
      const plain = await exploreAll(source, model, { prunes: false });
      if (!plain.exploration.isExhausted) continue;
      t.same([...plain.hashes].sort(), [...naiveProduct(source, model)].sort(), `seed ${seed}`);
    }
  });

  t.test(`with pruning the same contents are found bad under ${model}`, async (t) => {
    let [pruned, whole] = [0, 0];
    for (const seed of SEEDS) {
      const source = randomProgram(seed);
      const few = await exploreAll(source, model, { prunes: true });
      const all = await exploreAll(source, model, { prunes: false });
      if (!all.exploration.isExhausted) continue;
      t.ok(few.exploration.isExhausted, `seed ${seed}`);
      t.same([...few.bad].sort(), [...all.bad].sort(), `seed ${seed}`);
      t.equal(few.exploration.allowed, all.exploration.allowed);
      pruned += few.runs;
      whole += all.runs;
    }
    t.ok(pruned * 2 < whole, `${pruned} runs instead of ${whole}`);
  });
}

t.test('several slots find the same as one', async (t) => {
  for (const seed of SEEDS) {
    const source = randomProgram(seed);
    const one = await exploreAll(source, 'dax', { prunes: true });
    const four = await exploreAll(source, 'dax', { prunes: true, slotCount: 4 });
    t.same([...four.bad].sort(), [...one.bad].sort(), `seed ${seed}`);
  }
});

t.test('shards together find what the whole finds', async (t) => {
  for (const seed of SEEDS) {
    const source = randomProgram(seed);
    const whole = await exploreAll(source, 'dax', { prunes: true });
    const bad = new Set<string>();
    let allowed = 0n;
    for (const index of [0, 1, 2]) {
      const part = await exploreAll(source, 'dax', { prunes: true, shard: { index, count: 3 } });
      for (const text of part.bad) bad.add(text);
      allowed += part.exploration.allowed;
    }
    t.same([...bad].sort(), [...whole.bad].sort(), `seed ${seed}`);
    t.equal(allowed, whole.exploration.allowed);
  }
});

t.test('a journal is explored with five times fewer runs than states', async (t) => {
  const journal = (p: Program): void => {
    for (let round = 1; round <= 3; round++) {
      p.write('journal', 0, `${round}`.repeat(450));
      p.fsync('journal');
      p.write('commit', 0, '1');
      p.fsync('commit');
      p.write('data', 0, `${round}`.repeat(450));
      p.fsync('data');
      p.write('commit', 0, '0');
      p.fsync('commit');
    }
  };
  const source = traceOf(journal, (p) => {
    for (const [name, length] of [
      ['journal', 450],
      ['data', 450],
      ['commit', 1],
    ] as const) {
      p.create(name);
      p.write(name, 0, '0'.repeat(length));
      p.fsync(name);
    }
  });
  const recovery: Check = (files) => {
    const text = files.read(files.read('commit') === '1' ? 'journal' : 'data');
    if (new Set(text).size > 1) throw new Error(`torn: ${text}`);
    return text;
  };
  const counts: number[] = [];
  for (const prunes of [true, false]) {
    const runner = new FunctionRunner(recovery);
    const exploration = new Exploration({
      source,
      runner,
      landmarks: new Landmarks(source),
      model: 'dax',
      expect: [],
      tornBytes: undefined,
      seed: 1,
      shard: { index: 0, count: 1 },
      budget: new Budget({ statesMax: undefined, secondsMax: undefined, signal: undefined }),
      prunes,
      onProgress: () => undefined,
      onFailing: async () => true,
    });
    exploration.survey();
    await exploration.run();
    t.ok(exploration.isExhausted);
    counts.push(runner.runCount);
    const { run, prunedSameImage, prunedUnread } = exploration.runs.counts;
    t.equal(exploration.considered, run + prunedSameImage + prunedUnread);
  }
  const [pruned, whole] = counts as [number, number];
  t.comment(`${pruned} runs instead of ${whole}`);
  t.ok(pruned * 5 <= whole, `${pruned} runs instead of ${whole}`);
});
