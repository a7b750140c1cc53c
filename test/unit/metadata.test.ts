/** The running transaction: what commit keeps, what rollback forgets, what records make again. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type Inode, ROOT_INO } from '../../lib/metadata/inode.js';
import { CACHED_INODES_MAX } from '../../lib/metadata/inode_cache.js';
import { CACHED_NAMES_MAX } from '../../lib/metadata/name_cache.js';
import { COLLISIONS_MAX, firstCookie, nameSeed } from '../../lib/metadata/name_table.js';
import { applyRecord, type MetadataRecord } from '../../lib/metadata/records.js';
import { Random } from '../../lib/random.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { dump, makeDir, TestImage, UUID } from './image_fixture.js';

const MODE = 0o100644;

function freePagesOf(image: TestImage): string {
  return JSON.stringify([...image.open.allocator.freeRuns()]);
}

/** One random filesystem operation with whatever inodes and names there are. */
function randomOperation(random: Random, image: TestImage): void {
  const { metadata, fileData } = image.open;
  const entries = metadata.list(ROOT_INO, 0, 1000);
  const entry = entries[random.below(Math.max(1, entries.length))];
  const inode = entry && metadata.existingInode(entry.ino);
  const kind = random.below(10);
  if (entry === undefined || inode === undefined || kind < 2) {
    const name = `file ${random.below(40)}`;
    if (metadata.lookup(ROOT_INO, name) === undefined) {
      const made = metadata.createInode({ mode: MODE, nlink: 1, uid: random.below(9) });
      metadata.addName(ROOT_INO, name, made.ino);
    }
  } else if (kind === 2) {
    metadata.removeName(ROOT_INO, entry.name);
    metadata.updateInode(inode, { nlink: inode.nlink - 1 });
    if (inode.nlink === 0) metadata.removeInode(inode);
  } else if (kind === 3) {
    const other = entries[random.below(entries.length)]!;
    const displaced = metadata.existingInode(other.ino);
    metadata.replaceName(ROOT_INO, other.name, inode.ino);
    metadata.updateInode(inode, { nlink: inode.nlink + 1, ctimeSec: random.below(1e9) });
    metadata.updateInode(displaced, { nlink: displaced.nlink - 1 });
    if (displaced.nlink === 0) metadata.removeInode(displaced);
  } else if (kind === 4) {
    metadata.setXattr(inode.ino, `user.${random.below(3)}`, Buffer.from([random.below(256)]));
  } else if (kind === 5) {
    metadata.removeXattr(inode.ino, `user.${random.below(3)}`);
  } else if (kind === 6) {
    fileData.punch(inode, random.below(9) * PAGE_BYTES, (1 + random.below(4)) * PAGE_BYTES);
  } else if (kind === 7) {
    if (inode.sizeBytes > 0) fileData.insert(inode, 0, PAGE_BYTES);
    if (inode.sizeBytes > 6 * PAGE_BYTES) fileData.collapse(inode, PAGE_BYTES, 2 * PAGE_BYTES);
  } else {
    const length = 1 + random.below(3 * PAGE_BYTES);
    fileData.write(inode, random.below(8 * PAGE_BYTES), Buffer.alloc(length, random.below(256)));
  }
  metadata.endOperation();
}

t.test('a rollback and any number of operations applied again give that state', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now());
  t.comment(`SEED=${seed}`);
  const random = new Random(seed);
  const image = new TestImage(t, { pageCount: 600 });
  const { metadata } = image.open;
  for (let round = 0; round < 60; round++) {
    const records: MetadataRecord[] = [];
    metadata.sink = (record) => records.push(structuredClone(record));
    const committed = { state: dump(metadata), free: freePagesOf(image) };
    const states = [committed.state];
    const counts = [metadata.counts()];
    const operationCount = 1 + random.below(40);
    while (states.length <= operationCount) {
      const before = records.length;
      randomOperation(random, image);
      if (records.length === before) continue;
      assert.equal(records.at(-1)!.type, 'end-operation');
      states.push(dump(metadata));
      counts.push(metadata.counts());
    }
    metadata.sink = undefined;
    metadata.rollback();
    const where = `SEED=${seed} round ${round}`;
    assert.equal(dump(metadata), committed.state, where);
    assert.equal(freePagesOf(image), committed.free, where);
    const kept = random.below(operationCount + 1);
    let done = 0;
    for (const record of records) {
      if (done === kept) break;
      applyRecord(metadata, record);
      if (record.type === 'end-operation') done++;
    }
    assert.equal(dump(metadata), states[kept], `${where}: ${kept} operations`);
    assert.deepEqual(metadata.counts(), counts[kept], where);
    metadata.commit();
    assert.equal(dump(metadata), states[kept], where);
  }
  t.pass('all agree');
});

t.test('what was committed is there after a kill, and nothing else', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now());
  t.comment(`SEED=${seed}`);
  const random = new Random(seed);
  const image = new TestImage(t, { pageCount: 600 });
  let committed = dump(image.open.metadata);
  for (let round = 0; round < 40; round++) {
    for (let count = random.below(60); count > 0; count--) randomOperation(random, image);
    const end = random.below(4);
    if (end < 2) {
      image.region.fence();
      image.open.metadata.commit();
      committed = dump(image.open.metadata);
    } else if (end === 2) {
      committed = dump(image.open.metadata);
      image.reopen();
    }
    const { metadata } = image.open;
    if (metadata.pendingRecordCount === 0) committed = dump(metadata);
    image.kill();
    assert.equal(dump(image.open.metadata), committed, `SEED=${seed} round ${round}`);
    const usedPages = image.open.allocator.usedPages;
    assert.deepEqual(image.open.metadata.counts().usedPages, usedPages);
  }
  t.pass('all agree');
});

t.test('an inode made and removed before a commit leaves no row', async (t) => {
  const { metadata } = new TestImage(t, { pageCount: 100 }).open;
  const before = dump(metadata);
  const inode = metadata.createInode({ mode: MODE, nlink: 0 });
  metadata.setXattr(inode.ino, 'user.a', Buffer.from('x'));
  dump(metadata); // its row is in the running transaction now
  metadata.removeInode(inode);
  t.equal(metadata.inode(inode.ino), undefined);
  metadata.commit();
  t.equal(dump(metadata), before);
});

t.test('a lookup finds what a listing shows, whatever came before', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now());
  t.comment(`SEED=${seed}`);
  const random = new Random(seed);
  const image = new TestImage(t, { pageCount: 600 });
  const { metadata } = image.open;
  for (let round = 0; round < 2000; round++) {
    const kind = random.below(20);
    if (kind === 0) metadata.rollback();
    else if (kind === 1) metadata.commit();
    else randomOperation(random, image);
    const listed = new Map(metadata.list(ROOT_INO, 0, 1000).map(({ name, ino }) => [name, ino]));
    for (let number = 0; number < 40; number++) {
      const name = `file ${number}`;
      const where = `SEED=${seed} round ${round} ${name}`;
      assert.equal(metadata.lookup(ROOT_INO, name), listed.get(name), where);
    }
  }
  t.pass('all agree');
});

t.test('more names than are remembered are found', async (t) => {
  const image = new TestImage(t, { pageCount: 600 });
  const { metadata } = image.open;
  const { ino } = metadata.createInode({ mode: MODE, nlink: 1 });
  for (let i = 0; i <= CACHED_NAMES_MAX; i++)
    metadata.addName(1000 + (i % 3), `name ${i}`, ino + i);
  for (const i of [0, 1, 2, CACHED_NAMES_MAX - 1, CACHED_NAMES_MAX]) {
    assert.equal(metadata.lookup(1000 + (i % 3), `name ${i}`), ino + i);
    assert.equal(metadata.lookup(1000 + ((i + 1) % 3), `name ${i}`), undefined);
  }
  t.pass('all found');
});

t.test('inode numbers are not used again, not even after a rollback', async (t) => {
  const { metadata } = new TestImage(t, { pageCount: 100 }).open;
  const first = metadata.createInode({ mode: MODE });
  metadata.rollback();
  const second = metadata.createInode({ mode: MODE });
  t.ok(second.ino > first.ino);
  t.throws(() => metadata.updateInode(first, { uid: 1 }), 'objects of before are dead');
});

t.test('orphans are found saved and unsaved', async (t) => {
  const { metadata } = new TestImage(t, { pageCount: 100 }).open;
  const saved = metadata.createInode({ mode: MODE, nlink: 0 });
  const linked = metadata.createInode({ mode: MODE, nlink: 0 });
  metadata.commit();
  const unsaved = metadata.createInode({ mode: MODE, nlink: 0 });
  metadata.updateInode(linked, { nlink: 1 });
  t.same(metadata.orphans(), [saved.ino, unsaved.ino]);
});

t.test('pinned inodes stay the same object, others may be read anew', async (t) => {
  const { metadata } = new TestImage(t, { pageCount: 100 }).open;
  const inodes: Inode[] = [];
  for (let count = 0; count < 3 * CACHED_INODES_MAX; count++) {
    inodes.push(metadata.createInode({ mode: MODE, nlink: 1, uid: count }));
  }
  metadata.commit();
  const [pinned, free] = [inodes[0]!, inodes[1]!];
  metadata.pin(pinned.ino);
  for (const { ino } of inodes) metadata.inode(ino);
  for (let count = 0; count < 4 * CACHED_INODES_MAX; count++) metadata.createInode({ mode: MODE });
  t.equal(metadata.inode(pinned.ino), pinned);
  const again = metadata.inode(free.ino)!;
  t.not(again, free, 'the cache is limited');
  t.equal(again.uid, 1);
  metadata.unpin(pinned.ino);
  t.throws(() => metadata.unpin(pinned.ino), 'unbalanced');
});

/** Different names with equal 48-bit hashes, found through the inner state of the hash. */
function plantCollisions(image: TestImage, count: number): string {
  const { metadata } = image.open;
  const base = firstCookie(nameSeed(UUID), 'wanted');
  metadata.addName(ROOT_INO, 'trigger', ROOT_INO); // opens the transaction
  const insert = metadata.db.prepare('INSERT INTO name VALUES (?, ?, ?, ?)');
  for (let index = 0; index < count; index++) {
    insert.run(ROOT_INO, base + index, `other ${index}`, ROOT_INO);
  }
  return 'wanted';
}

t.test('names with equal hashes are told apart', async (t) => {
  const image = new TestImage(t, { pageCount: 100 });
  const { metadata } = image.open;
  const name = plantCollisions(image, COLLISIONS_MAX - 1);
  t.equal(metadata.lookup(ROOT_INO, name), undefined);
  metadata.addName(ROOT_INO, name, 77);
  t.equal(metadata.lookup(ROOT_INO, name), 77);
  metadata.replaceName(ROOT_INO, name, 78);
  t.equal(metadata.lookup(ROOT_INO, name), 78);
  const ours = metadata.list(ROOT_INO, 0, 100).find((entry) => entry.name === name)!;
  t.equal(ours.cookie, firstCookie(nameSeed(UUID), name) + COLLISIONS_MAX - 1);
  metadata.removeName(ROOT_INO, name);
  t.equal(metadata.lookup(ROOT_INO, name), undefined);
});

t.test('one name too many with the same hash is refused and nothing changes', async (t) => {
  const image = new TestImage(t, { pageCount: 100 });
  const { metadata } = image.open;
  const name = plantCollisions(image, COLLISIONS_MAX);
  const before = dump(metadata);
  t.throws(() => metadata.addName(ROOT_INO, name, 77), { code: 'ENOSPC' });
  t.equal(dump(metadata), before);
});

t.test('cookies are exact, above 15 and spread', async (t) => {
  const seed = nameSeed(UUID);
  const seen = new Set<number>();
  for (let count = 0; count < 200_000; count++) {
    const cookie = firstCookie(seed, `name${count}.txt`);
    assert(Number.isSafeInteger(cookie) && cookie >= COLLISIONS_MAX && cookie < 2 ** 52);
    assert.equal(cookie % COLLISIONS_MAX, 0);
    seen.add(cookie);
  }
  t.ok(seen.size >= 199_998, 'about 0.0001 collisions are expected');
  const other = nameSeed('11234567-89ab-4def-8123-456789abcdef');
  t.not(firstCookie(other, 'a'), firstCookie(seed, 'a'), 'each image has its own');
});

t.test('a listing goes on at its cookie while names come and go', async (t) => {
  const { metadata } = new TestImage(t, { pageCount: 100 }).open;
  for (let count = 0; count < 1000; count++) metadata.addName(ROOT_INO, `stay ${count}`, 9);
  const seen: string[] = [];
  let cookie = 0;
  for (let round = 0; ; round++) {
    const entries = metadata.list(ROOT_INO, cookie, 7);
    if (entries.length === 0) break;
    for (const entry of entries) if (entry.name.startsWith('stay')) seen.push(entry.name);
    cookie = entries.at(-1)!.cookie;
    metadata.addName(ROOT_INO, `come ${round}`, 9);
    if (round > 0) metadata.removeName(ROOT_INO, `come ${round - 1}`);
  }
  t.equal(seen.length, 1000);
  t.equal(new Set(seen).size, 1000);
});

t.test('xattrs keep bytes, are listed in order and go with their inode', async (t) => {
  const image = new TestImage(t, { pageCount: 100 });
  const { ino } = image.open.metadata.createInode({ mode: MODE, nlink: 1 });
  const value = Buffer.from([0, 255, 10]);
  image.open.metadata.setXattr(ino, 'user.b', value);
  image.open.metadata.setXattr(ino, 'user.a', Buffer.alloc(0));
  image.reopen();
  const { metadata } = image.open;
  t.same(metadata.listXattrs(ino), ['user.a', 'user.b']);
  t.same(metadata.xattr(ino, 'user.b'), value);
  t.same(metadata.xattr(ino, 'user.a'), Buffer.alloc(0), 'an empty value is a value');
  t.equal(metadata.removeXattr(ino, 'user.a'), true);
  t.equal(metadata.removeXattr(ino, 'user.a'), false);
  metadata.removeInode(metadata.existingInode(ino));
  t.equal(metadata.db.prepare('SELECT count(*) FROM xattr').pluck().get(), 0);
});

const needsRoot = { skip: process.getuid?.() === 0 ? false : 'mounting a tmpfs needs root' };

t.test('a commit on a full disk is ENOSPC, loses nothing, works later', needsRoot, async (t) => {
  const dir = makeDir(t);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', dir]);
  t.teardown(() => execFileSync('umount', ['-l', dir]));
  const image = new TestImage(t, { pageCount: 100, dir });
  const { metadata, fileData } = image.open;
  const early = metadata.createInode({ mode: MODE, nlink: 1 });
  metadata.addName(ROOT_INO, 'early', early.ino);
  metadata.commit();
  const filler = path.join(dir, 'filler');
  fs.writeFileSync(filler, '');
  for (const size of [65536, 4096]) {
    try {
      for (;;) fs.appendFileSync(filler, Buffer.alloc(size));
    } catch {
      // Full to this granularity.
    }
  }
  metadata.removeName(ROOT_INO, 'early');
  metadata.removeInode(early);
  for (let count = 0; count < 2000; count++) {
    const inode = metadata.createInode({ mode: MODE, nlink: 1 });
    metadata.addName(ROOT_INO, `name ${count}`, inode.ino);
    if (count === 5) fileData.write(inode, 0, Buffer.from('data'));
  }
  const expected = dump(metadata);
  for (let round = 0; round < 3; round++) {
    t.throws(() => metadata.commit(), { code: 'ENOSPC' });
    t.ok(metadata.dirty);
    metadata.addName(ROOT_INO, `later ${round}`, 5);
    metadata.removeName(ROOT_INO, `later ${round}`);
  }
  t.equal(dump(metadata), expected);
  t.throws(() => metadata.commit(), { code: 'ENOSPC' });
  fs.rmSync(filler);
  metadata.commit();
  image.kill();
  t.equal(dump(image.open.metadata), expected);
});
