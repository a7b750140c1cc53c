/**
 * The process in which the ready checks sqlite, leveldb and json run: started once for each slot by
 * fs/explorer/runner.ts, asked by messages, one check at a time. It sees the state's directory
 * under the explorer mount, not at the workload's path: these formats store no absolute paths. It
 * ends with its parent, whose end it sees as a disconnect.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import type { CheckerName } from './checks.js';

export interface CheckerRequest {
  name: CheckerName;
  /** The state's directory. */
  root: string;
  /** In it. */
  path: string;
}

export interface CheckerAnswer {
  exitStatus: number;
  stdout: string;
  stderr: string;
}

/** What the checks use of the package classic-level, which is optional. */
interface LevelModule {
  ClassicLevel: new (
    dir: string,
    options: { createIfMissing: boolean; keyEncoding: 'buffer'; valueEncoding: 'buffer' },
  ) => { open(): Promise<void>; close(): Promise<void>; iterator(): AsyncIterable<unknown> };
}
const LEVEL_MODULE: string = 'classic-level';

const MISSING = 'missing\n';

/** Up to here a database is read ahead of SQLite, which asks page by page in the order of keys. */
const READ_AHEAD_BYTES_MAX = 64 << 20;
const readAheadBuffer = Buffer.allocUnsafeSlow(1 << 20);

/** Each returns what to print; throws what is wrong. */
const CHECKS: Record<CheckerName, (path: string) => string | Promise<string>> = {
  sqlite: checkSqlite,
  leveldb: checkLevel,
  json: checkJson,
};

/**
 * Opens as a program would after a crash, so that SQLite plays back its log or journal. Exclusive:
 * the index of the log stays in this process instead of a mapped file that nobody shares.
 */
function checkSqlite(path: string): string {
  if (!existsSync(path)) return MISSING;
  readAhead(path);
  const db = new Database(path, { fileMustExist: true });
  try {
    db.pragma('locking_mode = exclusive');
    db.pragma(`mmap_size = ${READ_AHEAD_BYTES_MAX}`);
    const found = db.pragma('integrity_check') as { integrity_check: string }[];
    const problems = found.map((row) => row.integrity_check).filter((text) => text !== 'ok');
    if (problems.length > 0) throw new Error(problems.join('\n'));
    const tables = db
      .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name`)
      .pluck()
      .all() as string[];
    const lines = tables.map((name) => {
      const count = db.prepare(`SELECT count(*) FROM "${name.replaceAll('"', '""')}"`).pluck();
      return `${name}: ${count.get()} rows\n`;
    });
    return `ok\n${lines.join('')}`;
  } finally {
    db.close();
  }
}

/** Of the database alone, of which integrity_check reads all: of a log, recovery reads only a part. */
function readAhead(path: string): void {
  const fd = openSync(path, 'r');
  let bytes = 0;
  for (let count = 1; count > 0 && bytes < READ_AHEAD_BYTES_MAX; bytes += count) {
    count = readSync(fd, readAheadBuffer);
  }
  closeSync(fd);
}

/**
 * A directory that holds no CURRENT and no data was being made: LevelDB begins again. Data without
 * CURRENT would be thrown away by that.
 */
async function checkLevel(path: string): Promise<string> {
  const names = existsSync(path) ? readdirSync(path) : [];
  if (!names.includes('CURRENT') && !names.some((name) => /\.(ldb|sst|log)$/.test(name))) {
    return MISSING;
  }
  const { ClassicLevel } = (await import(LEVEL_MODULE)) as LevelModule;
  const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;
  const db = new ClassicLevel(path, { createIfMissing: false, ...encodings });
  await db.open();
  try {
    let count = 0;
    for await (const _ of db.iterator()) count += 1;
    return `ok\n${count} keys\n`;
  } finally {
    await db.close();
  }
}

/** Prints the value on one line, so that two states can be compared. */
function checkJson(path: string): string {
  if (!existsSync(path)) return MISSING;
  return `${JSON.stringify(JSON.parse(readFileSync(path, 'utf8')))}\n`;
}

async function check({ name, root, path }: CheckerRequest): Promise<CheckerAnswer> {
  try {
    return { exitStatus: 0, stdout: await CHECKS[name](join(root, path)), stderr: '' };
  } catch (error) {
    const { message, code, cause } = error as Error & { code?: string; cause?: Error };
    const parts = [code, message, cause?.message].filter((part) => part !== undefined);
    // A person knows nothing of the explorer mount; two runs of one state say the same.
    const text = parts.join(': ').replaceAll(`${root}/`, '');
    return { exitStatus: 1, stdout: '', stderr: `${text}\n` };
  }
}

function main(): void {
  process.title = 'fauxdax checker';
  process.on('disconnect', () => process.exit(0));
  // ^C goes to the whole group; our parent decides.
  process.on('SIGINT', () => undefined);
  process.on('message', (request: CheckerRequest) => {
    void check(request).then((answer) => process.send?.(answer));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
