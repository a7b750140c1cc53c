/**
 * Images for tests: a fresh directory, a region in memory that outlives closing, and the canonical
 * text of all metadata. Crashing is: forget the open image, open the directory again.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { type BugSwitches, NO_BUGS } from '../../lib/dax/bugs.js';
import { makeImage, type OpenImage, openImage } from '../../lib/image.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import type { Metadata } from '../../lib/metadata/metadata.js';
import { PAGE_BYTES } from '../../lib/units.js';

export const UUID = '01234567-89ab-4def-8123-456789abcdef';

export function makeDir(t: Test): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'fauxdax-unit-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A region whose bytes stay when an image is closed. */
class LastingRegion extends MemoryRegion {
  override close(): void {
    // The next opening of the image reads it again.
  }
}

/** A new image of `pageCount` pages, open; reopen() opens it again over the same bytes. */
export class TestImage {
  readonly dir: string;
  readonly region: MemoryRegion;
  readonly bugs: Readonly<BugSwitches>;
  open: OpenImage;

  constructor(t: Test, options: { pageCount: number; bugs?: Readonly<BugSwitches>; dir?: string }) {
    this.dir = options.dir ?? makeDir(t);
    this.bugs = options.bugs ?? NO_BUGS;
    makeImage(this.dir, { sizeBytes: options.pageCount * PAGE_BYTES, uuid: UUID });
    this.region = new LastingRegion(options.pageCount);
    this.open = this.openAgain();
    t.teardown(() => this.open.metadata.close());
  }

  /** Closes in order and opens again. */
  reopen(): void {
    this.open.close();
    this.open = this.openAgain();
  }

  /** Opens again what a killed process left: nothing is committed. */
  kill(): void {
    this.open.metadata.close();
    this.open = this.openAgain();
  }

  private openAgain(): OpenImage {
    return openImage(this.dir, { openRegion: () => this.region, bugs: this.bugs });
  }
}

const TABLES = {
  inode: 'ino',
  name: 'parent_ino, cookie',
  xattr: 'ino, name',
  extent: 'ino, file_page',
} as const;

/** All rows as text, unsaved changes included. */
export function dump(metadata: Metadata): string {
  metadata.writeBehind();
  const lines: string[] = [];
  for (const [table, order] of Object.entries(TABLES)) {
    const rows = metadata.db.prepare(`SELECT * FROM ${table} ORDER BY ${order}`).raw().all();
    for (const row of rows as unknown[][]) {
      const cells = row.map((cell) => (cell instanceof Buffer ? cell.toString('hex') : cell));
      lines.push(`${table} ${JSON.stringify(cells)}`);
    }
  }
  return lines.join('\n');
}
