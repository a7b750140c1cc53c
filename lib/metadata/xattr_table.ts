/**
 * Extended attributes: rows of (ino, name, value), changed in SQLite at once. Which names and sizes
 * are allowed is the caller's business.
 */
import type Database from 'better-sqlite3';
import type { Transaction } from './transaction.js';

export class XattrTable {
  private readonly getOne: Database.Statement;
  private readonly setOne: Database.Statement;
  private readonly deleteOne: Database.Statement;
  private readonly deleteAll: Database.Statement;
  private readonly listAll: Database.Statement;
  private readonly findAny: Database.Statement;

  constructor(
    db: Database.Database,
    private readonly transaction: Transaction,
  ) {
    this.getOne = db.prepare('SELECT value FROM xattr WHERE ino = ? AND name = ?').pluck();
    this.setOne = db.prepare('INSERT OR REPLACE INTO xattr VALUES (?, ?, ?)');
    this.deleteOne = db.prepare('DELETE FROM xattr WHERE ino = ? AND name = ?');
    this.deleteAll = db.prepare('DELETE FROM xattr WHERE ino = ?');
    this.listAll = db.prepare('SELECT name FROM xattr WHERE ino = ? ORDER BY name').pluck();
    this.findAny = db.prepare('SELECT 1 FROM xattr WHERE ino = ? LIMIT 1').pluck();
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
