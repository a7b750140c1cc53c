/**
 * The oracle of live rounds: right histories are explained, and each of them with one thing changed that no
 * filesystem may show is not, for the reason that is named.
 */
import t from 'tap';
import {
  fork,
  fsync,
  load,
  type Op,
  persist,
  punch,
  read,
  type Scenario,
  store,
  truncate,
  collapse,
  write,
} from '../../lib/race/scenario.js';
import type { Keep } from '../../lib/region.js';
import { UNWRITTEN, WRITTEN } from '../../lib/space/extent_list.js';
import type { Action, Seen } from '../../tools/live/model.js';
import { type Event, judge } from '../../tools/live/oracle.js';

const MS = 1e6;
const done: Seen = { kind: 'done' };
const bus: Seen = { kind: 'bus' };
const end: Seen = { kind: 'end' };
const sees = (value: number): Seen => ({ kind: 'value', value });
const all = (...values: number[]): Seen => ({ kind: 'values', values });
const fails = (code: string): Seen => ({ kind: 'error', code });
const mtime = (us: number): Seen => ({ kind: 'time', us });
const cut = (keep: Keep['keep']): Action => {
  return { op: 'cut', keep: keep === 'seed' ? { keep, seed: 1 } : { keep } };
};
const scan = (map: string, page: number): Action => ({ op: 'scan', map, page });

/** From and to in ms. */
type Row = readonly [from: number, to: number, action: Action, seen: Seen];

function found(scenario: Scenario, rows: readonly Row[]): string {
  const events = rows.map(([from, to, action, seen]): Event => {
    return { column: 0, action, beginNs: from * MS, endNs: to * MS, seen };
  });
  return judge(scenario, events)?.invariant ?? 'explained';
}

const WORDS: readonly Op[] = [1, 2, 3].map((value) => store('a', 0, value));
const TWO_PAGES = {
  pages: 2,
  extents: [{ filePage: 0, regionPage: 4, pageCount: 2, state: WRITTEN }],
  fill: 7,
} as const;

const plain: Scenario = {
  name: 'plain',
  title: 'a file of two pages and one of a hole, both mapped twice',
  files: { f: TWO_PAGES, g: { pages: 1 } },
  processes: {
    one: { a: { file: 'f' }, sync: { file: 'f', isSync: true } },
    two: { b: { file: 'f' }, own: { file: 'f', isPrivate: true }, c: { file: 'g' } },
  },
  threads: [
    { name: '1', process: 'one', script: [...WORDS, store('own', 0, 5)] },
    { name: '2', process: 'two', script: [store('c', 0, 91)] },
  ],
};

interface Case {
  name: string;
  rows: readonly Row[];
  scenario?: Scenario;
  /** The row that is changed, what it sees then, and what is wrong with that. */
  mutants: readonly (readonly [row: number, seen: Seen, wrong: string])[];
}

const cases: Case[] = [
  {
    name: 'a load sees the last store, or one beside it',
    rows: [
      [0, 1, store('a', 0, 1), done],
      [2, 5, store('a', 0, 2), done],
      [3, 4, load('b', 0), sees(1)],
      [6, 7, load('b', 0), sees(2)],
      [6, 7, read('f', 0), sees(2)],
    ],
    mutants: [
      [2, sees(7), 'load'],
      [3, sees(1), 'load'],
      [4, sees(7), 'load'],
      [4, end, 'load'],
      [3, bus, 'bus'],
      [1, bus, 'bus'],
      [3, fails('EIO'), 'error'],
      [3, sees(91), 'other-file'],
      [3, sees(-8), 'foreign'],
    ],
  },
  {
    name: 'two loads do not see one store come and go',
    rows: [
      [0, 9, store('a', 0, 1), done],
      [1, 2, load('b', 0), sees(7)],
      [3, 4, load('b', 0), sees(1)],
      [5, 6, load('a', 0), sees(1)],
    ],
    mutants: [
      [1, sees(1), 'explained'],
      [3, sees(7), 'load'],
    ],
  },
  {
    name: 'a punch zeroes, and nothing else comes back',
    rows: [
      [0, 1, store('a', 1, 1), done],
      [2, 5, punch('f', 1), done],
      [3, 4, store('a', 1, 2), done],
      [6, 7, load('b', 1), sees(0)],
      [8, 9, scan('b', 1), all(0)],
      [10, 11, load('b', 0), sees(7)],
    ],
    mutants: [
      [3, sees(2), 'explained'],
      [3, sees(1), 'load'],
      [5, sees(0), 'load'],
      [4, all(0, 91), 'other-file'],
      [4, all(0, -3), 'foreign'],
    ],
  },
  {
    name: 'beyond the end is SIGBUS, and zeroes when the file has grown',
    rows: [
      [0, 1, store('a', 1, 1), done],
      [2, 3, truncate('f', 1), done],
      [4, 5, load('a', 1), bus],
      [4, 5, read('f', 1), end],
      [6, 7, truncate('f', 2), done],
      [8, 9, load('a', 1), sees(0)],
    ],
    mutants: [
      [2, sees(1), 'load'],
      [3, sees(0), 'load'],
      [5, sees(1), 'load'],
      [5, bus, 'bus'],
    ],
  },
  {
    name: 'collapse brings the page behind',
    rows: [
      [0, 1, store('a', 1, 1), done],
      [2, 3, collapse('f', 0), done],
      [4, 5, load('b', 0), sees(1)],
      [4, 5, load('b', 1), bus],
    ],
    mutants: [
      [2, sees(7), 'load'],
      [3, sees(1), 'load'],
    ],
  },
  {
    name: 'what a store to a private mapping made stays its own until a truncation',
    rows: [
      [0, 1, store('own', 0, 5), done],
      [2, 3, store('a', 0, 1), done],
      [4, 5, load('own', 0), sees(5)],
      [4, 5, load('b', 0), sees(1)],
      [6, 7, punch('f', 0), done],
      [8, 9, load('own', 0), sees(5)],
      [10, 11, truncate('f', 0), done],
      [12, 13, truncate('f', 1), done],
      [14, 15, load('own', 0), sees(0)],
    ],
    mutants: [
      [2, sees(1), 'load'],
      [3, sees(5), 'load'],
      [5, sees(0), 'load'],
      [8, sees(5), 'load'],
    ],
  },
  {
    name: 'a child of fork has its parent’s own pages',
    scenario: {
      ...plain,
      processes: { one: { a: { file: 'f', isPrivate: true } }, child: {} },
      threads: [
        { name: '1', process: 'one', script: [store('a', 0, 1), fork('2'), store('a', 0, 2)] },
        { name: '2', process: 'child', script: [load('child.a', 0)] },
      ],
    },
    rows: [
      [0, 1, store('a', 0, 1), done],
      [2, 3, fork('2'), done],
      [4, 5, store('a', 0, 2), done],
      [6, 7, load('child.a', 0), sees(1)],
    ],
    mutants: [
      [3, sees(2), 'load'],
      [3, sees(7), 'load'],
    ],
  },
  {
    name: 'a power cut takes what was not synced, no more, and all see the same after it',
    rows: [
      [0, 1, store('a', 0, 1), done],
      [2, 3, fsync('f'), done],
      [4, 5, store('a', 0, 2), done],
      [6, 7, store('a', 0, 3), done],
      [8, 9, cut('seed'), done],
      [10, 11, load('a', 0), sees(2)],
      [12, 13, read('f', 0), sees(2)],
    ],
    mutants: [
      [5, sees(7), 'load'],
      [5, sees(3), 'load'],
      [6, sees(1), 'load'],
    ],
  },
  {
    name: 'a cut that keeps all takes nothing; what is beside a cut may be old or new',
    rows: [
      [0, 1, store('a', 0, 1), done],
      [2, 5, cut('all'), done],
      [3, 4, load('b', 0), sees(7)],
      [3, 4, fsync('f'), fails('EIO')],
      [6, 7, load('b', 0), sees(1)],
    ],
    mutants: [
      [2, sees(91), 'other-file'],
      [4, sees(7), 'load'],
      [3, fails('EINVAL'), 'error'],
    ],
  },
  {
    name: 'what a private mapping stored beyond the new end goes with a collapse',
    rows: [
      [0, 1, store('own', 1, 5), done],
      [2, 3, load('own', 1), sees(5)],
      [4, 5, collapse('f', 0), done],
      [6, 7, truncate('f', 2), done],
      [8, 9, load('own', 1), sees(0)],
    ],
    mutants: [
      [1, sees(7), 'load'],
      [4, sees(5), 'load'],
    ],
  },
  {
    name: 'a collapse fails where its range reaches the end, and only there',
    rows: [
      [0, 1, collapse('f', 0), done],
      [2, 3, collapse('f', 0), fails('EINVAL')],
      [4, 5, load('a', 0), sees(7)],
    ],
    mutants: [
      [0, fails('EINVAL'), 'error'],
      [1, fails('EIO'), 'error'],
    ],
  },
  {
    name: 'a cut leaves the order of pages from before a collapse or after it, with what was stored',
    rows: [
      [0, 1, collapse('f', 0), done],
      [2, 3, store('a', 0, 1), done],
      [4, 5, cut('seed'), done],
      [6, 7, load('a', 1), sees(1)],
      [8, 9, load('a', 0), sees(7)],
    ],
    mutants: [
      [3, bus, 'explained'],
      [3, sees(0), 'load'],
      [4, sees(1), 'load'],
      [4, bus, 'bus'],
    ],
  },
  {
    name: 'what was promised is there in the order of pages that was promised',
    rows: [
      [0, 1, collapse('f', 0), done],
      [2, 3, store('a', 0, 1), done],
      [4, 5, fsync('f'), mtime(500)],
      [6, 7, cut('none'), done],
      [8, 9, load('a', 0), sees(1)],
      [10, 11, load('a', 1), bus],
    ],
    mutants: [
      [4, sees(7), 'load'],
      [5, sees(1), 'load'],
    ],
  },
  {
    name: 'a flush by the program is a promise through MAP_SYNC',
    rows: [
      [0, 1, store('sync', 0, 1), done],
      [2, 3, persist('sync', 0), done],
      [4, 5, cut('none'), done],
      [6, 7, load('a', 0), sees(1)],
    ],
    mutants: [[3, sees(7), 'load']],
  },
  {
    name: 'a write that a cut failed has happened or not, but once',
    rows: [
      [0, 5, write('f', 0, 1), fails('EIO')],
      [2, 3, cut('none'), done],
      [6, 7, load('a', 0), sees(1)],
      [8, 9, load('b', 0), sees(1)],
    ],
    mutants: [
      [2, sees(7), 'load'],
      [3, sees(7), 'load'],
    ],
    scenario: { ...plain, threads: [{ name: '1', process: 'one', script: [write('f', 0, 1)] }] },
  },
  {
    name: 'a page that cannot be zeroed is SIGBUS, and reads as zeroes',
    scenario: {
      ...plain,
      files: {
        f: { pages: 1, extents: [{ filePage: 0, regionPage: 4, pageCount: 1, state: UNWRITTEN }] },
        g: { pages: 1 },
      },
      poisoned: [4],
    },
    rows: [
      [0, 1, store('a', 0, 1), bus],
      [2, 3, load('b', 0), sees(0)],
      [4, 5, load('b', 0), bus],
    ],
    mutants: [
      [0, done, 'media'],
      [1, sees(1), 'load'],
    ],
  },
  {
    name: 'after a sync the first store moves the mtime',
    rows: [
      [0, 1, store('a', 0, 1), done],
      [2, 3, fsync('f'), mtime(500)],
      [20, 21, store('a', 0, 2), done],
      [30, 31, { op: 'times', file: 'f' }, mtime(20_500)],
    ],
    mutants: [[3, mtime(500), 'times']],
  },
];

for (const { name, rows, mutants, scenario = plain } of cases) {
  t.test(name, async (t) => {
    t.equal(found(scenario, rows), 'explained');
    for (const [at, seen, wrong] of mutants) {
      const mutated = rows.map((row, index): Row => {
        return index === at ? [row[0], row[1], row[2], seen] : row;
      });
      t.equal(found(scenario, mutated), wrong, `row ${at} ${JSON.stringify(seen)}`);
    }
  });
}
