/**
 * The third seed: PMD and PTE faults of one private mapping, in which loads may be served by a PMD and
 * stores never are. Both forms of the mail are the same two threads in another order.
 */
import {
  collapse,
  HUGE_FILE,
  HUGE_REGION_PAGES,
  load,
  punch,
  type Scenario,
  store,
  truncate,
  written,
} from '../scenario.js';

const COLLISION = {
  seed: {
    file: '002_4c6bf4e563a802d7.txt',
    what: 'Ross Zwisler and Jan Kara, May 2017: race between colliding PMD and PTE entries',
  },
  bug: 'pmd-pte-collision',
  files: { f: HUGE_FILE },
  processes: { both: { a: { file: 'f', isPrivate: true } } },
  threads: [
    { name: 'CPU 0', process: 'both', script: [store('a', 0, 1), load('a', 0)] },
    { name: 'CPU 1', process: 'both', script: [load('a', 5)] },
  ],
  regionPages: HUGE_REGION_PAGES,
} as const satisfies Partial<Scenario>;

/** The mail's first race. */
export const pteUnderPmd: Scenario = {
  ...COLLISION,
  name: 'pte-under-pmd',
  title: 'a private store falls back to a PTE; before it is installed, a load has a PMD there',
  watch: ['pte-under-pmd', 'load', 'mapping', 'bus', 'progress'],
};

/** The mail's second race. */
export const pmdPteCollision: Scenario = {
  ...COLLISION,
  name: 'pmd-pte-collision',
  title: 'a private load finds no PMD; before it installs one, a store has a PTE there',
  watch: ['pmd-over-pte', 'load', 'mapping', 'bus', 'progress'],
};

/** Jan Kara's fix, which the engine has: who finds something else there than it looked for bails out. */
export const bailAndRetry: Scenario = {
  ...COLLISION,
  name: 'bail-and-retry',
  title: 'as both races, with every order of every two steps: who bails out gets there in the end',
  hasRetries: true,
};

/** With page entries in the way at first, which a punch takes away. */
export const pmdAfterPunch: Scenario = {
  ...COLLISION,
  name: 'pmd-after-punch',
  title: 'a load falls back to a PTE; before it is installed, the 2 MiB are free again for a PMD',
  threads: [
    { name: 'CPU 0', process: 'both', script: [load('a', 1), store('a', 0, 1)] },
    { name: 'CPU 1', process: 'both', script: [load('a', 5)] },
    { name: 'CPU 2', process: 'both', script: [punch('f', 1)] },
  ],
};

export const privateThreads: Scenario = {
  name: 'private-threads',
  title: 'three threads fault on one page of a private mapping, and one makes it its own',
  files: { f: written(1) },
  processes: { all: { a: { file: 'f', isPrivate: true } } },
  threads: [
    { name: 'CPU 0', process: 'all', script: [store('a', 0, 1), load('a', 0)] },
    { name: 'CPU 1', process: 'all', script: [load('a', 0)] },
    { name: 'CPU 2', process: 'all', script: [load('a', 0)] },
  ],
};

export const privateTruncate: Scenario = {
  name: 'private-truncate',
  title: 'a private page is stored to while it is punched out and its file cut and grown',
  files: { f: written(2) },
  processes: { one: { a: { file: 'f', isPrivate: true } }, cutter: {} },
  threads: [
    { name: 'CPU 0', process: 'one', script: [store('a', 1, 1), load('a', 1)] },
    {
      name: 'CPU 1',
      process: 'cutter',
      script: [punch('f', 1), truncate('f', 1), truncate('f', 2)],
    },
  ],
};

export const privatePunch: Scenario = {
  name: 'private-punch',
  title: 'both pages of a file are punched out under a private page; the other one is loaded',
  files: { f: written(2) },
  processes: { one: { a: { file: 'f', isPrivate: true } }, puncher: {} },
  threads: [
    { name: 'CPU 0', process: 'one', script: [store('a', 1, 1), load('a', 0), load('a', 1)] },
    { name: 'CPU 1', process: 'puncher', script: [punch('f', 0, 2)] },
  ],
};

export const privateCollapse: Scenario = {
  name: 'private-collapse',
  title: 'a private page is beyond the end after a collapse, and the file grows again',
  files: { f: written(2) },
  processes: { one: { a: { file: 'f', isPrivate: true } }, cutter: {} },
  threads: [
    { name: 'CPU 0', process: 'one', script: [store('a', 1, 1), load('a', 1)] },
    { name: 'CPU 1', process: 'cutter', script: [collapse('f', 0), truncate('f', 2)] },
  ],
};
