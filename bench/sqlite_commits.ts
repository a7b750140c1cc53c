/**
 * SQLite: transactions or reads in WAL mode with synchronous=FULL. Prints one line of JSON as the C
 * clients do. Started by the runner, and by hand:
 *
 *   node dist/bench/sqlite_commits.js DIRECTORY COUNT [mmap] [batch | select]
 *
 * With `mmap` it reads its pages through a mapping. An operation is a transaction of one row, synced;
 * with `batch` one of 1,000 rows; with `select` a look for one of 100,000 rows by its key, at random,
 * after a checkpoint: the rows are inserted before, and not counted.
 */

import { rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';

const nsInUs = 1000;
const mmapBytes = 256 * 2 ** 20;

const batchRows = 1_000;
const selectRows = 100_000;

const [directory = '', countWord = '', ...words] = process.argv.slice(2);
const count = Number(countWord);
if (!(count > 0)) throw new Error('usage: sqlite_commits DIRECTORY COUNT [mmap] [batch | select]');
// A mount that failed leaves an ordinary directory behind.
if (statSync(directory).dev === statSync(dirname(directory)).dev) {
  throw new Error(`${directory} is not a mount`);
}

const path = join(directory, 'commits.db');
for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
const database = new Database(path);
if (database.pragma('journal_mode = WAL', { simple: true }) !== 'wal')
  throw new Error('no WAL here');
database.pragma('synchronous = FULL');
if (words.includes('mmap')) database.pragma(`mmap_size = ${mmapBytes}`);
database.exec('CREATE TABLE entry (id INTEGER PRIMARY KEY, value TEXT NOT NULL)');
const insert = database.prepare('INSERT INTO entry (value) VALUES (?)');
const value = 'v'.repeat(100);

const insertMany = database.transaction((rows: number) => {
  for (let i = 0; i < rows; i++) insert.run(value);
});

let operation = (): unknown => insert.run(value);
let rowsStored = count;
if (words.includes('batch')) {
  operation = () => insertMany(batchRows);
  rowsStored = count * batchRows;
} else if (words.includes('select')) {
  for (let i = 0; i < selectRows; i += batchRows) insertMany(batchRows);
  rowsStored = selectRows;
  database.pragma('wal_checkpoint(TRUNCATE)');
  const select = database.prepare('SELECT value FROM entry WHERE id = ?').pluck();
  let random = 1;
  operation = () => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    const id = 1 + Math.floor((random / 2 ** 32) * selectRows);
    if (select.get(id) !== value) throw new Error(`row ${id} is not what was inserted`);
  };
}

const latenciesNs = new Float64Array(count);
const begin = process.hrtime.bigint();
let start = begin;
for (let i = 0; i < count; i++) {
  operation();
  const now = process.hrtime.bigint();
  latenciesNs[i] = Number(now - start);
  start = now;
}
const seconds = Number(start - begin) / 1e9;
const stored = database.prepare('SELECT count(*) FROM entry').pluck().get();
if (stored !== rowsStored)
  throw new Error(`${rowsStored} rows were committed, ${stored} are there`);
database.close();

latenciesNs.sort();
const at = (index: number): number => (latenciesNs[index] ?? 0) / nsInUs;
console.log(
  JSON.stringify({
    job: 'sqlite',
    threads: 1,
    operations: count,
    seconds,
    opsPerSecond: count / seconds,
    bytesPerSecond: 0,
    p50Us: at(Math.floor(count / 2)),
    p99Us: at(count - 1 - Math.floor(count / 100)),
    maxUs: at(count - 1),
  }),
);
