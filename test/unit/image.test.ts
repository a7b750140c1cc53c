/** Making and opening images: what is refused is refused by name, and nothing is written then. */
import Database from 'better-sqlite3';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import t from 'tap';
import {
  DATABASE_NAME,
  ImageError,
  makeImage,
  openImage,
  REGION_NAME,
  REGION_PAGES_MIN,
} from '../../lib/image.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import { ROOT_INO } from '../../lib/metadata/inode.js';
import { REGION_PAGES_MAX } from '../../lib/space/allocator.js';
import { decodeSuperblock, encodeSuperblock } from '../../lib/superblock.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { makeDir, TestImage, UUID } from './image_fixture.js';

const PAGES = 64;
const openRegion = (_path: string, pageCount: number) => new MemoryRegion(pageCount);

/** Names and contents of all files. */
function fingerprint(dir: string): string {
  const hash = createHash('sha256');
  for (const name of fs.readdirSync(dir).sort()) {
    hash.update(name).update(fs.readFileSync(path.join(dir, name)));
  }
  return hash.digest('hex');
}

function patch(file: string, offset: number, bytes: number[]): void {
  const fd = fs.openSync(file, 'r+');
  fs.writeSync(fd, Buffer.from(bytes), 0, bytes.length, offset);
  fs.closeSync(fd);
}

function sql(dir: string, text: string): void {
  const db = new Database(path.join(dir, DATABASE_NAME));
  db.pragma('foreign_keys = OFF');
  db.exec(text);
  db.close();
}

const REFUSALS: [what: string, damage: (dir: string) => void, message: RegExp][] = [
  ['no region', (dir) => fs.rmSync(path.join(dir, REGION_NAME)), /is not an image/],
  ['no database', (dir) => fs.rmSync(path.join(dir, DATABASE_NAME)), /has no meta\.db/],
  ['a cut region', (dir) => fs.truncateSync(path.join(dir, REGION_NAME), 4096), /cut short/],
  ['an empty region', (dir) => fs.truncateSync(path.join(dir, REGION_NAME), 0), /too short/],
  ['another magic', (dir) => patch(path.join(dir, REGION_NAME), 0, [70, 65, 85, 68]), /FAUXDAX/],
  ['a changed superblock', (dir) => patch(path.join(dir, REGION_NAME), 33, [9]), /checksum/],
  [
    'another version of the region',
    (dir) => {
      const bytes = encodeSuperblock({ uuid: UUID, pageCount: PAGES, state: 0 });
      bytes.writeUInt32LE(7, 8);
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
      patch(path.join(dir, REGION_NAME), 0, [...bytes]);
    },
    /its version is 7/,
  ],
  ['another version of the schema', (dir) => sql(dir, 'PRAGMA user_version = 9'), /version is 9/],
  ['a foreign database', (dir) => sql(dir, 'PRAGMA application_id = 1'), /not the metadata/],
  ['another uuid', (dir) => sql(dir, `UPDATE image SET uuid = 'x'`), /belongs to image x/],
  ['another size', (dir) => sql(dir, 'UPDATE image SET page_count = 5'), /for 5 pages/],
  ['no row of the image', (dir) => sql(dir, 'DELETE FROM image'), /does not say/],
  ['no root', (dir) => sql(dir, 'DELETE FROM inode'), /no root/],
  [
    'an extent outside',
    (dir) => sql(dir, `INSERT INTO extent VALUES (5, 0, ${PAGES - 1}, 2, 1)`),
    /extent at page 0 of inode 5 lies outside the region/,
  ],
  [
    'a page owned twice',
    (dir) => sql(dir, 'INSERT INTO extent VALUES (5, 0, 3, 2, 1), (6, 0, 4, 2, 1)'),
    /extent at page 0 of inode 6 shares region pages/,
  ],
  [
    'extents that overlap in their file',
    (dir) => sql(dir, 'INSERT INTO extent VALUES (5, 0, 3, 2, 1), (5, 1, 9, 2, 1)'),
    /extent at page 1 of inode 5 overlaps/,
  ],
  [
    'a database of garbage',
    (dir) => fs.writeFileSync(path.join(dir, DATABASE_NAME), Buffer.alloc(20_000, 0x5a)),
    /meta\.db is damaged: .*not a database/,
  ],
  [
    'a database with broken pages',
    (dir) => patch(path.join(dir, DATABASE_NAME), 4096, Array(8 * 4096).fill(0xa5)),
    /meta\.db is damaged/,
  ],
];

t.test('a damaged image is refused in one line and nothing is written', async (t) => {
  for (const [what, damage, message] of REFUSALS) {
    const dir = makeDir(t);
    makeImage(dir, { sizeBytes: PAGES * PAGE_BYTES, uuid: UUID });
    damage(dir);
    const before = fingerprint(dir);
    let caught: unknown;
    try {
      openImage(dir, { openRegion }).close();
    } catch (error) {
      caught = error;
    }
    t.ok(caught instanceof ImageError, `${what}: ${String(caught)}`);
    t.match((caught as Error).message, message);
    t.notMatch((caught as Error).message, /\n/);
    t.equal(fingerprint(dir), before, 'nothing is written');
  }
});

t.test('an image that another process has is refused, also for making it anew', async (t) => {
  const dir = makeDir(t);
  const sizeBytes = PAGES * PAGE_BYTES;
  makeImage(dir, { sizeBytes });
  const before = fingerprint(dir);
  const lockFile = () => false;
  t.throws(() => openImage(dir, { openRegion, lockFile }), /in use by another process/);
  t.throws(() => makeImage(dir, { sizeBytes, force: true, lockFile }), /in use/);
  t.equal(fingerprint(dir), before);
});

t.test('an image is replaced only when forced', async (t) => {
  const dir = path.join(makeDir(t), 'new', 'image');
  makeImage(dir, { sizeBytes: PAGES * PAGE_BYTES });
  const before = fingerprint(dir);
  t.throws(() => makeImage(dir, { sizeBytes: PAGES * PAGE_BYTES }), /already holds an image/);
  t.equal(fingerprint(dir), before);
  makeImage(dir, { sizeBytes: 2 * PAGES * PAGE_BYTES + 1, force: true });
  const image = openImage(dir, { openRegion });
  t.equal(image.region.pageCount, 2 * PAGES, 'sizes are rounded down to pages');
  image.close();
});

t.test('sizes out of range are refused', async (t) => {
  const dir = makeDir(t);
  for (const pages of [0, REGION_PAGES_MIN - 1, REGION_PAGES_MAX + 1, NaN]) {
    t.throws(() => makeImage(dir, { sizeBytes: pages * PAGE_BYTES }), /out of range/);
  }
  t.same(fs.readdirSync(dir), []);
});

t.test('host blocks are asked for once, for the whole region', async (t) => {
  const dir = makeDir(t);
  const asked: number[] = [];
  const allocate = (fd: number, lengthBytes: number) => {
    asked.push(lengthBytes);
    fs.ftruncateSync(fd, lengthBytes);
  };
  makeImage(dir, { sizeBytes: PAGES * PAGE_BYTES, allocate });
  t.same(asked, [PAGES * PAGE_BYTES]);
});

t.test('closing marks an image clean and a kill does not', async (t) => {
  const image = new TestImage(t, { pageCount: PAGES });
  const state = () => {
    const bytes = Buffer.alloc(PAGE_BYTES);
    image.region.read(0, bytes);
    const superblock = decodeSuperblock(bytes);
    return typeof superblock === 'string' ? superblock : superblock.state;
  };
  t.equal(state(), 1);
  image.open.close();
  image.open.close();
  t.equal(state(), 0);
});

t.test('opening read-only writes nothing to a clean image', async (t) => {
  const dir = makeDir(t);
  makeImage(dir, { sizeBytes: PAGES * PAGE_BYTES });
  const before = fingerprint(dir);
  const image = openImage(dir, { openRegion, readOnly: true });
  t.equal(image.metadata.existingInode(ROOT_INO).nlink, 2);
  t.ok(image.wasClean);
  image.close();
  t.equal(fingerprint(dir), before);
});

t.test('superblocks survive encoding', async (t) => {
  const superblock = { uuid: UUID, pageCount: 2 ** 30, state: 1 } as const;
  t.same(decodeSuperblock(encodeSuperblock(superblock)), superblock);
});

t.test(
  'a database as kill -9 leaves it, with its log beside it, opens with all commits',
  async (t) => {
    const image = new TestImage(t, { pageCount: PAGES });
    const { metadata } = image.open;
    for (let count = 0; count < 500; count++) {
      const inode = metadata.createInode({ mode: 0o100644, nlink: 1 });
      metadata.addName(ROOT_INO, `name ${count}`, inode.ino);
      if (count % 100 === 99) metadata.commit();
    }
    metadata.createInode({ mode: 0o100644, nlink: 1 });
    const dir = path.join(makeDir(t), 'copy');
    fs.cpSync(image.dir, dir, { recursive: true });
    t.ok(fs.statSync(path.join(dir, `${DATABASE_NAME}-wal`)).size > 0);
    const copy = openImage(dir, { openRegion });
    t.equal(copy.metadata.counts().names, 500);
    t.equal(copy.metadata.counts().inodes, 501);
    t.equal(copy.metadata.lookup(ROOT_INO, 'name 499'), 501);
    copy.close();

    fs.rmSync(dir, { recursive: true });
    fs.cpSync(image.dir, dir, { recursive: true });
    makeImage(path.join(dir, 'other'), { sizeBytes: PAGES * PAGE_BYTES });
    fs.cpSync(path.join(dir, 'other', REGION_NAME), path.join(dir, REGION_NAME));
    fs.rmSync(path.join(dir, 'other'), { recursive: true });
    const mixed = fingerprint(dir);
    t.throws(() => openImage(dir, { openRegion }), /belongs to image/);
    t.equal(fingerprint(dir), mixed, 'the log of a refused image is not written back');
  },
);
