/**
 * A statement of one connection that is compiled when it is first run: a crash state is opened for
 * a moment and uses few of the statements that a mount does.
 */
import type Database from 'better-sqlite3';

/** What a row is given as: an object, an array, or its first column alone. */
type RowShape = 'object' | 'array' | 'column';

export type Value = number | string | Uint8Array | null;

export class Prepared {
  private compiled: Database.Statement | undefined;

  constructor(
    private readonly db: Database.Database,
    private readonly sql: string,
    private readonly shape: RowShape = 'object',
  ) {}

  get(...values: Value[]): unknown {
    return this.statement.get(values);
  }

  all(...values: Value[]): unknown[] {
    return this.statement.all(values);
  }

  run(values: Value[]): Database.RunResult {
    return this.statement.run(values);
  }

  private get statement(): Database.Statement {
    this.compiled ??= this.compile();
    return this.compiled;
  }

  private compile(): Database.Statement {
    const statement = this.db.prepare(this.sql);
    if (this.shape === 'object') return statement;
    return this.shape === 'array' ? statement.raw() : statement.pluck();
  }
}
