/** The fourth seed: holes punched, and files cut and moved, under faults. */
import {
  collapse,
  fsync,
  hole,
  insert,
  load,
  punch,
  type Scenario,
  store,
  truncate,
  write,
  writeback,
  written,
  zero,
} from '../scenario.js';

const SEED = {
  file: '003_a4851788142bb074.txt',
  what: 'Jan Kara and Dave Chinner, May 2012: hole punching and mmap races',
};

export const punchWithoutGate: Scenario = {
  name: 'punch-without-gate',
  title: 'between the invalidation and the freeing of a punch a store faults the page in again',
  seed: SEED,
  bug: 'punch-without-gate',
  files: { f: written(1, 1), g: hole(1) },
  processes: { puncher: {}, writer: { a: { file: 'f' } }, flusher: {} },
  threads: [
    { name: 'TASK1', process: 'puncher', script: [punch('f', 0), fsync('f'), write('g', 0, 91)] },
    { name: 'TASK2', process: 'writer', script: [store('a', 0, 1), store('a', 0, 2)] },
    { name: 'FLUSHER', process: 'flusher', script: [writeback('f')] },
  ],
  // What is mapped and free is caught at once; the story goes on to the other file's bytes.
  watch: ['other-file', 'progress'],
  // No other page: g gets what f gives up.
  regionPages: 2,
};

/** The same without waiting for somebody else to come to harm. */
export const punchFault: Scenario = {
  name: 'punch-fault',
  title: 'a page is punched out while it is loaded and stored to',
  bug: 'punch-without-gate',
  files: { f: written(1) },
  processes: { puncher: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'puncher', script: [punch('f', 0)] },
    { name: 'Process 2', process: 'user', script: [store('a', 0, 1), load('a', 0)] },
    { name: 'Process 3', process: 'user', script: [load('a', 0)] },
  ],
};

export const truncateFault: Scenario = {
  name: 'truncate-fault',
  title: 'a file is cut and grown again while its last page is stored to',
  bug: 'punch-without-gate',
  files: { f: written(2) },
  processes: { cutter: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'cutter', script: [truncate('f', 1), truncate('f', 2)] },
    { name: 'Process 2', process: 'user', script: [store('a', 1, 1), load('a', 1), load('a', 0)] },
  ],
};

export const collapseFault: Scenario = {
  name: 'collapse-fault',
  title: 'a page is taken out of a file while the one behind it is stored to',
  bug: 'punch-without-gate',
  files: { f: written(3) },
  processes: { mover: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'mover', script: [collapse('f', 0)] },
    { name: 'Process 2', process: 'user', script: [store('a', 1, 1), load('a', 0), load('a', 1)] },
  ],
};

export const insertFault: Scenario = {
  name: 'insert-fault',
  title: 'a hole is put into a file while the page behind it is stored to',
  bug: 'punch-without-gate',
  files: { f: written(3) },
  processes: { mover: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'mover', script: [insert('f', 1)] },
    { name: 'Process 2', process: 'user', script: [store('a', 1, 1), load('a', 1), load('a', 2)] },
  ],
};

export const zeroFault: Scenario = {
  name: 'zero-range-fault',
  title: 'a range is zeroed while it is stored to and loaded',
  bug: 'punch-without-gate',
  files: { f: written(1) },
  processes: { zeroer: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'zeroer', script: [zero('f', 0)] },
    { name: 'Process 2', process: 'user', script: [store('a', 0, 1), load('a', 0)] },
  ],
};

/**
 * With the fix that the mail asks for (../retry.ts). Whoever punches twice may keep a fault going round
 * any number of times, but not for ever: when nobody holds the lock it goes on.
 */
export const retryFault: Scenario = {
  name: 'retry-fault',
  title: 'a fault that meets a punch fails and is made again from the start, any number of times',
  seed: SEED,
  bug: 'punch-without-gate',
  files: { f: written(1) },
  processes: { puncher: {}, writer: { a: { file: 'f' } } },
  threads: [
    { name: 'TASK1', process: 'puncher', script: [punch('f', 0), punch('f', 0)] },
    { name: 'TASK2', process: 'writer', script: [store('a', 0, 1), load('a', 0)] },
  ],
  faults: 'retry',
  hasRetries: true,
};
