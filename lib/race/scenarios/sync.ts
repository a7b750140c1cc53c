/** The fifth seed, and other syncs: what a sync promised is there after any cut. */
import { WRITTEN } from '../../space/extent_list.js';
import { fsync, load, persist, punch, type Scenario, store, write } from '../scenario.js';

const HUGE_FILE = {
  pages: 512,
  extents: [{ filePage: 0, regionPage: 512, pageCount: 512, state: WRITTEN }],
  fill: 7,
} as const;
const WRITTEN_PAGE = {
  pages: 1,
  extents: [{ filePage: 0, regionPage: 4, pageCount: 1, state: WRITTEN }],
  fill: 7,
} as const;

export const mkcleanOneMapping: Scenario = {
  name: 'mkclean-one-mapping',
  title: 'a sync cleans a PMD entry; a PTE of it in another process stays storable',
  seed: {
    file: '004_0acbd0d573ec5c99.txt',
    what: 'Muchun Song and Dan Williams, March 2022: missing writeprotect of the pte entry',
  },
  bug: 'mkclean-one-mapping',
  files: { f: HUGE_FILE },
  processes: {
    A: { a: { file: 'f' } },
    B: { b: { file: 'f', page: 1, pageCount: 1 } },
  },
  threads: [
    { name: 'Process A', process: 'A', script: [store('a', 0, 1), fsync('f')] },
    { name: 'Process B', process: 'B', script: [store('b', 1, 2), store('b', 1, 3), fsync('f')] },
  ],
  hasCrash: true,
  regionPages: 1024,
};

export const twoSyncs: Scenario = {
  name: 'two-syncs',
  title: 'two processes store to one page and sync it, each for itself',
  files: { f: WRITTEN_PAGE },
  processes: { A: { a: { file: 'f' } }, B: { b: { file: 'f' } } },
  threads: [
    { name: 'Process A', process: 'A', script: [store('a', 0, 1), fsync('f')] },
    { name: 'Process B', process: 'B', script: [store('b', 0, 2, 8), fsync('f')] },
  ],
  hasCrash: true,
};

export const syncPunch: Scenario = {
  name: 'sync-punch',
  title: 'a page is synced while it is punched out, and stored to again',
  bug: 'punch-without-gate',
  files: { f: WRITTEN_PAGE },
  processes: { user: { a: { file: 'f' } }, puncher: {} },
  threads: [
    {
      name: 'Process 1',
      process: 'user',
      script: [store('a', 0, 1), fsync('f'), store('a', 0, 2)],
    },
    { name: 'Process 2', process: 'puncher', script: [punch('f', 0), fsync('f')] },
  ],
  hasCrash: true,
};

export const reuseBeforeCommit: Scenario = {
  name: 'reuse-before-commit',
  title: 'pages that a punch freed are given to another file before the punch is committed',
  bug: 'reuse-before-commit',
  files: {
    f: {
      pages: 1,
      extents: [{ filePage: 0, regionPage: 1, pageCount: 1, state: WRITTEN }],
      fill: 7,
    },
    g: { pages: 1 },
  },
  processes: { puncher: {}, user: { b: { file: 'g' } } },
  threads: [
    { name: 'Process 1', process: 'puncher', script: [punch('f', 0)] },
    { name: 'Process 2', process: 'user', script: [store('b', 0, 91), fsync('g')] },
  ],
  hasCrash: true,
  // No other page: g waits for what f gives up, or takes it too early. It may get none.
  regionPages: 2,
};

export const mapSync: Scenario = {
  name: 'map-sync',
  title: 'a program makes its store durable by itself through MAP_SYNC while others commit',
  bug: 'fault-no-completion',
  files: { f: { pages: 1 }, g: { pages: 1 } },
  processes: { user: { a: { file: 'f', isSync: true } }, other: {} },
  threads: [
    { name: 'Process 1', process: 'user', script: [store('a', 0, 1), persist('a', 0)] },
    { name: 'Process 2', process: 'other', script: [write('g', 0, 91), fsync('g')] },
  ],
  hasCrash: true,
  watch: ['load', 'synced', 'foreign', 'bus', 'progress'],
};

/** A page that an ordinary mapping allocated and did not sync, in a MAP_SYNC mapping. */
export const mapSyncShared: Scenario = {
  name: 'map-sync-shared',
  title: 'a MAP_SYNC mapping shows a page that another mapping allocated and nobody committed',
  files: { f: { pages: 1 } },
  processes: { user: { a: { file: 'f', isSync: true } }, other: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'user', script: [store('a', 0, 1), persist('a', 0)] },
    { name: 'Process 2', process: 'other', script: [store('b', 0, 2, 8), load('b', 0)] },
  ],
  hasCrash: true,
};
