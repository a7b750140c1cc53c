/** What a scenario begins with: a region of so many pages, and a database in which its files are committed. */
import Database from 'better-sqlite3';
import { S_IFREG } from '../metadata/inode.js';
import { Metadata } from '../metadata/metadata.js';
import { makeTables } from '../metadata/schema.js';
import type { Allocator } from '../space/allocator.js';
import { PAGE_BYTES, PAGES_PER_HUGE } from '../units.js';
import type { Scenario } from './scenario.js';

/** Region pages that a scenario's extents should leave alone: the superblock. */
const FIRST_DATA_PAGE = 1;
const SMALL_REGION_PAGES = 32;

export function regionPages(scenario: Scenario): number {
  if (scenario.regionPages !== undefined) return scenario.regionPages;
  const files = Object.values(scenario.files);
  const ends = files.flatMap(({ extents = [] }) =>
    extents.map(({ regionPage, pageCount }) => regionPage + pageCount),
  );
  const hasHuge = files.some(({ pages }) => pages >= PAGES_PER_HUGE);
  const least = Math.max(SMALL_REGION_PAGES, FIRST_DATA_PAGE + 1, ...ends);
  return hasHuge ? (Math.ceil(least / PAGES_PER_HUGE) + 1) * PAGES_PER_HUGE : least;
}

/** A database in memory in which the files of the scenario are committed. */
export function prepareDatabase(
  scenario: Scenario,
  allocator: Allocator,
): { db: Database.Database; inos: Map<string, number> } {
  const db = new Database(':memory:');
  db.pragma('foreign_keys = OFF');
  const uuid = '00000000-0000-4000-8000-000000000000';
  makeTables(db, { uuid, pageCount: allocator.pageCount, uid: 0, gid: 0, nowMs: 0 });
  const metadata = new Metadata(db, { allocator });
  const inos = new Map<string, number>();
  for (const [name, { pages, extents = [] }] of Object.entries(scenario.files)) {
    const inode = metadata.createInode({
      mode: S_IFREG | 0o644,
      nlink: 1,
      sizeBytes: pages * PAGE_BYTES,
    });
    inos.set(name, inode.ino);
    for (const extent of extents) {
      metadata.claimPages(inode, extent);
      metadata.map(inode, extent);
    }
  }
  metadata.commit();
  allocator.markCommitted();
  return { db, inos };
}
