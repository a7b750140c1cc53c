/** The third seed: PMD and PTE faults of one private mapping. */
import { WRITTEN } from '../../space/extent_list.js';
import { load, punch, type Scenario, store, truncate } from '../scenario.js';

const SEED = {
  file: '002_4c6bf4e563a802d7.txt',
  what: 'Ross Zwisler and Jan Kara, May 2017: race between colliding PMD and PTE entries',
};
const HUGE_FILE = {
  pages: 512,
  extents: [{ filePage: 0, regionPage: 512, pageCount: 512, state: WRITTEN }],
  fill: 7,
} as const;

/** The mail's second race; a load retries as often as it must (bail and retry is the fix). */
export const pmdPteCollision: Scenario = {
  name: 'pmd-pte-collision',
  title: 'a private store gets its own page under the PMD that a private load still wants',
  seed: SEED,
  bug: 'pmd-pte-collision',
  files: { f: HUGE_FILE },
  processes: { both: { a: { file: 'f', isPrivate: true } } },
  threads: [
    { name: 'CPU 0', process: 'both', script: [store('a', 0, 1), load('a', 0)] },
    { name: 'CPU 1', process: 'both', script: [load('a', 5)] },
  ],
  regionPages: 1024,
};

/** With page entries in the way at first, so that one fault falls back to PTEs: the mail's first race. */
export const pteUnderPmd: Scenario = {
  name: 'pte-under-pmd',
  title: 'a load falls back to a PTE; before it is installed, the 2 MiB are free again for a PMD',
  seed: SEED,
  bug: 'pmd-pte-collision',
  files: { f: { ...HUGE_FILE } },
  processes: { both: { a: { file: 'f', isPrivate: true } } },
  threads: [
    { name: 'CPU 0', process: 'both', script: [load('a', 1), store('a', 0, 1)] },
    { name: 'CPU 1', process: 'both', script: [load('a', 5)] },
    { name: 'CPU 2', process: 'both', script: [punch('f', 1)] },
  ],
  regionPages: 1024,
};

export const privateThreads: Scenario = {
  name: 'private-threads',
  title: 'three threads fault on one page of a private mapping, and one makes it its own',
  files: {
    f: {
      pages: 1,
      extents: [{ filePage: 0, regionPage: 4, pageCount: 1, state: WRITTEN }],
      fill: 7,
    },
  },
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
  files: {
    f: {
      pages: 2,
      extents: [{ filePage: 0, regionPage: 4, pageCount: 2, state: WRITTEN }],
      fill: 7,
    },
  },
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
