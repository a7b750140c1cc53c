/**
 * Extended attributes: rows of (ino, name, value), changed in SQLite at once. Which names and sizes
 * are allowed is the caller's business.
 */
import type Database from 'better-sqlite3';
import { Prepared } from './prepared.js';
import type { Transaction } from './transaction.js';

export class XattrTable {
  private readonly getOne: Prepared;
  private readonly setOne: Prepared;
  private readonly deleteOne: Prepared;
  private readonly deleteAll: Prepared;
  private readonly listAll: Prepared;
  private readonly findAny: Prepared;

  constructor(
    db: Database.Database,
    private readonly transaction: Transaction,
  ) {
    this.getOne = new Prepared(db, 'SELECT value FROM xattr WHERE ino = ? AND name = ?', 'column');
    this.setOne = new Prepared(db, 'INSERT OR REPLACE INTO xattr VALUES (?, ?, ?)');
    this.deleteOne = new Prepared(db, 'DELETE FROM xattr WHERE ino = ? AND name = ?');
    this.deleteAll = new Prepared(db, 'DELETE FROM xattr WHERE ino = ?');
    this.listAll = new Prepared(db, 'SELECT name FROM xattr WHERE ino = ? ORDER BY name', 'column');
    this.findAny = new Prepared(db, 'SELECT 1 FROM xattr WHERE ino = ? LIMIT 1', 'column');
  }

  get(ino: number, name: string): Uint8Array | undefined {
    return this.getOne.get(ino, name) as Uint8Array | undefined;
  }

  /** The value is copied. */
  set(ino: number, name: string, value: Uint8Array): void {
    this.transaction.run(this.setOne, [ino, name, Buffer.from(value)]);
  }

  /** @returns false when there was no such attribute */
  remove(ino: number, name: string): boolean {
    return this.transaction.run(this.deleteOne, [ino, name]) === 1;
  }

  removeAll(ino: number): void {
    this.transaction.run(this.deleteAll, [ino]);
  }

  list(ino: number): string[] {
    return this.listAll.all(ino) as string[];
  }

  hasAny(ino: number): boolean {
    return this.findAny.get(ino) !== undefined;
  }
}
