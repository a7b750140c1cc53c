/** Small scenarios drawn at random from a seed, for comparing ways to go through them. */
import type { Random } from '../../lib/random.js';
import {
  collapse,
  fork,
  fsync,
  hole,
  insert,
  load,
  type MapSetup,
  msync,
  type Op,
  preallocated,
  punch,
  read,
  type Scenario,
  store,
  truncate,
  unmap,
  write,
  writeback,
  written,
  zero,
} from '../../lib/race/scenario.js';

const PAGES = 2;
const SCRIPT_MAX = 2;

/** Two or three threads in two processes over two files, with one or two ops each. */
export function generate(random: Random, number: number): Scenario {
  let value = 0;
  const pick = <T>(choices: readonly T[]): T => choices[random.below(choices.length)]!;
  const page = () => random.below(PAGES);
  const map = (): MapSetup => {
    return {
      file: pick(['f', 'f', 'g']),
      isPrivate: random.below(4) === 0,
      isSync: random.below(4) === 0,
    };
  };
  const op = (own: string): Op => {
    const file = pick(['f', 'f', 'g']);
    const ops: (() => Op)[] = [
      () => load(own, page()),
      () => store(own, page(), ++value),
      () => store(own, page(), ++value, 8),
      () => fsync(file),
      () => msync(own, page()),
      () => writeback(file),
      () => write(file, page(), ++value),
      () => read(file, page()),
      () => punch(file, page()),
      () => zero(file, page()),
      () => truncate(file, 1 + random.below(PAGES)),
      () => collapse(file, 0),
      () => insert(file, page()),
      () => unmap(own),
    ];
    return pick(ops)();
  };
  const script = (own: string) => {
    const ops: Op[] = [];
    for (let left = 1 + random.below(SCRIPT_MAX); left > 0; left--) {
      ops.push(op(own));
      // Nothing can be done with a mapping that is gone.
      if (ops.at(-1)!.op === 'unmap') break;
    }
    return ops;
  };
  const second = random.below(3) === 0 ? 'A' : 'B';
  const threads = [
    { name: '1', process: 'A', script: script('a') },
    { name: '2', process: second, script: script(second === 'A' ? 'c' : 'b') },
  ];
  const isForked = random.below(5) === 0;
  if (isForked) {
    threads[0]!.script.unshift(fork('3'));
    threads.push({ name: '3', process: 'C', script: [load('C.a', page())] });
  }
  const files = { f: pick([hole, preallocated, written])(PAGES), g: pick([hole, written])(PAGES) };
  if (files.g.extents !== undefined) files.g = written(PAGES, 8);
  return {
    name: `generated-${number}`,
    title: 'drawn at random',
    files,
    processes: { A: { a: map(), c: map() }, B: { b: map() }, ...(isForked ? { C: {} } : {}) },
    threads,
    hasCrash: random.below(2) === 0,
  };
}
