/**
 * The program of `fauxdax demo`: an ordinary SQLite application that knows nothing of fauxdax, run
 * as a process of its own. One line on stdout is one acknowledgement; everything it said before
 * the power went must be there afterwards.
 *
 *   work DB COMMITS   commits orders, `ack N` after each; then leaves one transaction open, spilled
 *                     into the WAL, and a file written without fsync; says `open`, and waits
 *   spin DB           commits orders, `ack N` after each, until an error
 *   check DB          prints {"orders","whole","integrity","draft"} as one JSON line
 */
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';

/** Rows of each order: an order is there with all of them or not at all. */
const ITEMS_PER_ORDER = 5;
const OPEN_ORDERS = 2000;
const DRAFT = 'draft.txt';

type Db = InstanceType<typeof Database>;

function open(path: string): Db {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec(`
    CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS items (order_id INTEGER NOT NULL, position INTEGER NOT NULL,
      amount INTEGER NOT NULL, PRIMARY KEY (order_id, position));`);
  return db;
}

function placeOrder(db: Db): number {
  const { lastInsertRowid } = db
    .prepare('INSERT INTO orders (customer) VALUES (?)')
    .run(`customer ${'x'.repeat(200)}`);
  const item = db.prepare('INSERT INTO items VALUES (?, ?, ?)');
  for (let position = 1; position <= ITEMS_PER_ORDER; position++) {
    item.run(lastInsertRowid, position, position * 10);
  }
  return Number(lastInsertRowid);
}

function commitOrder(db: Db): void {
  const id = db.transaction(() => placeOrder(db))();
  say(`ack ${id}`);
}

function work(path: string, commits: number): void {
  const db = open(path);
  for (let i = 0; i < commits; i++) commitOrder(db);
  db.pragma('cache_size = 10'); // pages, so that the open transaction reaches the WAL
  db.exec('BEGIN');
  for (let i = 0; i < OPEN_ORDERS; i++) placeOrder(db);
  writeFileSync(join(dirname(path), DRAFT), 'written, closed, never fsynced\n');
  say('open');
  setInterval(() => db.open, 1000); // the transaction stays open until the power goes
}

function spin(path: string): void {
  const db = open(path);
  try {
    for (;;) commitOrder(db);
  } catch {
    process.kill(process.pid, 'SIGKILL'); // the power is gone: no clean-up, no last words
  }
}

function check(path: string): void {
  const draft = existsSync(join(dirname(path), DRAFT));
  const db = new Database(path);
  const orders = db.prepare('SELECT max(id) FROM orders').pluck().get() as number | null;
  const count = db.prepare('SELECT count(*) FROM orders').pluck().get() as number;
  const items = db.prepare('SELECT count(*) FROM items').pluck().get() as number;
  const integrity = db.pragma('integrity_check', { simple: true }) as string;
  db.close();
  const whole = count === (orders ?? 0) && items === count * ITEMS_PER_ORDER;
  say(JSON.stringify({ orders: count, whole, integrity, draft }));
}

/** Synchronous, so that an acknowledgement is out before the next order begins. */
function say(line: string): void {
  writeFileSync(1, `${line}\n`);
}

const [mode, path = '', commits = '0'] = process.argv.slice(2);
if (mode === 'work') work(path, Number(commits));
else if (mode === 'spin') spin(path);
else if (mode === 'check') check(path);
else throw new TypeError(`demo_client: no mode '${mode}'`);
