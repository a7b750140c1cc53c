/**
 * The rows of the benchmark table, as data: what is run, on which two systems, and what is to be
 * reached. Counts are operations of one run; sizes are in the unit their name ends in.
 */

import type { SystemName } from './systems.js';

/** What a client prints after a job. Rates are per second over the whole job. */
export interface JobResult {
  job: string;
  threads: number;
  operations: number;
  seconds: number;
  opsPerSecond: number;
  bytesPerSecond: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
}

/** One program run on a mount. `count` is scaled by `--scale`. */
export interface Job {
  client: 'client' | 'lmdb_commits' | 'sqlite_commits';
  job: string;
  count: number;
  threads?: number;
  blockBytes?: number;
  sizeMib?: number;
  /** What else the commit clients are told. */
  words?: string[];
}

/** A row that compares a rate on two systems. */
export interface RateRow {
  kind: 'rate';
  name: string;
  what: string;
  subject: SystemName;
  peer: SystemName;
  unit: 'op/s' | 'MB/s';
  prepare?: Job;
  job: Job;
  /** What the peer does, where that is not the same. */
  peerJob?: Job;
  /** So many rounds for each that is asked for: where they differ more than the sides. */
  roundsTimes?: number;
  /** Least ratio subject / peer of the medians; undefined where the row only informs. */
  atLeast?: number;
}

/** A row about the subject alone; `measureImage` in image_rows.ts knows how. */
export interface ImageRow {
  kind: 'image';
  name: 'memory' | 'remount';
  what: string;
  subject: SystemName;
  fileCount: number;
  unit: 'MiB' | 's';
  atMost: number;
}

/** Copy and persist, whose program measures all sides itself; see persist_row.ts. */
export interface PersistRow {
  kind: 'persist';
  name: 'persist';
  what: string;
  unit: 'ns/copy';
  /** Least speed against the better hand-written loop, at the size where it is worst. */
  atLeast: number;
}

/** Crash states made, or made and checked; `measureExplore` in explore_rows.ts knows how. */
export interface ExploreRow {
  kind: 'explore';
  name: string;
  what: string;
  /** A program of bench/, and its words between the directory and the count. */
  program: 'explore_states' | 'make_states';
  words: string[];
  /** States of a run. */
  count: number;
  unit: 'states/s' | 'ms/state';
  bound?: { atLeast: number } | { atMost: number };
}

export type Row = RateRow | ImageRow | PersistRow | ExploreRow;

const dataMib = 256;
const prepareData: Job = { client: 'client', job: 'prepare', count: 1, sizeMib: dataMib };

function dataRow(
  name: string,
  what: string,
  job: Pick<Job, 'job' | 'count' | 'threads' | 'blockBytes'>,
): RateRow {
  return {
    kind: 'rate',
    name,
    what,
    subject: 'fauxdax',
    peer: 'noop',
    unit: (job.blockBytes ?? 0) > 4096 ? 'MB/s' : 'op/s',
    prepare: prepareData,
    job: { client: 'client', sizeMib: dataMib, ...job },
    atLeast: 0.95,
  };
}

function nameRow(
  name: string,
  what: string,
  against: { subject?: SystemName; peer: SystemName; atLeast?: number },
  job: Job,
  prepare?: Job,
): RateRow {
  const row: RateRow = {
    kind: 'rate',
    name,
    what,
    subject: against.subject ?? 'fauxdax',
    peer: against.peer,
    unit: 'op/s',
    job,
  };
  if (against.atLeast !== undefined) row.atLeast = against.atLeast;
  if (prepare !== undefined) row.prepare = prepare;
  return row;
}

const getattr: Job = { client: 'client', job: 'getattr', count: 40_000 };
const pairs: Job = { client: 'client', job: 'pairs', count: 8_000 };
const smallFiles: Job = { client: 'client', job: 'small-files', count: 10_000, blockBytes: 4096 };
const makeFiles: Job = { client: 'client', job: 'make-files', count: 10_000 };
const statFiles: Job = { client: 'client', job: 'stat-files', count: 10_000 };
const sqlite: Job = { client: 'sqlite_commits', job: 'sqlite', count: 2_000 };
const lmdb: Job = { client: 'lmdb_commits', job: 'lmdb', count: 2_000 };

const mapMib = 1024;
const faultMib = 64;
/** About 100,000 pages, and 1,000. */
const manyPagesMib = 391;
const fewPagesMib = 4;
const lmdbMap: Job = { ...lmdb, words: ['writemap'] };
/** Long enough that most commits reuse the log, as those of a database that runs do. */
const sqliteMap: Job = { ...sqlite, count: 10_000, words: ['mmap'] };
const lmdbBatch: Job = { ...lmdb, count: 200, words: ['writemap', 'batch'] };
const lmdbGet: Job = { ...lmdb, count: 500_000, words: ['writemap', 'get'] };
const sqliteBatch: Job = { ...sqlite, count: 200, words: ['mmap', 'batch'] };
const sqliteSelect: Job = { ...sqlite, count: 100_000, words: ['mmap', 'select'] };

/** A row about mappings: the client runs under `fauxdax run`. */
function daxRow(
  name: string,
  what: string,
  against: { peer: SystemName; peerJob?: Job; atLeast?: number; unit?: 'op/s' | 'MB/s' },
  job: Job,
  prepare?: Job,
): RateRow {
  const row: RateRow = {
    kind: 'rate',
    name: `dax-${name}`,
    what,
    subject: 'fauxdax-run',
    peer: against.peer,
    unit: against.unit ?? 'op/s',
    job,
  };
  if (against.atLeast !== undefined) row.atLeast = against.atLeast;
  if (against.peerJob !== undefined) row.peerJob = against.peerJob;
  if (prepare !== undefined) row.prepare = prepare;
  return row;
}

/** Accesses to a mapping of 1 GiB without faults, against one of the same pages by the kernel. */
function accessRow(name: string, what: string, job: string, count: number): RateRow {
  const prepare = mapJob('prepare-map', 1, mapMib);
  const against = { peer: 'region', atLeast: 0.97, unit: 'MB/s' } as const;
  return { ...daxRow(name, what, against, mapJob(job, count, mapMib), prepare), roundsTimes: 3 };
}

function mapJob(job: string, count: number, sizeMib: number): Job {
  return { client: 'client', job, count, sizeMib };
}

function bufferedRow(name: string, what: string, job: string): RateRow {
  const against = { peer: 'tmpfs', atLeast: 0.5 } as const;
  return daxRow(name, what, against, mapJob(job, 300_000, dataMib), prepareData);
}

const prepareFaults = mapJob('prepare-map', 1, faultMib);
const storeFaults = mapJob('store-faults', 60_000, faultMib);

const daxRows: readonly RateRow[] = [
  accessRow('load', 'loads from a warm mapping of 1 GiB, in order', 'load-sequential', 262_144),
  accessRow('load-random', 'the same at random places', 'load-random', 60_000),
  accessRow('store', 'stores to it, in order', 'store-sequential', 262_144),
  accessRow('store-random', 'the same at random places', 'store-random', 60_000),
  daxRow(
    'store-fault',
    'first store to a clean page, 4 KiB steps, against a handler that only lets it through',
    { peer: 'tmpfs', peerJob: mapJob('store-faults-bare', 60_000, faultMib), atLeast: 0.8 },
    storeFaults,
    prepareFaults,
  ),
  daxRow(
    'store-fault-2m',
    'the same where 2 MiB entries fit',
    { peer: 'tmpfs', peerJob: mapJob('store-faults-bare', 60_000, faultMib), atLeast: 20 },
    mapJob('store-faults-huge', 60_000, faultMib),
    prepareFaults,
  ),
  daxRow(
    'store-fault-2m-4k',
    'the same against store-fault of our own',
    { peer: 'fauxdax-run', peerJob: storeFaults },
    mapJob('store-faults-huge', 60_000, faultMib),
    prepareFaults,
  ),
  daxRow(
    'load-hole',
    'first load of each page of a hole, against anonymous memory',
    { peer: 'tmpfs', peerJob: mapJob('load-anonymous', 500_000, dataMib), atLeast: 0.9 },
    mapJob('load-holes', 500_000, dataMib),
  ),
  daxRow(
    'fsync',
    'fsync of 1 dirty page of 100,000 mapped, against 1,000',
    {
      peer: 'fauxdax-run',
      peerJob: mapJob('sync-mapped', 2_000, fewPagesMib),
      atLeast: 1 / 1.5,
    },
    mapJob('sync-mapped', 2_000, manyPagesMib),
    mapJob('prepare-map', 1, manyPagesMib),
  ),
  bufferedRow('pread', '4 KiB random pread', 'buffered-read'),
  bufferedRow('pwrite', '4 KiB random pwrite', 'buffered-write'),
  bufferedRow('read', '4 KiB reads in order, at the position', 'position-read'),
  bufferedRow('write', '4 KiB writes in order, at the position', 'position-write'),
  daxRow('lmdb', 'LMDB commits, MDB_WRITEMAP', { peer: 'fauxdax-memory', atLeast: 1 }, lmdbMap),
  daxRow('lmdb-tmpfs', 'the same', { peer: 'tmpfs', atLeast: 0.7 }, lmdbMap),
  daxRow(
    'lmdb-batch',
    'LMDB transactions of 1,000 puts',
    { peer: 'tmpfs', atLeast: 0.7 },
    lmdbBatch,
  ),
  daxRow('lmdb-get', 'LMDB gets at random', { peer: 'tmpfs', atLeast: 0.7 }, lmdbGet),
  daxRow('sqlite', 'SQLite commits, mmap', { peer: 'fauxdax-memory', atLeast: 1 }, sqliteMap),
  daxRow('sqlite-tmpfs', 'the same', { peer: 'tmpfs', atLeast: 0.7 }, sqliteMap),
  daxRow(
    'sqlite-batch',
    'SQLite transactions of 1,000 rows',
    { peer: 'tmpfs', atLeast: 0.7 },
    sqliteBatch,
  ),
  daxRow(
    'sqlite-select',
    'SQLite point selects at random',
    { peer: 'tmpfs', atLeast: 0.7 },
    sqliteSelect,
  ),
];

/** Recording may take half as long again. */
const recordedAtLeast = 1 / 1.5;

export const rows: readonly Row[] = [
  dataRow('read-4k', '4 KiB random read, O_DIRECT, 1 thread', {
    job: 'read-random',
    count: 60_000,
  }),
  dataRow('read-4k-x4', 'the same, 4 threads', {
    job: 'read-random',
    count: 20_000,
    threads: 4,
  }),
  dataRow('write-4k', '4 KiB random write, O_DIRECT, 1 thread', {
    job: 'write-random',
    count: 60_000,
  }),
  dataRow('write-4k-x4', 'the same, 4 threads', {
    job: 'write-random',
    count: 20_000,
    threads: 4,
  }),
  dataRow('read-128k', '128 KiB sequential read, O_DIRECT', {
    job: 'read-sequential',
    count: 12_000,
    blockBytes: 131_072,
  }),
  dataRow('write-128k', '128 KiB sequential write, O_DIRECT', {
    job: 'write-sequential',
    count: 12_000,
    blockBytes: 131_072,
  }),
  nameRow('getattr', 'getattr round trip', { peer: 'noop-uncached', atLeast: 0.85 }, getattr),
  nameRow('getattr-native', 'the same', { peer: 'fauxdax-native', atLeast: 2 }, getattr),
  nameRow('pairs', 'create + close + unlink', { peer: 'noop', atLeast: 0.85 }, pairs),
  nameRow('pairs-native', 'the same', { peer: 'fauxdax-native', atLeast: 2 }, pairs),
  nameRow(
    'small-files',
    'create + write 4 KiB + unlink of 10,000 files',
    { peer: 'passthrough', atLeast: 1 },
    smallFiles,
  ),
  nameRow(
    'stat-files',
    'stat of 10,000 files, kernel caches dropped',
    { peer: 'passthrough', atLeast: 1 },
    statFiles,
    makeFiles,
  ),
  nameRow(
    'sqlite',
    'SQLite commits, WAL, synchronous=FULL',
    { peer: 'passthrough', atLeast: 1 },
    sqlite,
  ),
  nameRow('lmdb', 'LMDB commits, synced', { peer: 'passthrough', atLeast: 1 }, lmdb),
  nameRow(
    'sqlite-host',
    'SQLite commits, durable=host: both reach the disk',
    { subject: 'fauxdax-host', peer: 'passthrough' },
    sqlite,
  ),
  nameRow(
    'lmdb-host',
    'LMDB commits, durable=host: both reach the disk',
    { subject: 'fauxdax-host', peer: 'passthrough' },
    lmdb,
  ),
  {
    ...dataRow('recording-write-4k', 'write-4k recorded, against unrecorded', {
      job: 'write-random',
      count: 20_000,
    }),
    subject: 'fauxdax-recorded',
    peer: 'fauxdax',
    atLeast: recordedAtLeast,
  },
  nameRow(
    'recording-sqlite',
    'SQLite commits recorded, against unrecorded',
    { subject: 'fauxdax-recorded', peer: 'fauxdax', atLeast: recordedAtLeast },
    sqlite,
  ),
  ...daxRows,
  {
    kind: 'persist',
    name: 'persist',
    what: 'copy + persist, against the better hand-written loop, worst size',
    unit: 'ns/copy',
    atLeast: 0.95,
  },
  {
    kind: 'explore',
    name: 'explore-true',
    what: 'crash states opened and checked by `true`',
    program: 'explore_states',
    words: ['true', '1000', '950'],
    count: 3_000,
    unit: 'states/s',
    bound: { atLeast: 300 },
  },
  {
    kind: 'explore',
    name: 'explore-sqlite',
    what: 'the same, by the ready check of a 1 MiB SQLite database of 1,000 rows',
    program: 'explore_states',
    words: ['sqlite:data.db', '1000', '950'],
    count: 3_000,
    unit: 'states/s',
    bound: { atLeast: 500 },
  },
  {
    kind: 'explore',
    name: 'explore-sqlite-dense',
    what: 'the same with 8,500 rows, whose integrity_check alone takes SQLite five times as long',
    program: 'explore_states',
    words: ['sqlite:data.db', '8500', '95'],
    count: 1_500,
    unit: 'states/s',
  },
  {
    kind: 'explore',
    name: 'make-state',
    what: 'a crash state that differs in 100 lines from its neighbour, of a 1 GiB image',
    program: 'make_states',
    words: [],
    count: 500,
    unit: 'ms/state',
    bound: { atMost: 1 },
  },
  {
    kind: 'image',
    name: 'memory',
    what: 'daemon beyond the region, 100,000 files, 1 GiB',
    subject: 'fauxdax',
    fileCount: 100_000,
    unit: 'MiB',
    atMost: 200,
  },
  {
    kind: 'image',
    name: 'remount',
    what: 'mount after kill -9, 100,000 files',
    subject: 'fauxdax',
    fileCount: 100_000,
    unit: 's',
    atMost: 1,
  },
];
