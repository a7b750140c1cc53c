/** File bytes against plain buffers, over a region in memory. */
import assert from 'node:assert/strict';
import t from 'tap';
import { Errno } from '../../lib/errno.js';
import type { Inode } from '../../lib/metadata/inode.js';
import { Random } from '../../lib/random.js';
import { UNWRITTEN, WRITTEN } from '../../lib/space/extent_list.js';
import { FILE_BYTES_MAX, HUGE_BYTES, PAGE_BYTES, PAGES_PER_HUGE } from '../../lib/units.js';
import { TestImage } from './image_fixture.js';

const MODE = 0o100644;
const FILE_BYTES = 40 * PAGE_BYTES;

function newFile(image: TestImage): Inode {
  return image.open.metadata.createInode({ mode: MODE, nlink: 1 });
}

function contents(image: TestImage, inode: Inode): Buffer {
  const bytes = Buffer.alloc(inode.sizeBytes, 0xee);
  assert.equal(image.open.fileData.read(inode, 0, bytes), bytes.length);
  return bytes;
}

function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const start = random.next();
  for (let index = 0; index < length; index++) bytes[index] = 1 + ((start + index * 7) % 255);
  return bytes;
}

function resized(bytes: Buffer, length: number): Buffer {
  const result = Buffer.alloc(length);
  bytes.copy(result);
  return result;
}

interface ModelFile {
  inode: Inode;
  bytes: Buffer;
}

function randomRange(random: Random): { offset: number; length: number; end: number } {
  const fine = !random.oneIn(3);
  const unit = fine ? 1 : PAGE_BYTES;
  const offset = random.below(FILE_BYTES / unit / 2) * unit;
  const length = (1 + random.below(random.oneIn(4) ? FILE_BYTES / unit / 2 : 9000 / unit)) * unit;
  return { offset, length, end: offset + length };
}

/** One random change of `file` and of its model alike. */
function step(random: Random, image: TestImage, file: ModelFile, other: ModelFile): string {
  const { fileData } = image.open;
  const { inode } = file;
  const { offset, length, end } = randomRange(random);
  const what = `${offset}+${length}`;
  const keepSize = random.oneIn(2);
  switch (random.below(11)) {
    case 0:
    case 1:
    case 2: {
      const source = randomBytes(random, length);
      assert.equal(fileData.write(inode, offset, source), length);
      file.bytes = resized(file.bytes, Math.max(file.bytes.length, end));
      source.copy(file.bytes, offset);
      return `write ${what}`;
    }
    case 3:
      fileData.setSize(inode, offset);
      file.bytes = resized(file.bytes, offset);
      return `setSize ${offset}`;
    case 4:
      fileData.allocate(inode, offset, length, { keepSize });
      if (!keepSize) file.bytes = resized(file.bytes, Math.max(file.bytes.length, end));
      return `allocate ${what} ${keepSize}`;
    case 5:
      fileData.zeroRange(inode, offset, length, { keepSize });
      if (!keepSize) file.bytes = resized(file.bytes, Math.max(file.bytes.length, end));
      file.bytes.fill(0, Math.min(offset, file.bytes.length), Math.min(end, file.bytes.length));
      return `zeroRange ${what} ${keepSize}`;
    case 6:
      fileData.punch(inode, offset, length);
      file.bytes.fill(0, Math.min(offset, file.bytes.length), Math.min(end, file.bytes.length));
      return `punch ${what}`;
    case 7: {
      const [from, count] = pageRange(offset, length);
      if (from + count >= file.bytes.length) {
        assert.throws(() => fileData.collapse(inode, from, count), { code: 'EINVAL' });
        return 'collapse refused';
      }
      fileData.collapse(inode, from, count);
      const parts = [file.bytes.subarray(0, from), file.bytes.subarray(from + count)];
      file.bytes = Buffer.concat(parts);
      return `collapse ${from}+${count}`;
    }
    case 8: {
      const [from, count] = pageRange(offset, length);
      if (from >= file.bytes.length) {
        assert.throws(() => fileData.insert(inode, from, count), { code: 'EINVAL' });
        return 'insert refused';
      }
      if (file.bytes.length + count > FILE_BYTES) return 'none';
      fileData.insert(inode, from, count);
      const hole = Buffer.alloc(count);
      file.bytes = Buffer.concat([file.bytes.subarray(0, from), hole, file.bytes.subarray(from)]);
      return `insert ${from}+${count}`;
    }
    case 9: {
      const toOffset = random.below(FILE_BYTES / 2);
      const count = fileData.copy(other.inode, offset, inode, toOffset, length);
      assert.equal(count, Math.max(0, Math.min(length, other.bytes.length - offset)));
      if (count === 0) return 'copy of nothing';
      const source = other.bytes.subarray(offset, offset + count);
      file.bytes = resized(file.bytes, Math.max(file.bytes.length, toOffset + count));
      source.copy(file.bytes, toOffset);
      return `copy ${what} to ${toOffset}`;
    }
    default:
      storePastEnd(image, inode);
      return 'store past the end';
  }
}

/** What a mapping may do: stores beyond the end of the file in its last page. */
function storePastEnd(image: TestImage, inode: Inode): void {
  const inPage = inode.sizeBytes % PAGE_BYTES;
  const extent = image.open.metadata.extents(inode).find(Math.floor(inode.sizeBytes / PAGE_BYTES));
  if (inPage === 0 || extent?.state !== WRITTEN) return;
  const page = extent.regionPage + Math.floor(inode.sizeBytes / PAGE_BYTES) - extent.filePage;
  image.region.store(page * PAGE_BYTES + inPage, Buffer.alloc(PAGE_BYTES - inPage, 0xdd));
}

function pageRange(offset: number, length: number): [number, number] {
  const pages = Math.max(1, Math.floor(length / PAGE_BYTES) % 6);
  return [Math.floor(offset / PAGE_BYTES) * PAGE_BYTES, pages * PAGE_BYTES];
}

/** Where data and holes start must agree with the bytes: outside data all is zero. */
function checkSeeks(image: TestImage, file: ModelFile): void {
  const { fileData } = image.open;
  let offset = 0;
  while (offset < file.bytes.length) {
    let data: number;
    try {
      data = fileData.seekData(file.inode, offset);
    } catch (error) {
      assert(error instanceof Errno && error.code === 'ENXIO');
      data = file.bytes.length;
    }
    assert(file.bytes.subarray(offset, data).every((byte) => byte === 0));
    if (data === file.bytes.length) break;
    offset = fileData.seekHole(file.inode, data);
    assert(offset > data && offset <= file.bytes.length);
  }
}

t.test('files hold what plain buffers hold after any changes and reopening', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now());
  t.comment(`SEED=${seed}`);
  const random = new Random(seed);
  const image = new TestImage(t, { pageCount: 400 });
  const files: ModelFile[] = [];
  for (let count = 0; count < 4; count++) {
    files.push({ inode: newFile(image), bytes: Buffer.alloc(0) });
  }
  for (let count = 0; count < 20_000; count++) {
    const file = files[random.below(4)]!;
    const other = files.find((candidate) => candidate !== file)!;
    const inos = files.map(({ inode }) => inode.ino);
    let what: string;
    if (random.oneIn(300)) {
      what = 'reopen';
      image.reopen();
      files.forEach((each, index) => {
        each.inode = image.open.metadata.existingInode(inos[index]!);
      });
    } else {
      what = step(random, image, file, other);
    }
    const where = `SEED=${seed} step ${count}: ${what}`;
    assert.equal(file.inode.sizeBytes, file.bytes.length, where);
    assert(contents(image, file.inode).equals(file.bytes), where);
    if (random.oneIn(20)) {
      checkSeeks(image, file);
      const { allocator, metadata } = image.open;
      let mapped = 0;
      for (const { inode } of files) mapped += metadata.extents(inode).pageCount;
      assert.equal(allocator.usedPages, mapped, where);
    }
  }
  t.pass('all agree');
});

t.test('a full region takes what fits and is whole again after freeing', async (t) => {
  const image = new TestImage(t, { pageCount: 101 });
  const { fileData, metadata, allocator } = image.open;
  const inode = newFile(image);
  const source = Buffer.alloc(150 * PAGE_BYTES, 7);
  t.equal(fileData.write(inode, 10, source), 100 * PAGE_BYTES - 10);
  t.equal(inode.sizeBytes, 100 * PAGE_BYTES);
  t.throws(() => fileData.write(inode, inode.sizeBytes, source), { code: 'ENOSPC' });
  const options = { keepSize: false };
  t.throws(() => fileData.allocate(inode, 0, 101 * PAGE_BYTES, options), { code: 'ENOSPC' });
  t.equal(inode.sizeBytes, 100 * PAGE_BYTES, 'a refused allocation changes nothing');

  metadata.commit();
  fileData.punch(inode, 0, 60 * PAGE_BYTES);
  t.equal(allocator.freePages, 0);
  t.equal(allocator.busyPages, 60);
  const other = newFile(image);
  t.equal(fileData.write(other, 0, source.subarray(0, 60 * PAGE_BYTES)), 60 * PAGE_BYTES);
  t.notOk(allocator.busyPages, 'busy pages were committed free when they were needed');
});

t.test('space in single pages is enough for a large write', async (t) => {
  const image = new TestImage(t, { pageCount: 201 });
  const { fileData, metadata } = image.open;
  const full = newFile(image);
  fileData.allocate(full, 0, 200 * PAGE_BYTES, { keepSize: false });
  for (let page = 0; page < 200; page += 2) {
    fileData.punch(full, page * PAGE_BYTES, PAGE_BYTES);
  }
  metadata.commit();
  const inode = newFile(image);
  const source = randomBytes(new Random(5), 100 * PAGE_BYTES);
  t.equal(fileData.write(inode, 0, source), source.length);
  t.ok(contents(image, inode).equals(source));
});

t.test('large files lie at 2 MiB boundaries of the region', async (t) => {
  const image = new TestImage(t, { pageCount: 20 * PAGES_PER_HUGE });
  const { fileData, metadata } = image.open;
  const chunk = Buffer.alloc(128 * 1024, 1);
  const whole = newFile(image);
  fileData.allocate(whole, 0, 3 * HUGE_BYTES, { keepSize: false });
  const grown = newFile(image);
  while (grown.sizeBytes < 2 * HUGE_BYTES) fileData.write(grown, grown.sizeBytes, chunk);
  const later = newFile(image);
  fileData.allocate(later, 5 * PAGE_BYTES, 2 * HUGE_BYTES, { keepSize: false });
  for (const [inode, filePage] of [
    [whole, 0],
    [whole, PAGES_PER_HUGE],
    [grown, PAGES_PER_HUGE],
    [later, PAGES_PER_HUGE],
  ] as const) {
    const extent = metadata.extents(inode).find(filePage)!;
    const regionPage = extent.regionPage + (filePage - extent.filePage);
    t.equal(regionPage % PAGES_PER_HUGE, 0, `inode ${inode.ino} page ${filePage}`);
    t.ok(extent.filePage + extent.pageCount >= filePage + PAGES_PER_HUGE, 'in one run');
  }
});

t.test('sparse files may end at the largest offset and not beyond', async (t) => {
  const image = new TestImage(t, { pageCount: 100 });
  const { fileData } = image.open;
  const inode = newFile(image);
  t.equal(fileData.write(inode, FILE_BYTES_MAX - 2, Buffer.from('abcd')), 2);
  t.equal(inode.sizeBytes, FILE_BYTES_MAX);
  const tail = Buffer.alloc(8);
  t.equal(fileData.read(inode, FILE_BYTES_MAX - 4, tail), 4);
  t.same(tail.subarray(0, 4), Buffer.from('\0\0ab'));
  t.equal(fileData.seekData(inode, 0), FILE_BYTES_MAX - PAGE_BYTES);
  t.throws(() => fileData.write(inode, FILE_BYTES_MAX, Buffer.from('a')), { code: 'EFBIG' });
  t.throws(() => fileData.setSize(inode, FILE_BYTES_MAX + 1), { code: 'EFBIG' });
  const options = { keepSize: true };
  t.throws(() => fileData.allocate(inode, FILE_BYTES_MAX, 1, options), { code: 'EFBIG' });
  t.throws(() => fileData.insert(inode, 0, PAGE_BYTES), { code: 'EFBIG' });
});

t.test('a poisoned page is an error for what touches it and no more', async (t) => {
  const image = new TestImage(t, { pageCount: 100 });
  const { fileData, metadata } = image.open;
  const inode = newFile(image);
  fileData.write(inode, 0, Buffer.alloc(8 * PAGE_BYTES, 3));
  image.region.poison(metadata.extents(inode).find(0)!.regionPage + 4);
  const target = Buffer.alloc(8 * PAGE_BYTES);
  t.equal(fileData.read(inode, 100, target), 4 * PAGE_BYTES - 100, 'short before it');
  t.throws(() => fileData.read(inode, 4 * PAGE_BYTES + 1, target), { code: 'EIO' });
  t.throws(() => fileData.write(inode, 4 * PAGE_BYTES + 1, Buffer.from('x')), { code: 'EIO' });
  t.throws(() => fileData.setSize(inode, 4 * PAGE_BYTES + 1), { code: 'EIO' });
  t.equal(inode.sizeBytes, 8 * PAGE_BYTES);
  const whole = Buffer.alloc(PAGE_BYTES, 9);
  t.equal(fileData.write(inode, 4 * PAGE_BYTES, whole), PAGE_BYTES, 'whole pages heal');
  t.equal(fileData.read(inode, 0, target), 8 * PAGE_BYTES);
});

t.test('the gate is closed around every change of map or size and never otherwise', async (t) => {
  const image = new TestImage(t, { pageCount: 400 });
  const { fileData, metadata } = image.open;
  const inode = newFile(image);
  let closed = false;
  const told: string[] = [];
  fileData.mapPort = {
    closeGate: () => {
      t.notOk(closed);
      closed = true;
    },
    openGate: () => {
      t.ok(closed);
      closed = false;
    },
    mapChanged: (_inode, filePage, endPage) => {
      t.ok(closed);
      told.push(`map ${filePage} ${endPage}`);
    },
    collectGrowth: () => {},
    sizeChanged: (changed) => {
      t.ok(closed);
      told.push(`size ${changed.sizeBytes}`);
    },
  };
  const page = Buffer.alloc(PAGE_BYTES, 1);
  const cases: [() => unknown, string[]][] = [
    [() => fileData.write(inode, PAGE_BYTES, page), ['map 1 2', 'size 8192']],
    [() => fileData.write(inode, PAGE_BYTES + 5, Buffer.from('x')), []],
    [() => fileData.allocate(inode, 0, 1, { keepSize: true }), ['map 0 1']],
    [() => fileData.write(inode, 0, Buffer.from('x')), ['map 0 1']],
    [() => fileData.zeroRange(inode, 0, PAGE_BYTES, { keepSize: true }), ['map 0 1', 'map 0 1']],
    [() => fileData.setSize(inode, 10), ['map 1 2', 'size 10']],
    [() => fileData.setSize(inode, 5 * PAGE_BYTES), ['size 20480']],
    [() => fileData.punch(inode, 0, PAGE_BYTES), ['map 0 1']],
    [() => fileData.insert(inode, 0, PAGE_BYTES), ['map 0 6', 'size 24576']],
    [() => fileData.collapse(inode, 0, PAGE_BYTES), ['map 0 6', 'size 20480']],
    [() => fileData.write(inode, 0, page), ['map 0 1']],
    [() => fileData.free(inode), ['map 0 1']],
  ];
  for (const [change, expected] of cases) {
    told.length = 0;
    change();
    t.same(told, expected, String(change));
    t.notOk(closed);
  }
  t.equal(metadata.extents(inode).length, 0);
});

t.test('whole pages that are zeroed keep their storage, unwritten', async (t) => {
  const image = new TestImage(t, { pageCount: 100 });
  const { fileData, metadata } = image.open;
  const inode = newFile(image);
  fileData.write(inode, 0, Buffer.alloc(4 * PAGE_BYTES, 3));
  const { regionPage } = metadata.extents(inode).at(0)!;
  fileData.zeroRange(inode, PAGE_BYTES, 2 * PAGE_BYTES, { keepSize: true });
  t.same(
    [...metadata.extents(inode)],
    [
      { filePage: 0, regionPage, pageCount: 1, state: WRITTEN },
      { filePage: 1, regionPage: regionPage + 1, pageCount: 2, state: UNWRITTEN },
      { filePage: 3, regionPage: regionPage + 3, pageCount: 1, state: WRITTEN },
    ],
  );
});
