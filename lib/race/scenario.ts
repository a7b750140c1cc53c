/**
 * A scenario: a few files, processes that map them, and threads with short scripts, one a CPU. Plain
 * data, so that one is about thirty lines (scenarios/). What must hold after every step is in
 * invariants.ts and needs not be said; `watch` leaves out what would tell another story first.
 *
 * Pages count 4 KiB. Programs load and store words of 8 bytes, which hold small numbers; `word` is 0
 * where it is left out. Every value that is stored should occur once, so that it names its store.
 */
import { type ExtentState, UNWRITTEN, WRITTEN } from '../space/extent_list.js';

/** What free pages of the region hold at the beginning: what a removed file of somebody left there. */
export const OLD_BYTES = 0xdead;

export interface FileSetup {
  /** Size. */
  pages: number;
  /** What is mapped, committed and durable. */
  extents?: readonly {
    filePage: number;
    regionPage: number;
    pageCount: number;
    state: ExtentState;
  }[];
  /** What the words of its written pages hold; 0 unless given. */
  fill?: number;
}

export interface MapSetup {
  file: string;
  /** First page of the file that it shows; 0. */
  page?: number;
  /** All from there to the end of the file unless given. */
  pageCount?: number;
  /** Page of the address space at which it begins; the page of the file unless given. */
  addressPage?: number;
  isPrivate?: boolean;
  isSync?: boolean;
}

export type Op =
  | { op: 'load'; map: string; page: number; word: number }
  | { op: 'store'; map: string; page: number; word: number; value: number }
  /** CLWB and SFENCE of the word by the program; a promise with MAP_SYNC only. */
  | { op: 'persist'; map: string; page: number; word: number }
  | { op: 'fsync'; file: string }
  | { op: 'msync'; map: string; page: number; pageCount: number }
  /** The flusher: as fsync, without the commit, and nobody is promised anything. */
  | { op: 'writeback'; file: string }
  | { op: 'commit' }
  | { op: 'write'; file: string; page: number; word: number; value: number }
  | { op: 'read'; file: string; page: number; word: number }
  | { op: 'punch' | 'zero' | 'collapse' | 'insert'; file: string; page: number; pageCount: number }
  | { op: 'truncate'; file: string; pages: number }
  /** Starts the thread of that name, whose process has a copy of all mappings of this one. */
  | { op: 'fork'; child: string }
  | { op: 'unmap'; map: string };

export interface ThreadSetup {
  name: string;
  process: string;
  script: readonly Op[];
}

/** What can break; invariants.ts says what each means. */
export const INVARIANTS = [
  'load',
  'content',
  'other-file',
  'zeroes',
  'mapping',
  'unaligned',
  'page-table',
  'pte-under-pmd',
  'pmd-over-pte',
  'bus',
  'media',
  'synced',
  'foreign',
  'progress',
] as const;
export type Invariant = (typeof INVARIANTS)[number];

export interface Scenario {
  name: string;
  /** One sentence that begins with what happens. */
  title: string;
  /** The mail it is from: its file name, and who wrote what. */
  seed?: { file: string; what: string };
  /** The switch of lib/dax/bugs.ts that makes it fail. */
  bug?: string;
  files: Readonly<Record<string, FileSetup>>;
  /** Mappings by name, for each process; names are unique among all. */
  processes: Readonly<Record<string, Readonly<Record<string, MapSetup>>>>;
  threads: readonly ThreadSetup[];
  /** Power may go at any moment. */
  hasCrash?: boolean;
  /** Only these are checked. */
  watch?: readonly Invariant[];
  /** Region pages that cannot be read or zeroed. */
  poisoned?: readonly number[];
  /** Pages of the region; as many as the extents need, and 2 MiB free when a file is that long. */
  regionPages?: number;
  /** What a store of a series in order allocates at most; 1. */
  aheadPagesMax?: number;
  /** Faults are served by another implementation (read_first.ts, retry.ts). */
  faults?: 'read-first' | 'retry';
  /** Every order of every two steps is tried, so that no round of retries is left out. */
  hasRetries?: boolean;
}

/** A file all of whose pages are written, committed and durable; its words hold 7. */
export const written = (pages: number, regionPage = 4): FileSetup => {
  return {
    pages,
    extents: [{ filePage: 0, regionPage, pageCount: pages, state: WRITTEN }],
    fill: 7,
  };
};
/** A file of preallocated space: it reads as zeroes. */
export const preallocated = (pages: number, regionPage = 4): FileSetup => {
  return { pages, extents: [{ filePage: 0, regionPage, pageCount: pages, state: UNWRITTEN }] };
};
/** A file that is one hole. */
export const hole = (pages: number): FileSetup => ({ pages });
/** 2 MiB that a PMD can show: written, and aligned in the region. */
export const HUGE_FILE = written(512, 512);
/** As many pages of the region as that takes. */
export const HUGE_REGION_PAGES = 1024;

export const load = (map: string, page: number, word = 0): Op => ({ op: 'load', map, page, word });
export const store = (map: string, page: number, value: number, word = 0): Op => {
  return { op: 'store', map, page, word, value };
};
export const persist = (map: string, page: number, word = 0): Op => {
  return { op: 'persist', map, page, word };
};
export const fsync = (file: string): Op => ({ op: 'fsync', file });
export const msync = (map: string, page: number, pageCount = 1): Op => {
  return { op: 'msync', map, page, pageCount };
};
export const writeback = (file: string): Op => ({ op: 'writeback', file });
export const commit = (): Op => ({ op: 'commit' });
export const write = (file: string, page: number, value: number, word = 0): Op => {
  return { op: 'write', file, page, word, value };
};
export const read = (file: string, page: number, word = 0): Op => {
  return { op: 'read', file, page, word };
};
export const punch = (file: string, page: number, pageCount = 1): Op => {
  return { op: 'punch', file, page, pageCount };
};
export const zero = (file: string, page: number, pageCount = 1): Op => {
  return { op: 'zero', file, page, pageCount };
};
export const collapse = (file: string, page: number, pageCount = 1): Op => {
  return { op: 'collapse', file, page, pageCount };
};
export const insert = (file: string, page: number, pageCount = 1): Op => {
  return { op: 'insert', file, page, pageCount };
};
export const truncate = (file: string, pages: number): Op => ({ op: 'truncate', file, pages });
export const fork = (child: string): Op => ({ op: 'fork', child });
export const unmap = (map: string): Op => ({ op: 'unmap', map });

/** As a person would write it in a script. */
export function opText(op: Op): string {
  switch (op.op) {
    case 'load':
      return `load ${op.map}[${wordText(op)}]`;
    case 'store':
      return `store ${op.map}[${wordText(op)}] = ${op.value}`;
    case 'persist':
      return `clwb and sfence ${op.map}[${wordText(op)}]`;
    case 'msync':
      return `msync ${op.map}, page ${op.page}`;
    case 'fsync':
    case 'writeback':
      return `${op.op} ${op.file}`;
    case 'commit':
      return 'commit';
    case 'write':
      return `write ${op.file}, page ${op.page}: ${op.value}`;
    case 'read':
      return `read ${op.file}, page ${op.page}`;
    case 'truncate':
      return `truncate ${op.file} to ${op.pages} pages`;
    case 'fork':
      return `fork: ${op.child}`;
    case 'unmap':
      return `munmap ${op.map}`;
    default:
      return `${op.op} ${op.file}, page ${op.page}${op.pageCount > 1 ? `, ${op.pageCount} pages` : ''}`;
  }
}

function wordText({ page, word }: { page: number; word: number }): string {
  return word === 0 ? `${page}` : `${page}.${word}`;
}
