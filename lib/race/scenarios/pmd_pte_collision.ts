import { WRITTEN } from '../../space/extent_list.js';
import { load, type Scenario, store } from '../scenario.js';

const HUGE_FILE = {
  pages: 512,
  extents: [{ filePage: 0, regionPage: 512, pageCount: 512, state: WRITTEN }],
  fill: 7,
} as const;

/** The third seed: two threads of one process, one private mapping of 2 MiB. */
export const pmdPteCollision: Scenario = {
  name: 'pmd-pte-collision',
  title: 'a private store wants a PTE, a private load of the same 2 MiB a PMD',
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
  regionPages: 1024,
};
