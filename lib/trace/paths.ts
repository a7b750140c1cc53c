/**
 * What inodes are called at one position of a trace: the names of its base, then every change of a
 * name as the events go by. Names of what was removed are remembered, so that a call on an open
 * file that lost its name can still be told apart. Paths are relative to the root: `dir/file`, the
 * root is `.`, what never had a name `#7`.
 */
import { ROOT_INO } from '../metadata/inode.js';
import type { MetadataRecord } from '../metadata/records.js';
import { openDatabaseBytes } from '../metadata/schema.js';
import type { TraceEvent } from './event.js';
import type { BaseImage } from './source.js';

const DEPTH_MAX = 4096;

interface Link {
  parentIno: number;
  name: string;
}

export class PathTracker {
  /** By directory. */
  private readonly entries = new Map<number, Map<string, number>>();
  /** Names that an inode has, the oldest first. */
  private readonly links = new Map<number, Link[]>();
  /** The last name of inodes that have none. */
  private readonly lastLinks = new Map<number, Link>();

  /** At position 0. */
  constructor(base: Pick<BaseImage, 'database'>) {
    const db = openDatabaseBytes(base.database);
    try {
      const rows = db.prepare('SELECT parent_ino, name, ino FROM name').raw().iterate();
      for (const row of rows as Iterable<[number, string, number]>) this.add(...row);
    } finally {
      db.close();
    }
  }

  /** Takes the events of a trace in their order. */
  observe(event: TraceEvent): void {
    if (event.type === 'metadata') this.apply(event.record);
  }

  path(ino: number): string {
    const names: string[] = [];
    for (let at = ino; at !== ROOT_INO && names.length < DEPTH_MAX; ) {
      const link = this.links.get(at)?.[0] ?? this.lastLinks.get(at);
      if (link === undefined) {
        names.push(`#${at}`);
        break;
      }
      names.push(link.name);
      at = link.parentIno;
    }
    return names.length === 0 ? '.' : names.reverse().join('/');
  }

  /** The path of a name in a directory, whether it is there or not. */
  pathOf(parentIno: number, name: string): string {
    return parentIno === ROOT_INO ? name : `${this.path(parentIno)}/${name}`;
  }

  /** Whether the inode has a name: what has none is gone with its last descriptor. */
  isNamed(ino: number): boolean {
    return ino === ROOT_INO || this.links.has(ino);
  }

  private apply(record: MetadataRecord): void {
    switch (record.type) {
      case 'add-name':
        this.add(record.parentIno, record.name, record.ino);
        return;
      case 'remove-name':
        this.remove(record.parentIno, record.name);
        return;
      case 'replace-name':
        this.remove(record.parentIno, record.name);
        this.add(record.parentIno, record.name, record.ino);
        return;
      default:
    }
  }

  private add(parentIno: number, name: string, ino: number): void {
    const directory = this.entries.get(parentIno) ?? new Map<string, number>();
    this.entries.set(parentIno, directory.set(name, ino));
    const links = this.links.get(ino);
    if (links === undefined) this.links.set(ino, [{ parentIno, name }]);
    else links.push({ parentIno, name });
    this.lastLinks.delete(ino);
  }

  private remove(parentIno: number, name: string): void {
    const directory = this.entries.get(parentIno);
    const ino = directory?.get(name);
    if (directory === undefined || ino === undefined) return;
    directory.delete(name);
    const links = this.links.get(ino) ?? [];
    const left = links.filter((link) => link.parentIno !== parentIno || link.name !== name);
    if (left.length > 0) {
      this.links.set(ino, left);
      return;
    }
    this.links.delete(ino);
    this.lastLinks.set(ino, { parentIno, name });
  }
}
