/**
 * Crash states checked in a second: one state over and over, each time opened anew, through the
 * explorer mount. Prints one line of JSON. Started by the runner, and by hand as root:
 *
 *   node dist/bench/explore_states.js DIRECTORY CHECK ROWS VALUE_BYTES COUNT
 *
 * The state holds `data.db`, an SQLite database of 1 MiB with an index and so many rows
 * with values of so many bytes.
 */

import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Explorer } from '../fs/explorer/explorer.js';
import { ExplorerRunner } from '../fs/explorer/runner.js';
import { Warden } from '../fs/explorer/warden.js';
import type { CrashState } from '../lib/crash/state/state.js';
import { makeImage, openImage } from '../lib/image.js';
import { MemoryRegion } from '../lib/memory_region.js';
import { loadNative } from '../lib/native.js';
import { PAGE_BYTES } from '../lib/units.js';

const pageCount = 1024;
const databaseBytes = 2 ** 20;
const warmUpStates = 50;

const [directory = '', check = '', rowsWord = '', valueWord = '', countWord = ''] =
  process.argv.slice(2);
const valueBytes = Number(valueWord);
const databaseRows = Number(rowsWord);
const count = Number(countWord);
if (!(count > 0 && databaseRows > 0 && valueBytes > 0)) {
  throw new Error('usage: explore_states DIRECTORY CHECK ROWS VALUE_BYTES COUNT');
}

function makeDatabase(path: string): void {
  const database = new Database(path);
  database.exec('CREATE TABLE entry (id INTEGER PRIMARY KEY, owner INTEGER, value TEXT NOT NULL)');
  database.exec('CREATE INDEX entry_owner ON entry (owner)');
  const insert = database.prepare('INSERT INTO entry (owner, value) VALUES (?, ?)');
  const value = 'v'.repeat(valueBytes);
  database.transaction(() => {
    for (let row = 0; row < databaseRows; row++) insert.run(row % 97, value);
  })();
  database.close();
  const { size } = statSync(path);
  if (size < 0.9 * databaseBytes || size > 1.1 * databaseBytes)
    throw new Error(`the database has ${size} bytes`);
}

/** A state with the file at `path` in it as `data.db`. */
async function makeState(path: string): Promise<CrashState> {
  const [imageDirectory, mountDirectory, workDirectory] = ['image', 'mount', 'work'].map((name) =>
    join(directory, name),
  ) as [string, string, string];
  for (const name of [mountDirectory, workDirectory]) mkdirSync(name);
  makeImage(imageDirectory, { sizeBytes: pageCount * PAGE_BYTES });
  const region = new MemoryRegion(pageCount);
  region.storeFlushed(0, readFileSync(join(imageDirectory, 'region')).subarray(0, PAGE_BYTES));
  const image = openImage(imageDirectory, { openRegion: () => region });
  const explorer = new Explorer(loadNative(), mountDirectory, (reason) => {
    throw new Error(reason);
  });
  const warden = new Warden();
  const slot = explorer.open(image);
  await warden.run({ command: `cp ${path} data.db`, dir: workDirectory, bind: slot.path });
  await warden.close();
  slot.filesystem.finish();
  explorer.close();
  const database = image.metadata.db.serialize();
  // A database in memory has no log beside it.
  database.fill(1, 18, 20);
  const bytes = Buffer.alloc(pageCount * PAGE_BYTES);
  region.read(0, bytes);
  return {
    pageCount,
    uuid: image.uuid,
    database,
    page: (page) => bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES),
    choice: { model: 'dax', position: 0, lostOperations: [], otherLines: 'newest', lines: [] },
    imageHash: () => image.uuid,
    metadataKey: image.uuid,
    release: () => undefined,
  };
}

async function runStates(runner: ExplorerRunner, state: CrashState, states: number): Promise<void> {
  let left = states;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const { outcomes } = await runner.run({ state, acknowledged: [] });
      if (outcomes[0]?.exitStatus !== 0) throw new Error(JSON.stringify(outcomes));
    }
  };
  await Promise.all(Array.from({ length: runner.slotCount }, lane));
}

const source = join(directory, 'source.db');
makeDatabase(source);
const state = await makeState(source);
const dir = join(directory, 'dir');
const runner = new ExplorerRunner({
  dir,
  runDir: join(directory, 'run'),
  check,
  continue: null,
});
await runStates(runner, state, warmUpStates);
const cpuBefore = process.cpuUsage();
const begin = performance.now();
await runStates(runner, state, count);
const seconds = (performance.now() - begin) / 1000;
const cpu = process.cpuUsage(cpuBefore);
await runner.close();
console.log(
  JSON.stringify({
    check,
    states: count,
    seconds,
    value: count / seconds,
    /** Of the process that serves the states alone; those that check them come on top. */
    cpuUs: (cpu.user + cpu.system) / count,
    rssMib: Math.round(process.memoryUsage.rss() / 2 ** 20),
  }),
);
