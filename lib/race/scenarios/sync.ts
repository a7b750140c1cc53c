/** The fifth seed, and other syncs: what a sync promised is there after any cut. */
import {
  collapse,
  fsync,
  hole,
  HUGE_FILE,
  HUGE_REGION_PAGES,
  insert,
  load,
  msync,
  persist,
  punch,
  type Scenario,
  store,
  write,
  written,
} from '../scenario.js';

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
  regionPages: HUGE_REGION_PAGES,
};

export const twoSyncs: Scenario = {
  name: 'two-syncs',
  title: 'two processes store to one page and sync it, each for itself',
  files: { f: written(1) },
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
  files: { f: written(1) },
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

/** The second msync of process A, at least, is the fault server's own where nothing else happened. */
export const settledSync: Scenario = {
  name: 'settled-sync',
  title: 'a page is synced by the fault server alone, while another process stores to it and syncs',
  files: { f: written(1) },
  processes: { A: { a: { file: 'f' } }, B: { b: { file: 'f' } } },
  threads: [
    {
      name: 'Process A',
      process: 'A',
      script: [store('a', 0, 1), msync('a', 0), store('a', 0, 2), msync('a', 0)],
    },
    { name: 'Process B', process: 'B', script: [store('b', 0, 3, 8), msync('b', 0)] },
  ],
  hasCrash: true,
};

export const settledSyncPages: Scenario = {
  name: 'settled-sync-pages',
  title: 'of two dirty pages one is synced, then the other; another process stores to that',
  files: { f: written(2) },
  processes: { A: { a: { file: 'f' } }, B: { b: { file: 'f', page: 1, pageCount: 1 } } },
  threads: [
    {
      name: 'Process A',
      process: 'A',
      script: [store('a', 0, 1), store('a', 1, 2), msync('a', 0), msync('a', 1)],
    },
    { name: 'Process B', process: 'B', script: [store('b', 1, 3, 8)] },
  ],
  hasCrash: true,
};

/** The fault server has what is stored to mapped anew, which may come after the sync of that store. */
export const hugeStoreSync: Scenario = {
  name: 'huge-store-sync',
  title: '2 MiB are stored to and synced while the process is told to map them anew, storable',
  files: { f: HUGE_FILE },
  processes: { A: { a: { file: 'f' } } },
  threads: [
    {
      name: 'Process A',
      process: 'A',
      script: [
        load('a', 0),
        store('a', 0, 1),
        fsync('f'),
        store('a', 1, 2),
        fsync('f'),
        msync('a', 0),
      ],
    },
  ],
  hasCrash: true,
  regionPages: HUGE_REGION_PAGES,
};

export const settledSyncPunch: Scenario = {
  name: 'settled-sync-punch',
  title: 'a page is synced by the fault server alone, while it is punched out and stored to again',
  files: { f: written(1) },
  processes: { A: { a: { file: 'f' } }, puncher: {} },
  threads: [
    {
      name: 'Process 1',
      process: 'A',
      script: [store('a', 0, 1), msync('a', 0), store('a', 0, 2), msync('a', 0)],
    },
    { name: 'Process 2', process: 'puncher', script: [punch('f', 0)] },
  ],
  hasCrash: true,
};

export const reuseBeforeCommit: Scenario = {
  name: 'reuse-before-commit',
  title: 'pages that a punch freed are given to another file before the punch is committed',
  bug: 'reuse-before-commit',
  files: { f: written(1, 1), g: hole(1) },
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
  files: { f: hole(1), g: hole(1) },
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
  files: { f: hole(1) },
  processes: { user: { a: { file: 'f', isSync: true } }, other: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'user', script: [store('a', 0, 1), persist('a', 0)] },
    { name: 'Process 2', process: 'other', script: [store('b', 0, 2, 8), load('b', 0)] },
  ],
  hasCrash: true,
};

export const collapseSync: Scenario = {
  name: 'collapse-sync',
  title: 'a page is stored to and synced while the one before it is taken out of the file',
  bug: 'punch-without-gate',
  files: { f: written(3) },
  processes: { mover: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'mover', script: [collapse('f', 0), fsync('f')] },
    { name: 'Process 2', process: 'user', script: [store('a', 1, 1), fsync('f')] },
  ],
  hasCrash: true,
};

/** The store is noted and nobody was told when the collapse moves its page. */
export const collapseCaught: Scenario = {
  name: 'collapse-caught',
  title: 'a page that is shown is stored to untold and synced while the one before it is taken out',
  bug: 'punch-without-gate',
  files: { f: written(3) },
  processes: { mover: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'mover', script: [collapse('f', 0), fsync('f')] },
    { name: 'Process 2', process: 'user', script: [load('a', 1), store('a', 1, 1), fsync('f')] },
  ],
  hasCrash: true,
};

export const collapseFails: Scenario = {
  name: 'collapse-fails',
  title: 'a page is stored to and synced while a collapse finds that it is the last one, and fails',
  files: { f: written(1) },
  processes: { mover: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'mover', script: [collapse('f', 0)] },
    { name: 'Process 2', process: 'user', script: [store('a', 0, 1), fsync('f'), load('a', 0)] },
  ],
  hasCrash: true,
};

export const insertSync: Scenario = {
  name: 'insert-sync',
  title: 'a page is stored to and synced while a hole is put into the file before it',
  bug: 'punch-without-gate',
  files: { f: written(2) },
  processes: { mover: {}, user: { a: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'mover', script: [insert('f', 1), fsync('f')] },
    { name: 'Process 2', process: 'user', script: [store('a', 1, 1), fsync('f')] },
  ],
  hasCrash: true,
};
