/** The fourth seed: holes punched, and files cut and moved, under faults. */
import { WRITTEN } from '../../space/extent_list.js';
import {
  collapse,
  fsync,
  insert,
  load,
  punch,
  type Scenario,
  store,
  truncate,
  write,
  writeback,
  zero,
} from '../scenario.js';

const WRITTEN_PAGE = {
  pages: 1,
  extents: [{ filePage: 0, regionPage: 4, pageCount: 1, state: WRITTEN }],
  fill: 7,
} as const;
const THREE_PAGES = {
  pages: 3,
  extents: [{ filePage: 0, regionPage: 4, pageCount: 3, state: WRITTEN }],
  fill: 7,
} as const;

export const punchWithoutGate: Scenario = {
  name: 'punch-without-gate',
  title: 'between the invalidation and the freeing of a punch a store faults the page in again',
  seed: {
    file: '003_a4851788142bb074.txt',
    what: 'Jan Kara and Dave Chinner, May 2012: hole punching and mmap races',
  },
  bug: 'punch-without-gate',
  files: {
    f: {
      pages: 1,
      extents: [{ filePage: 0, regionPage: 1, pageCount: 1, state: WRITTEN }],
      fill: 7,
    },
    g: { pages: 1 },
  },
  processes: { puncher: {}, writer: { a: { file: 'f' } }, flusher: {} },
  threads: [
    { name: 'TASK1', process: 'puncher', script: [punch('f', 0), fsync('f'), write('g', 0, 91)] },
    { name: 'TASK2', process: 'writer', script: [store('a', 0, 1), store('a', 0, 2)] },
    { name: 'FLUSHER', process: 'flusher', script: [writeback('f')] },
  ],
  // What is mapped and free is caught at once; the story goes on to the other file's bytes.
  watch: ['other-file', 'page-table', 'progress'],
  // No other page: g gets what f gives up.
  regionPages: 2,
};

/** The same without waiting for somebody else to come to harm. */
export const punchFault: Scenario = {
  name: 'punch-fault',
  title: 'a page is punched out while it is loaded and stored to',
  bug: 'punch-without-gate',
  files: { f: WRITTEN_PAGE },
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
  files: {
    f: {
      pages: 2,
      extents: [{ filePage: 0, regionPage: 4, pageCount: 2, state: WRITTEN }],
      fill: 7,
    },
  },
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
  files: { f: THREE_PAGES },
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
  files: { f: THREE_PAGES },
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
  files: { f: WRITTEN_PAGE },
  processes: { zeroer: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'zeroer', script: [zero('f', 0)] },
    { name: 'Process 2', process: 'user', script: [store('a', 0, 1), load('a', 0)] },
  ],
};
