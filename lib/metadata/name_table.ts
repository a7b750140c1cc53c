/**
 * Directory entries, keyed by (parent, cookie). A cookie is a 48-bit keyed hash of the name and 4
 * bits that tell colliding names apart; it is also the readdir position, so that positions stay
 * valid whatever is added or removed meanwhile. Cookies stay below 2^52 and above 15.
 */
import assert from 'node:assert/strict';
import type Database from 'better-sqlite3';
import { Errno } from '../errno.js';
import { NameCache } from './name_cache.js';
import { Prepared } from './prepared.js';
import type { Transaction } from './transaction.js';

/** Names of one directory whose hashes may be equal. */
export const COLLISIONS_MAX = 16;

export interface NameEntry {
  /** Position after which a listing goes on with the next entry. */
  cookie: number;
  name: string;
  ino: number;
}

/** Two 32-bit words that make an image's hashes its own. */
export interface NameSeed {
  a: number;
  b: number;
}

/** The key of an image's name hashes: the first 64 bits of its uuid. */
export function nameSeed(uuid: string): NameSeed {
  const hex = uuid.replaceAll('-', '');
  return { a: parseInt(hex.slice(0, 8), 16) | 0, b: parseInt(hex.slice(8, 16), 16) | 0 };
}

/** The lowest of the COLLISIONS_MAX cookies that `name` may have. SPEC.md, Name cookies. */
export function firstCookie(seed: NameSeed, name: string): number {
  let a = seed.a ^ 0x9e3779b9;
  let b = seed.b ^ 0x85ebca6b;
  for (let index = 0; index < name.length; index++) {
    const unit = name.charCodeAt(index);
    a = Math.imul(a ^ unit, 0x01000193);
    a ^= a >>> 15;
    b = Math.imul(b ^ unit, 0xcc9e2d51);
    b = (b << 13) | (b >>> 19);
  }
  a = Math.imul(a ^ b ^ (a >>> 16), 0x7feb352d);
  b = Math.imul(b ^ a ^ (b >>> 15), 0x846ca68b);
  a ^= a >>> 16;
  b ^= b >>> 13;
  const hash = (a >>> 0) * 65536 + (b & 0xffff);
  return Math.max(hash, 1) * COLLISIONS_MAX;
}

export class NameTable {
  private readonly findOne: Prepared;
  private readonly findRange: Prepared;
  private readonly insertOne: Prepared;
  private readonly deleteOne: Prepared;
  private readonly updateOne: Prepared;
  private readonly listAfter: Prepared;
  private readonly findAny: Prepared;
  private readonly cache = new NameCache();

  constructor(
    db: Database.Database,
    private readonly transaction: Transaction,
    private readonly seed: NameSeed,
  ) {
    const range = 'parent_ino = ? AND cookie >= ? AND cookie <= ?';
    this.findOne = new Prepared(db, `SELECT ino FROM name WHERE ${range} AND name = ?`, 'column');
    this.findRange = new Prepared(db, `SELECT cookie, name FROM name WHERE ${range}`, 'array');
    this.insertOne = new Prepared(
      db,
      'INSERT INTO name VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
    );
    this.deleteOne = new Prepared(db, `DELETE FROM name WHERE ${range} AND name = ?`);
    this.updateOne = new Prepared(db, `UPDATE name SET ino = ? WHERE ${range} AND name = ?`);
    this.listAfter = new Prepared(
      db,
      'SELECT cookie, name, ino FROM name WHERE parent_ino = ? AND cookie > ? ' +
        'ORDER BY cookie LIMIT ?',
    );
    this.findAny = new Prepared(db, 'SELECT 1 FROM name WHERE parent_ino = ? LIMIT 1', 'column');
  }

  lookup(parentIno: number, name: string): number | undefined {
    const cached = this.cache.get(parentIno, name);
    if (cached !== undefined) return cached;
    const cookie = firstCookie(this.seed, name);
    const ino = this.findOne.get(parentIno, cookie, cookie + COLLISIONS_MAX - 1, name) as
      | number
      | undefined;
    if (ino !== undefined) this.cache.set(parentIno, name, ino);
    return ino;
  }

  /** The transaction was rolled back: what is cached may not be there. */
  forgetCached(): void {
    this.cache.clear();
  }

  /** @throws {Errno} ENOSPC when COLLISIONS_MAX names of the directory share their hash */
  add(parentIno: number, name: string, ino: number): void {
    const cookie = firstCookie(this.seed, name);
    if (this.transaction.run(this.insertOne, [parentIno, cookie, name, ino]) === 1) {
      this.cache.set(parentIno, name, ino);
      return;
    }
    const taken = new Set<number>();
    const rows = this.findRange.all(parentIno, cookie, cookie + COLLISIONS_MAX - 1);
    for (const [takenCookie, takenName] of rows as [number, string][]) {
      assert(takenName !== name, `'${name}' is already in directory ${parentIno}`);
      taken.add(takenCookie);
    }
    for (let other = cookie + 1; other < cookie + COLLISIONS_MAX; other++) {
      if (taken.has(other)) continue;
      assert(this.transaction.run(this.insertOne, [parentIno, other, name, ino]) === 1);
      this.cache.set(parentIno, name, ino);
      return;
    }
    throw new Errno('ENOSPC', `too many names like '${name}' in directory ${parentIno}`);
  }

  remove(parentIno: number, name: string): void {
    const cookie = firstCookie(this.seed, name);
    const values = [parentIno, cookie, cookie + COLLISIONS_MAX - 1, name];
    this.cache.remove(parentIno, name);
    const rows = this.transaction.run(this.deleteOne, values);
    assert(rows === 1, `'${name}' is not in directory ${parentIno}`);
  }

  replace(parentIno: number, name: string, ino: number): void {
    const cookie = firstCookie(this.seed, name);
    const values = [ino, parentIno, cookie, cookie + COLLISIONS_MAX - 1, name];
    this.cache.remove(parentIno, name);
    const rows = this.transaction.run(this.updateOne, values);
    assert(rows === 1, `'${name}' is not in directory ${parentIno}`);
  }

  /** Up to `countMax` entries with a cookie above `afterCookie`, in order of cookie. */
  list(directoryIno: number, afterCookie: number, countMax: number): NameEntry[] {
    return this.listAfter.all(directoryIno, afterCookie, countMax) as NameEntry[];
  }

  hasAny(directoryIno: number): boolean {
    return this.findAny.get(directoryIno) !== undefined;
  }
}
