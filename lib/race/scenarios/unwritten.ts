/** The second seed: faults into unwritten extents, their completion, and what a crash shows of them. */
import {
  fsync,
  hole,
  load,
  preallocated,
  type Scenario,
  store,
  write,
  written,
} from '../scenario.js';

const SEED = {
  file: '001_0596a07b04a8502c.txt',
  what: 'Dave Chinner, September 2014: faults into unwritten extents',
};

export const faultNoCompletion: Scenario = {
  name: 'fault-no-completion',
  title: 'a store faults into preallocated space, is synced, and the power goes',
  seed: SEED,
  bug: 'fault-no-completion',
  files: { f: preallocated(1) },
  processes: { writer: { a: { file: 'f' } }, reader: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'writer', script: [store('a', 0, 1), fsync('f')] },
    { name: 'Process 2', process: 'reader', script: [load('b', 0)] },
  ],
  hasCrash: true,
  watch: ['load', 'synced', 'foreign', 'bus', 'progress', 'page-table'],
};

export const convertBeforeZero: Scenario = {
  name: 'convert-before-zero',
  title: 'a store allocates a page; the power goes before it is zeroed',
  seed: SEED,
  bug: 'convert-before-zero',
  files: { f: hole(1), g: written(1) },
  processes: { writer: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'writer', script: [store('a', 0, 1)] },
    { name: 'Process 2', process: 'writer', script: [write('g', 0, 91), fsync('g')] },
  ],
  hasCrash: true,
  // What a program would see without a crash is right in the end.
  watch: ['synced', 'foreign', 'load', 'bus', 'progress'],
};

export const zeroErrorIgnored: Scenario = {
  name: 'zero-error-ignored',
  title: 'a store faults into preallocated space whose page the media cannot zero',
  seed: SEED,
  bug: 'zero-error-ignored',
  files: { f: preallocated(1) },
  processes: { writer: { a: { file: 'f' } }, reader: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'writer', script: [store('a', 0, 1), fsync('f')] },
    { name: 'Process 2', process: 'reader', script: [load('b', 0)] },
  ],
  poisoned: [4],
  hasCrash: true,
  watch: ['media', 'synced', 'foreign', 'bus', 'progress'],
};
