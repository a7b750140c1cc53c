/**
 * The running transaction: an open SQLite transaction, begun at the first change and ended by
 * commit or rollback. SQLite throws a transaction away when its COMMIT meets a full disk, so every
 * change since the last commit is kept and done again then: to the caller a failed commit changes
 * nothing.
 */
import Database from 'better-sqlite3';
import { Errno } from '../errno.js';
import { Prepared, type Value } from './prepared.js';

interface Change {
  statement: Prepared;
  values: Value[];
}

export class Transaction {
  private readonly beginStatement: Prepared;
  private readonly commitStatement: Prepared;
  private readonly rollbackStatement: Prepared;
  private readonly changes: Change[] = [];
  private open: boolean;

  /** @param options.isOpen joins the transaction that the caller began and will end */
  constructor(
    private readonly db: Database.Database,
    options: { isOpen: boolean } = { isOpen: false },
  ) {
    this.open = options.isOpen;
    this.beginStatement = new Prepared(db, 'BEGIN IMMEDIATE');
    this.commitStatement = new Prepared(db, 'COMMIT');
    this.rollbackStatement = new Prepared(db, 'ROLLBACK');
  }

  get isOpen(): boolean {
    return this.open;
  }

  /** Runs a change that must not be lost by a failed commit. @returns rows changed */
  run(statement: Prepared, values: Value[]): number {
    this.begin();
    const { changes } = statement.run(values);
    this.changes.push({ statement, values });
    return changes;
  }

  /** Runs a change that the caller makes again before each commit. */
  runWriteBehind(statement: Prepared, values: Value[]): void {
    this.begin();
    statement.run(values);
  }

  /**
   * Ends the transaction; durable as the connection was opened.
   * @throws {Errno} ENOSPC when the host's disk is full, EIO when it fails. The transaction is then
   * open again and holds all that run() did, and nothing that runWriteBehind() did.
   */
  commit(): void {
    if (!this.open) return;
    try {
      this.commitStatement.run([]);
    } catch (error) {
      this.redo();
      if (!(error instanceof Database.SqliteError)) throw error;
      const code = error.code === 'SQLITE_FULL' ? 'ENOSPC' : 'EIO';
      throw new Errno(code, `commit of ${this.db.name}: ${error.message}`);
    }
    this.open = false;
    this.changes.length = 0;
  }

  rollback(): void {
    if (this.db.inTransaction) this.rollbackStatement.run([]);
    this.open = false;
    this.changes.length = 0;
  }

  private begin(): void {
    if (this.open) return;
    this.beginStatement.run([]);
    this.open = true;
  }

  private redo(): void {
    if (this.db.inTransaction) this.rollbackStatement.run([]);
    this.beginStatement.run([]);
    for (const { statement, values } of this.changes) statement.run(values);
  }
}
