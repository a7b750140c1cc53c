/**
 * Checks an image that nobody uses, and repairs it: the superblock, how region and database belong
 * together, SQLite's own structure, and every rule of check_rules.ts. Repairs are one SQLite
 * transaction: a crash in between leaves the image as it was.
 */
import Database from 'better-sqlite3';
import fs from 'node:fs';
import path from 'node:path';
import { DATABASE_NAME, ImageError, lock, REGION_NAME, withReadOnlyDatabase } from '../image.js';
import type { Region } from '../region.js';
import {
  CLEAN,
  decodeSuperblock,
  encodeSuperblock,
  MOUNTED,
  type Superblock,
  SUPERBLOCK_BYTES,
} from '../superblock.js';
import { PAGE_BYTES } from '../units.js';
import { type Finding, RULES, type RuleContext } from './check_rules.js';
import { nameSeed } from './name_table.js';
import { APPLICATION_ID, openDatabase, SCHEMA_VERSION } from './schema.js';

/** Repairs that uncover new problems; each pass settles at least one kind. */
const REPAIR_PASSES_MAX = 20;

export interface Problem {
  /** A word for programs: `page-owned-twice`. SPEC.md lists them. */
  kind: string;
  /** A file of the image, or `inode 7`, `extent at page 3 of inode 7`. */
  where: string;
  /** One line for a person, `where` among it. */
  text: string;
  repairable: boolean;
  repaired: boolean;
}

export interface CheckOptions {
  repair?: boolean;
  openRegion: (path: string, pageCount: number, options: { readOnly: boolean }) => Region;
  /** As for openImage. */
  lockFile?: (fd: number) => boolean;
}

/**
 * All problems of an image, in the order they were found; none means that it can be mounted.
 * Without `repair` nothing is written. With it, what is left unrepaired has `repaired` false.
 *
 * @throws {ImageError} there is no image, or another process uses it
 */
export function checkImage(dir: string, options: CheckOptions): Problem[] {
  const regionPath = path.join(dir, REGION_NAME);
  if (!fs.existsSync(regionPath)) throw new ImageError(`${dir} is not an image: it has no region`);
  const fd = fs.openSync(regionPath, options.repair === true ? 'r+' : 'r');
  try {
    lock(fd, dir, options.lockFile);
    return new Check(dir, fd, options).run();
  } finally {
    fs.closeSync(fd);
  }
}

interface ImageRow {
  uuid: string;
  page_count: number;
}

class Check {
  private readonly problems: Problem[] = [];
  private readonly regionPath: string;
  private readonly databasePath: string;

  constructor(
    dir: string,
    private readonly fd: number,
    private readonly options: CheckOptions,
  ) {
    this.regionPath = path.join(dir, REGION_NAME);
    this.databasePath = path.join(dir, DATABASE_NAME);
  }

  run(): Problem[] {
    const superblock = this.readSuperblock();
    const row = this.readDatabase();
    if (row === undefined) return this.problems;
    this.compare(superblock, row);
    const allowOrphans = superblock?.state !== CLEAN;
    const rules = { pageCount: row.page_count, seed: nameSeed(row.uuid), allowOrphans };
    if (this.options.repair === true && this.problems.every(({ repairable }) => repairable)) {
      this.repairRows(rules);
      if (superblock === undefined) this.writeSuperblock(row);
    } else {
      withReadOnlyDatabase(this.databasePath, (db) => {
        for (const finding of findAll({ ...rules, db })) this.add(finding, true);
      });
    }
    return this.problems;
  }

  private readSuperblock(): Superblock | undefined {
    const bytes = Buffer.alloc(SUPERBLOCK_BYTES);
    const count = fs.readSync(this.fd, bytes, 0, SUPERBLOCK_BYTES, 0);
    const superblock = decodeSuperblock(bytes.subarray(0, count));
    if (typeof superblock !== 'string') return superblock;
    const text = `the superblock is damaged: ${superblock}`;
    this.add({ kind: 'bad-superblock', where: this.regionPath, text }, true);
    return undefined;
  }

  /** @returns what the database says of its region; undefined when it cannot be used */
  private readDatabase(): ImageRow | undefined {
    const where = this.databasePath;
    if (!fs.existsSync(where)) {
      this.add({ kind: 'no-database', where, text: 'the metadata is lost' }, false);
      return undefined;
    }
    try {
      return withReadOnlyDatabase(where, (db) => this.databaseRow(db));
    } catch (error) {
      if (!(error instanceof Database.SqliteError)) throw error;
      this.add({ kind: 'bad-database', where, text: error.message }, false);
      return undefined;
    }
  }

  private databaseRow(db: Database.Database): ImageRow | undefined {
    const where = this.databasePath;
    const foreign = db.pragma('application_id', { simple: true }) !== APPLICATION_ID;
    const version = db.pragma('user_version', { simple: true });
    if (foreign || version !== SCHEMA_VERSION) {
      const text = foreign ? 'it is not the metadata of an image' : `unknown version ${version}`;
      this.add({ kind: 'bad-database', where, text }, false);
      return undefined;
    }
    const lines = db.pragma('integrity_check(100)') as { integrity_check: string }[];
    for (const { integrity_check: text } of lines) {
      if (text !== 'ok') this.add({ kind: 'bad-database', where, text }, false);
    }
    if (this.problems.some(({ kind }) => kind === 'bad-database')) return undefined;
    const row = db.prepare('SELECT uuid, page_count FROM image').get() as ImageRow | undefined;
    if (row === undefined) {
      const text = 'it does not say which region it belongs to';
      this.add({ kind: 'bad-database', where, text }, false);
    }
    return row;
  }

  private compare(superblock: Superblock | undefined, row: ImageRow): void {
    const where = this.regionPath;
    if (superblock !== undefined && superblock.uuid !== row.uuid) {
      const text = `it is of image ${superblock.uuid}, the database of ${row.uuid}`;
      this.add({ kind: 'uuid-mismatch', where, text }, false);
    } else if (superblock !== undefined && superblock.pageCount !== row.page_count) {
      const text = `it has ${superblock.pageCount} pages, the database knows ${row.page_count}`;
      this.add({ kind: 'bad-superblock', where, text }, false);
    }
    const stat = fs.fstatSync(this.fd);
    if (stat.isFile() && stat.size < row.page_count * PAGE_BYTES) {
      const text = `it is cut short: ${stat.size} bytes of ${row.page_count * PAGE_BYTES}`;
      this.add({ kind: 'region-short', where, text }, false);
    }
  }

  private repairRows(rules: Omit<RuleContext, 'db'>): void {
    const db = openDatabase(this.databasePath, 'host');
    try {
      db.transaction(() => {
        for (let pass = 0; pass < REPAIR_PASSES_MAX; pass++) {
          // A repair may make another finding of the same pass moot: one rule at a time.
          const findings = findFirst({ ...rules, db });
          if (findings.length === 0) return;
          for (const finding of findings) {
            finding.fix();
            this.add(finding, true).repaired = true;
          }
        }
        for (const finding of findAll({ ...rules, db })) this.add(finding, false);
      })();
    } finally {
      db.close();
    }
  }

  private writeSuperblock(row: ImageRow): void {
    const { uuid, page_count: pageCount } = row;
    const region = this.options.openRegion(this.regionPath, pageCount, { readOnly: false });
    try {
      region.storeFlushed(0, encodeSuperblock({ uuid, pageCount, state: MOUNTED }));
      region.fence();
      region.syncHost();
    } finally {
      region.close();
    }
    for (const problem of this.problems) {
      if (problem.kind === 'bad-superblock') problem.repaired = true;
    }
  }

  private add(found: Omit<Finding, 'fix'>, repairable: boolean): Problem {
    const { kind, where } = found;
    const text = `${where}: ${found.text}`;
    const problem = { kind, where, text, repairable, repaired: false };
    this.problems.push(problem);
    return problem;
  }
}

function findAll(context: RuleContext): Finding[] {
  return RULES.flatMap((rule) => [...rule(context)]);
}

/** What the first rule finds that finds anything. */
function findFirst(context: RuleContext): Finding[] {
  for (const rule of RULES) {
    const findings = [...rule(context)];
    if (findings.length > 0) return findings;
  }
  return [];
}
