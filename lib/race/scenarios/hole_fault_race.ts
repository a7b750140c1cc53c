/** The race of the first seed, in its forms: a load shows the hole that it found before a store filled it. */
import { hole, load, punch, type Scenario, store, truncate, write, written } from '../scenario.js';

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

/** The PMD for zeroes goes when one of its pages is stored to, and with it its entry. */
export const zeroHugeStores: Scenario = {
  name: 'zero-huge-stores',
  title: 'a load shows a PMD of zeroes while two pages under it are stored to',
  files: { f: hole(512) },
  processes: {
    reader: { a: { file: 'f' } },
    one: { b: { file: 'f', pageCount: 1 } },
    two: { c: { file: 'f', page: 5, pageCount: 1 } },
  },
  threads: [
    { name: 'Process 1', process: 'reader', script: [load('a', 9)] },
    { name: 'Process 2', process: 'one', script: [store('b', 0, 1)] },
    { name: 'Process 3', process: 'two', script: [store('c', 5, 2)] },
  ],
};

/** The third store in order allocates the page behind its own, too. */
const inOrder = (lastPage: number) =>
  Array.from({ length: lastPage + 1 }, (_, page) => store('a', page, page + 1));

export const storesInOrder: Scenario = {
  name: 'stores-in-order',
  title: 'a store allocates ahead into a page that another process loads as a hole',
  bug: 'hole-fault-race',
  aheadPagesMax: 2,
  regionPages: 160,
  files: { f: hole(4) },
  processes: { filler: { a: { file: 'f' } }, reader: { b: { file: 'f', page: 3 } } },
  threads: [
    { name: 'Process 1', process: 'filler', script: inOrder(3) },
    { name: 'Process 2', process: 'reader', script: [load('b', 3), load('b', 3)] },
  ],
};

/** What was allocated ahead goes away as any page does. */
export const punchAhead: Scenario = {
  name: 'punch-ahead',
  title: 'a hole is punched where a store allocates ahead, and what was allocated is stored to',
  aheadPagesMax: 2,
  regionPages: 160,
  files: { f: hole(4) },
  processes: { filler: { a: { file: 'f' } }, puncher: {} },
  threads: [
    { name: 'Process 1', process: 'filler', script: [...inOrder(3), load('a', 3)] },
    { name: 'Process 2', process: 'puncher', script: [punch('f', 3)] },
  ],
};

/** A PMD would show pages beyond the end: there is none before the file has grown. */
export const hugeEnd: Scenario = {
  name: 'huge-end',
  title: 'a file that ends inside of 2 MiB grows to their end while it is loaded',
  files: { f: hole(511) },
  processes: { reader: { a: { file: 'f', pageCount: 512 } }, grower: {} },
  threads: [
    { name: 'Process 1', process: 'reader', script: [load('a', 0), load('a', 511)] },
    { name: 'Process 2', process: 'reader', script: [load('a', 511)] },
    { name: 'Process 3', process: 'grower', script: [truncate('f', 512)] },
  ],
};

/** A write beyond the end makes what lies between a hole: who saw SIGBUS there must see zeroes. */
export const writeGrowth: Scenario = {
  name: 'write-growth',
  title: 'a file grows by a write behind its end while the pages between are loaded',
  files: { f: hole(1) },
  processes: { reader: { a: { file: 'f', pageCount: 3 } }, grower: {} },
  threads: [
    { name: 'Process 1', process: 'reader', script: [load('a', 1), load('a', 1)] },
    { name: 'Process 2', process: 'grower', script: [write('f', 2, 1, 511)] },
  ],
};

/** Where file, region and address do not lie alike there is no PMD. */
export const hugeUnaligned: Scenario = {
  name: 'huge-unaligned',
  title: '2 MiB that lie askew in the region, or at their address, are loaded and stored to',
  files: { f: written(512, 516), g: hole(512) },
  processes: {
    region: { a: { file: 'f' } },
    address: { b: { file: 'g', addressPage: 1 } },
  },
  threads: [
    { name: 'Process 1', process: 'region', script: [load('a', 0), store('a', 5, 1)] },
    { name: 'Process 2', process: 'address', script: [load('b', 0), store('b', 5, 91)] },
  ],
};
