/** write() and read() of a page that is a hole or unwritten beside loads and stores of it. */
import { hole, load, preallocated, read, type Scenario, store, write } from '../scenario.js';

export const writeFault: Scenario = {
  name: 'write-fault',
  title: 'a hole is written to with write() while it is stored to and loaded through mappings',
  bug: 'hole-fault-race',
  files: { f: hole(1) },
  processes: { caller: {}, storer: { a: { file: 'f' } }, reader: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'caller', script: [write('f', 0, 1, 1), read('f', 0)] },
    { name: 'Process 2', process: 'storer', script: [store('a', 0, 2)] },
    { name: 'Process 3', process: 'reader', script: [load('b', 0, 1)] },
  ],
};

export const writeUnwritten: Scenario = {
  name: 'write-unwritten',
  title: 'preallocated space is written to with write() while it is loaded and stored to',
  bug: 'fault-no-completion',
  files: { f: preallocated(1) },
  processes: { caller: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'caller', script: [write('f', 0, 1, 1)] },
    { name: 'Process 2', process: 'user', script: [store('a', 0, 2), load('a', 0, 1)] },
  ],
};
