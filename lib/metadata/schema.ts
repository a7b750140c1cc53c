/**
 * The SQLite side of an image's metadata: tables, versions, and how a connection is set up.
 * SPEC.md describes every column. Foreign keys are declared but not enforced while running: inode
 * rows are written behind, at commit, so that a name may be stored before its inode's row; the
 * checker verifies them instead (check.ts).
 */
import Database from 'better-sqlite3';
import { ROOT_INO } from './inode.js';

export const SCHEMA_VERSION = 1;
export const APPLICATION_ID = 0x66445878; // "fDXx"
const CACHE_KIB = 16 * 1024;
const WAL_PAGES_MAX = 4000;

/** What a commit outlives: the death of the process, or a power cut of the host. */
export type Durable = 'process' | 'host';

const TABLES = `
CREATE TABLE image (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uuid TEXT NOT NULL,
  page_count INTEGER NOT NULL
) STRICT;
CREATE TABLE inode (
  ino INTEGER PRIMARY KEY,
  mode INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  gid INTEGER NOT NULL,
  nlink INTEGER NOT NULL,
  rdev INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  project_id INTEGER NOT NULL,
  atime_sec INTEGER NOT NULL,
  atime_nsec INTEGER NOT NULL,
  mtime_sec INTEGER NOT NULL,
  mtime_nsec INTEGER NOT NULL,
  ctime_sec INTEGER NOT NULL,
  ctime_nsec INTEGER NOT NULL,
  btime_sec INTEGER NOT NULL,
  btime_nsec INTEGER NOT NULL,
  parent_ino INTEGER NOT NULL,
  target TEXT
) STRICT;
CREATE INDEX inode_orphan ON inode (ino) WHERE nlink = 0;
CREATE TABLE name (
  parent_ino INTEGER NOT NULL REFERENCES inode (ino) DEFERRABLE INITIALLY DEFERRED,
  cookie INTEGER NOT NULL,
  name TEXT NOT NULL,
  ino INTEGER NOT NULL REFERENCES inode (ino) DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (parent_ino, cookie)
) STRICT, WITHOUT ROWID;
CREATE TABLE xattr (
  ino INTEGER NOT NULL REFERENCES inode (ino) DEFERRABLE INITIALLY DEFERRED,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (ino, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE extent (
  ino INTEGER NOT NULL REFERENCES inode (ino) DEFERRABLE INITIALLY DEFERRED,
  file_page INTEGER NOT NULL,
  region_page INTEGER NOT NULL,
  page_count INTEGER NOT NULL,
  state INTEGER NOT NULL CHECK (state IN (0, 1)),
  PRIMARY KEY (ino, file_page)
) STRICT, WITHOUT ROWID;
`;

export interface NewImage {
  uuid: string;
  pageCount: number;
  uid: number;
  gid: number;
  nowMs: number;
}

/** Makes the tables of a new image with its root directory. Durable on the host afterwards. */
export function createDatabase(path: string, options: NewImage): void {
  const db = new Database(path);
  try {
    db.pragma('page_size = 4096');
    setUp(db, 'host');
    makeTables(db, options);
  } finally {
    db.close();
  }
}

/** The tables of a new image with its root directory, in an empty database. */
export function makeTables(db: Database.Database, options: NewImage): void {
  db.transaction(() => {
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
    db.exec(TABLES);
    db.prepare('INSERT INTO image VALUES (1, ?, ?)').run(options.uuid, options.pageCount);
    const sec = Math.floor(options.nowMs / 1000);
    const nsec = (options.nowMs % 1000) * 1_000_000;
    db.prepare(
      `INSERT INTO inode VALUES (${ROOT_INO}, ${0o040755}, ?, ?, 2, 0, 0, 0, 0,
         @sec, @nsec, @sec, @nsec, @sec, @nsec, @sec, @nsec, ${ROOT_INO}, NULL)`,
    ).run(options.uid, options.gid, { sec, nsec });
  })();
}

/** Opens for use. No other connection may exist or come until it is closed. */
export function openDatabase(path: string, durable: Durable): Database.Database {
  const db = new Database(path, { fileMustExist: true });
  try {
    setUp(db, durable);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

/**
 * A database in memory over a copy of serialized bytes. Theirs must not say WAL (bytes 18 and 19
 * are 1): a database in memory has no log beside it.
 */
export function openDatabaseBytes(bytes: Uint8Array): Database.Database {
  const { buffer, byteOffset, byteLength } = bytes;
  const db = new Database(Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength));
  db.pragma('foreign_keys = OFF');
  return db;
}

/** All of a database, its log included, as openDatabaseBytes() takes it. */
export function serializeDatabase(db: Database.Database): Buffer {
  return db.serialize().fill(1, 18, 20);
}

/**
 * Exclusive locking keeps the WAL index in memory: a shared-memory file could meet a full disk and
 * end the process by SIGBUS. Without cache spill nothing reaches the disk before COMMIT, so that a
 * full disk is seen there and nowhere else.
 */
function setUp(db: Database.Database, durable: Durable): void {
  db.pragma('locking_mode = EXCLUSIVE');
  db.pragma('journal_mode = WAL');
  db.pragma(`synchronous = ${durable === 'host' ? 'FULL' : 'OFF'}`);
  db.pragma('cache_spill = OFF');
  db.pragma(`cache_size = -${CACHE_KIB}`);
  db.pragma(`wal_autocheckpoint = ${WAL_PAGES_MAX}`);
  db.pragma('temp_store = MEMORY');
  db.pragma('foreign_keys = OFF');
}
