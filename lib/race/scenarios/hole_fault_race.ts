/** The race of the first seed, in its forms: a load shows the hole that it found before a store filled it. */
import { hole, load, type Scenario, store } from '../scenario.js';

const SEED = {
  file: '000_0d102dbfd08f3d91.txt',
  what: 'Ross Zwisler, Dave Chinner and Matthew Wilcox, January 2016: data corruption race',
};

export const holeFaultRace: Scenario = {
  name: 'hole-fault-race',
  title: 'a load looks up a hole; before it shows zeroes, a store allocates and is made',
  seed: SEED,
  bug: 'hole-fault-race',
  files: { f: hole(1) },
  processes: { reader: { a: { file: 'f' } }, writer: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'reader', script: [load('a', 0), load('a', 0)] },
    { name: 'Process 2', process: 'writer', script: [store('b', 0, 1), load('b', 0)] },
  ],
};

/** The PMD form of the mail: the hole is found for a PTE, the store allocates 2 MiB. */
export const holeFaultRacePmd: Scenario = {
  name: 'hole-fault-race-pmd',
  title: 'a load that wants a PTE looks up a hole; a store fills all 2 MiB of it with a PMD',
  seed: SEED,
  bug: 'hole-fault-race',
  files: { f: hole(512) },
  processes: {
    reader: { a: { file: 'f', pageCount: 1 } },
    writer: { b: { file: 'f' } },
  },
  threads: [
    { name: 'Process 1', process: 'reader', script: [load('a', 0), load('a', 0)] },
    { name: 'Process 2', process: 'writer', script: [store('b', 0, 1)] },
  ],
};

/** Two threads of one process: one page table, and a TLB each. */
export const holeFaultThreads: Scenario = {
  name: 'hole-fault-threads',
  title: 'two threads share a mapping of a hole: one loads, the other stores',
  bug: 'hole-fault-race',
  files: { f: hole(1) },
  processes: { both: { a: { file: 'f' } }, other: { b: { file: 'f' } } },
  threads: [
    { name: 'CPU 0', process: 'both', script: [load('a', 0)] },
    { name: 'CPU 1', process: 'both', script: [store('a', 0, 1)] },
    { name: 'CPU 2', process: 'other', script: [load('b', 0)] },
  ],
};
