/**
 * A scenario's scripts as real processes run them: mappings by name with where they are, and each thread's
 * ops as lines for native/actor.c. Where the lab has something that no program can ask for, what comes
 * nearest is done: the flusher syncs, a commit is the fsync of a directory, and a store that the other
 * fix of the first seed serves is preceded by a load.
 */
import type { Op, Scenario } from '../../lib/race/scenario.js';
import { forkedName } from '../../lib/race/mappings.js';

export interface LiveMap {
  name: string;
  file: string;
  process: string;
  /** First page of the file that it shows. */
  page: number;
  pageCount: number;
  isPrivate: boolean;
  isSync: boolean;
  /** A child's, that it has from fork: the parent's name of it. */
  copyOf?: string;
}

/** All mappings, those of children of fork too. */
export function mapsOf(scenario: Scenario): Map<string, LiveMap> {
  const maps = new Map<string, LiveMap>();
  for (const [process, mapped] of Object.entries(scenario.processes)) {
    for (const [name, setup] of Object.entries(mapped)) {
      const { file, page = 0, isPrivate = false, isSync = false } = setup;
      const { pageCount = scenario.files[file]!.pages - page } = setup;
      maps.set(name, { name, file, process, page, pageCount, isPrivate, isSync });
    }
  }
  for (const { parent, child } of forksOf(scenario)) {
    for (const map of [...maps.values()].filter(({ process }) => process === parent)) {
      const name = forkedName(child, map.name);
      maps.set(name, { ...map, name, process: child, copyOf: map.name });
    }
  }
  return maps;
}

interface Fork {
  /** Processes. */
  parent: string;
  child: string;
}

function forksOf(scenario: Scenario): Fork[] {
  return scenario.threads.flatMap(({ process, script }) =>
    script.flatMap((op) => {
      if (op.op !== 'fork') return [];
      const child = scenario.threads.find(({ name }) => name === op.child)!.process;
      return [{ parent: process, child }];
    }),
  );
}

export interface LiveOp {
  op: Op;
  /** Its place in the scenario's script. */
  index: number;
}

/** What the threads do, as it is run. */
export function scriptsOf(scenario: Scenario): (readonly LiveOp[])[] {
  return scenario.threads.map(({ script }) =>
    script.flatMap((op, index): LiveOp[] => {
      if (scenario.faults !== 'read-first' || op.op !== 'store') return [{ op, index }];
      return [
        { op: { ...op, op: 'load' }, index },
        { op, index },
      ];
    }),
  );
}

/** The process whose actor runs a thread: a child's script is its parent's. */
export function actorOf(scenario: Scenario, process: string): string {
  const fork = forksOf(scenario).find(({ child }) => child === process);
  return fork === undefined ? process : actorOf(scenario, fork.parent);
}

/** Pages of files that scripts name, with all of small ones where pages move. */
export function pagesNamed(scenario: Scenario): Map<string, Set<number>> {
  const maps = mapsOf(scenario);
  const named = new Map(Object.keys(scenario.files).map((file) => [file, new Set<number>([0])]));
  for (const op of scenario.threads.flatMap(({ script }) => script)) {
    if ('page' in op) named.get('file' in op ? op.file : maps.get(op.map)!.file)!.add(op.page);
    if (op.op !== 'collapse' && op.op !== 'insert' && op.op !== 'truncate') continue;
    for (let page = 0; page < Math.min(scenario.files[op.file]!.pages, PAGES_WATCHED_MAX); page++) {
      named.get(op.file)!.add(page);
    }
  }
  return named;
}

const PAGES_WATCHED_MAX = 8;

/** Words that scripts name, in any page of the file. */
export function wordsNamed(scenario: Scenario): Map<string, Set<number>> {
  const maps = mapsOf(scenario);
  const named = new Map(Object.keys(scenario.files).map((file) => [file, new Set<number>([0])]));
  for (const op of scenario.threads.flatMap(({ script }) => script)) {
    if ('word' in op) named.get('file' in op ? op.file : maps.get(op.map)!.file)!.add(op.word);
  }
  return named;
}

/** The line of native/actor.c. @param wordOf what is really stored for a value of the scenario */
export function callOf(
  op: Op,
  scenario: Scenario,
  maps: ReadonlyMap<string, LiveMap>,
  wordOf: (value: number) => number,
): string {
  switch (op.op) {
    case 'load':
    case 'persist':
      return `${op.op} ${wordIn(maps, op)}`;
    case 'store':
      return `store ${wordIn(maps, op)} ${wordOf(op.value)}`;
    case 'write':
      return `write ${op.file} ${op.page} ${op.word} ${wordOf(op.value)}`;
    case 'read':
      return `read ${op.file} ${op.page} ${op.word}`;
    case 'msync': {
      const { page } = maps.get(op.map)!;
      return `msync ${actorName(maps, op.map)} ${op.page - page} ${op.pageCount}`;
    }
    case 'fsync':
    case 'writeback':
      return `fsync ${op.file}`;
    case 'commit':
      return 'commit';
    case 'truncate':
      return `truncate ${op.file} ${op.pages}`;
    case 'fork':
      return `fork ${scenario.threads.findIndex(({ name }) => name === op.child)}`;
    case 'unmap':
      return `unmap ${actorName(maps, op.map)}`;
    default:
      return `${op.op} ${op.file} ${op.page} ${op.pageCount}`;
  }
}

function wordIn(
  maps: ReadonlyMap<string, LiveMap>,
  { map, page, word }: { map: string; page: number; word: number },
): string {
  return `${actorName(maps, map)} ${page - maps.get(map)!.page} ${word}`;
}

/** A child has its parent's mappings at the same addresses. */
export function actorName(maps: ReadonlyMap<string, LiveMap>, name: string): string {
  const { copyOf } = maps.get(name)!;
  return copyOf === undefined ? name : actorName(maps, copyOf);
}
