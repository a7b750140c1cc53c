/** What programs see through mappings, one behaviour a test, and what the engine has afterwards. */
import t, { type Test } from 'tap';
import { Random } from '../../lib/random.js';
import { HUGE_BYTES, PAGE_BYTES, PAGES_PER_HUGE } from '../../lib/units.js';
import { Machine } from './machine.js';

const EVERYTHING = { filePage: 0, pageCount: Infinity };

function bytesOf(pages: number, value = 5): Buffer {
  return Buffer.alloc(pages * PAGE_BYTES, value);
}

t.test('a load of a hole allocates nothing', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { pages: 8 });
  const mapping = machine.map(ino, { pageCount: 8 });
  t.equal(machine.loadNow(mapping, 3), 0);
  t.equal(machine.extents(ino), '');
  t.match(machine.engine.inspect(ino)?.entries, { zeroPages: 8, pages: 0, dirty: 0 });
  t.equal(machine.mmu.installs, 1, 'the window is shown at once');
});

t.test('a load of an unwritten extent converts nothing', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { pages: 4 });
  machine.open.fileData.allocate(machine.inode(ino), PAGE_BYTES, PAGE_BYTES, { keepSize: true });
  t.equal(machine.loadNow(machine.map(ino, { pageCount: 4 }), 1), 0);
  t.equal(machine.extents(ino), '1+1U');
});

t.test('a store allocates one page, or 2 MiB where all of it is one hole', async (t) => {
  const rows = [
    { name: 'short file', pages: 4, map: { pageCount: 4 }, page: 2, extents: '2+1W' },
    { name: '2 MiB', pages: 512, map: { pageCount: 512 }, page: 2, extents: '0+512W' },
    { name: 'address not alike', pages: 512, map: { pageCount: 512, addressPage: 7 }, page: 2 },
    { name: 'mapping too short', pages: 512, map: { pageCount: 511 }, page: 2 },
    { name: 'file too short', pages: 511, map: { pageCount: 512 }, page: 2 },
    { name: 'second 2 MiB', pages: 1024, map: { pageCount: 1024 }, page: 600, extents: '512+512W' },
  ];
  for (const { name, pages, map, page, extents } of rows) {
    const machine = new Machine(t);
    const ino = machine.newFile('f', { pages });
    const mapping = machine.map(ino, map);
    machine.storeNow(mapping, page, 3);
    t.equal(machine.extents(ino), extents ?? '2+1W', name);
    t.equal(machine.readByte(ino, page), 3);
    t.same(machine.touched, [ino]);
  }
});

t.test('stores in order allocate as much ahead as came in order', async (t) => {
  const inOrder = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  const rows = [
    { name: 'in order', stores: inOrder, extents: '0+12W', faults: 5 },
    { name: 'two', stores: [3, 4], extents: '3+2W', faults: 2 },
    { name: 'three', stores: [3, 4, 5], extents: '3+4W', faults: 3 },
    { name: 'backwards', stores: [5, 4, 3], extents: '3+1W 4+1W 5+1W', faults: 3 },
    { name: 'every other', stores: [0, 2, 4, 6], extents: '0+1W 2+1W 4+1W 6+1W', faults: 4 },
    { name: 'to the end', stores: [17, 18, 19], extents: '17+3W', faults: 3 },
    {
      name: 'up to what is there',
      written: 3,
      stores: [0, 1, 2, 3],
      extents: '0+3W 3+1W',
      faults: 4,
    },
    { name: 'unwritten', unwritten: 9, stores: inOrder, extents: '0+9W 9+2W', faults: 6 },
    { name: 'little space', pageCount: 100, stores: inOrder, extents: '0+11W', faults: 11 },
  ];
  for (const { name, pageCount = 4096, written, unwritten, stores, extents, faults } of rows) {
    const machine = new Machine(t, { pageCount, aheadPagesMax: 4 });
    const ino = machine.newFile('f', { pages: 20 });
    const { fileData } = machine.open;
    if (written !== undefined) fileData.write(machine.inode(ino), written * PAGE_BYTES, bytesOf(1));
    if (unwritten !== undefined) {
      const offset = unwritten * PAGE_BYTES;
      fileData.allocate(machine.inode(ino), offset, 2 * PAGE_BYTES, { keepSize: true });
    }
    const mapping = machine.map(ino, { pageCount: 20 });
    for (const page of stores) machine.storeNow(mapping, page, page + 1);
    t.equal(machine.extents(ino), extents, name);
    t.equal(machine.mmu.installs, faults, `${name}: faults`);
    for (const page of stores) t.equal(machine.readByte(ino, page), page + 1);
    for (let page = 0; page < 20; page++) {
      const isZero = !stores.includes(page) && page !== written;
      if (isZero) t.equal(machine.loadNow(mapping, page), 0, `${name}: page ${page}`);
    }
  }
});

t.test('what was allocated ahead is durable with the store, and reads as zeroes', async (t) => {
  const machine = new Machine(t, { aheadPagesMax: 4 });
  const old = machine.newFile('old', { bytes: bytesOf(64) });
  machine.open.fileData.free(machine.inode(old));
  machine.commit();
  const ino = machine.newFile('f', { pages: 20 });
  const mapping = machine.map(ino, { pageCount: 20 });
  for (const page of [0, 1, 2]) machine.storeNow(mapping, page, 9);
  machine.fsyncNow(ino);
  t.equal(machine.extents(ino), '0+4W');
  machine.storeNow(mapping, 3, 7);
  machine.crash();
  t.equal(machine.readByte(ino, 2), 9);
  t.equal(machine.readByte(ino, 3), 0, 'the store was not synced');
});

t.test('one bad page of those that a store allocates ahead: its own serves', async (t) => {
  const machine = new Machine(t, { aheadPagesMax: 4 });
  const ino = machine.newFile('f', { pages: 20 });
  const mapping = machine.map(ino, { pageCount: 20 });
  machine.storeNow(mapping, 0, 1);
  machine.storeNow(mapping, 1, 1);
  const [extent] = [...machine.open.metadata.extents(machine.inode(ino)).slice(0, 1)];
  machine.region.poison(extent!.regionPage + 3);
  t.equal(machine.storeNow(mapping, 2, 1), undefined);
  t.equal(machine.readByte(ino, 2), 1);
  t.equal(machine.storeNow(mapping, 3, 1), 'media-error');
});

t.test('a store to a huge hole takes one page when no 2 MiB are free', async (t) => {
  const machine = new Machine(t, { pageCount: 600 });
  const ino = machine.newFile('f', { pages: 512 });
  machine.newFile('other', { bytes: bytesOf(500) });
  const mapping = machine.map(ino, { pageCount: 512 });
  t.equal(machine.loadNow(mapping, 9), 0);
  t.match(machine.engine.inspect(ino)?.entries, { zeroHuge: 1 });
  t.equal(machine.storeNow(mapping, 9, 3), undefined);
  t.equal(machine.extents(ino), '9+1W');
  t.match(machine.engine.inspect(ino)?.entries, { zeroHuge: 0, pages: 1, dirty: 1 });
  t.equal(machine.loadNow(mapping, 9), 3);
  t.equal(machine.loadNow(mapping, 8), 0);
  t.same(machine.mmu.collisions, []);
});

t.test(
  'without space a store is SIGBUS and nothing is changed; with space again it goes on',
  async (t) => {
    const machine = new Machine(t, { pageCount: 40 });
    const ino = machine.newFile('f', { pages: 2 });
    const filler = machine.newFile('filler', { bytes: bytesOf(39) });
    const mapping = machine.map(ino, { pageCount: 2 });
    t.equal(machine.storeNow(mapping, 0, 3), 'no-space');
    t.equal(machine.extents(ino), '');
    machine.open.fileData.setSize(machine.inode(filler), 0);
    t.equal(machine.storeNow(mapping, 0, 3), undefined, 'busy pages are committed free');
    t.equal(machine.readByte(ino, 0), 3);
  },
);

t.test('media errors', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: bytesOf(8) });
  const { regionPage } = [...machine.open.metadata.extents(machine.inode(ino))][0]!;
  machine.region.poison(regionPage + 3);
  const mapping = machine.map(ino, { pageCount: 8 });
  t.equal(machine.loadNow(mapping, 3), 'media-error');
  t.equal(machine.storeNow(mapping, 3, 1), 'media-error');
  t.equal(machine.loadNow(mapping, 2), 5, 'its neighbours can be read');
  t.equal(machine.loadNow(mapping, 4), 5);
  machine.region.heal(regionPage + 3);
  t.equal(machine.loadNow(mapping, 3), 5);
});

t.test('one bad page of 2 MiB that a store allocates: the others serve', async (t) => {
  const machine = new Machine(t, { pageCount: 1100 });
  const ino = machine.newFile('f', { pages: 512 });
  machine.region.poison(512 + 7);
  const mapping = machine.map(ino, { pageCount: 512 });
  t.equal(machine.storeNow(mapping, 6, 1), undefined);
  t.equal(machine.storeNow(mapping, 7, 1), 'media-error');
  t.equal(machine.extents(ino), '0+6U 6+1W 7+505U');
});

t.test('beyond the end is SIGBUS until the file grows, by whatever', async (t) => {
  const growths: Record<string, (machine: Machine, ino: number) => void> = {
    truncate: (m, ino) => m.open.fileData.setSize(m.inode(ino), 4 * PAGE_BYTES),
    write: (m, ino) => m.open.fileData.write(m.inode(ino), 3 * PAGE_BYTES, bytesOf(1, 9)),
    fallocate: (m, ino) =>
      m.open.fileData.allocate(m.inode(ino), 0, 4 * PAGE_BYTES, { keepSize: false }),
  };
  for (const [name, grow] of Object.entries(growths)) {
    const machine = new Machine(t);
    const ino = machine.newFile('f', { bytes: bytesOf(1) });
    machine.open.fileData.allocate(machine.inode(ino), 0, 3 * PAGE_BYTES, { keepSize: true });
    const mapping = machine.map(ino, { pageCount: 8 });
    t.equal(machine.loadNow(mapping, 2), 'beyond-end', 'also where pages are allocated');
    t.match(machine.engine.text(), /bus 2\+1/);
    machine.changeNow(ino, { filePage: 3, pageCount: 1 }, () => grow(machine, ino));
    t.notMatch(machine.engine.text(), /bus/, `${name}: the page is looked at again`);
    t.equal(machine.loadNow(mapping, 2), 0);
    t.equal(machine.loadNow(mapping, 4), 'beyond-end');
  }
});

t.test('what one mapping stores all others see, whatever they showed', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { pages: 512 });
  const huge = machine.map(ino, { pageCount: 512 });
  const odd = machine.map(ino, { pageCount: 512, addressPage: 3 });
  const copy = machine.map(ino, { pageCount: 512, isShared: false });
  const all = [huge, odd, copy];
  for (const mapping of all) t.equal(machine.loadNow(mapping, 7), 0);
  machine.storeNow(odd, 7, 4);
  t.equal(machine.extents(ino), '7+1W', 'page entries are there: no 2 MiB');
  for (const mapping of all) t.equal(machine.loadNow(mapping, 7), 4);
  machine.storeNow(copy, 7, 5);
  machine.storeNow(huge, 7, 6);
  t.same(
    all.map((mapping) => machine.loadNow(mapping, 7)),
    [6, 6, 5],
  );
  t.equal(machine.readByte(ino, 7), 6);
  t.equal(machine.loadNow(copy, 8), 0);
  machine.storeNow(odd, 8, 2);
  t.equal(machine.loadNow(copy, 8), 2, 'a page that was not copied shows later stores');
  t.same(machine.mmu.collisions, []);
});

t.test('private copies survive a punch and go with a truncate', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: bytesOf(4) });
  const mapping = machine.map(ino, { pageCount: 4, isShared: false });
  machine.storeNow(mapping, 1, 9);
  t.equal(machine.loadNow(mapping, 2), 5);
  const range = { filePage: 1, pageCount: 2 };
  const { fileData } = machine.open;
  machine.changeNow(ino, range, () =>
    fileData.punch(machine.inode(ino), PAGE_BYTES, 2 * PAGE_BYTES),
  );
  t.equal(machine.loadNow(mapping, 2), 0);
  t.equal(machine.loadNow(mapping, 1), 9, 'and the fault beside it did not cover it');
  const tail = { filePage: 1, pageCount: Infinity };
  machine.changeNow(ino, tail, () => fileData.setSize(machine.inode(ino), PAGE_BYTES), true);
  t.equal(machine.loadNow(mapping, 1), 'beyond-end');
  t.equal(machine.loadNow(mapping, 0), 5);
});

for (const isShared of [true, false]) {
  const whose = isShared ? 'a shared' : 'a private';
  t.test(`pages that ${whose} entry of 2 MiB lost come back, and nothing collides`, async (t) => {
    // Where 2 MiB cannot be shown again, page entries take their place.
    for (const hasPoison of [false, true]) {
      const machine = new Machine(t);
      const ino = machine.newFile('f', { bytes: bytesOf(PAGES_PER_HUGE) });
      const mapping = machine.map(ino, { pageCount: PAGES_PER_HUGE, isShared });
      t.equal(machine.loadNow(mapping, 7), 5);
      const [extent] = [...machine.open.metadata.extents(machine.inode(ino))];
      // The kernel drops all of a shared one, a program pages of a private one.
      machine.mmu.lose(mapping, { filePage: 0, pageCount: isShared ? PAGES_PER_HUGE : 16 });
      if (hasPoison) machine.region.poison(extent!.regionPage + 100);
      for (const page of [3, 4]) {
        t.equal(machine.loadNow(mapping, page), 5);
        machine.storeNow(mapping, page, page);
        t.equal(machine.loadNow(mapping, page), page);
      }
      t.same(machine.mmu.collisions, []);
    }
  });
}

t.test('collapse and insert move what mappings show, and lose no store', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: bytesOf(6) });
  const mapping = machine.map(ino, { pageCount: 8 });
  machine.storeNow(mapping, 4, 44);
  const { fileData } = machine.open;
  machine.changeNow(ino, { filePage: 1, pageCount: Infinity }, () =>
    fileData.collapse(machine.inode(ino), PAGE_BYTES, 2 * PAGE_BYTES),
  );
  t.equal(machine.loadNow(mapping, 2), 44);
  t.equal(machine.loadNow(mapping, 4), 'beyond-end');
  machine.storeNow(mapping, 3, 33);
  machine.changeNow(ino, { filePage: 1, pageCount: Infinity }, () =>
    fileData.insert(machine.inode(ino), PAGE_BYTES, PAGE_BYTES),
  );
  t.same(
    [1, 3, 4].map((page) => machine.loadNow(mapping, page)),
    [0, 44, 33],
  );
  machine.fsyncNow(ino);
  machine.crash();
  t.same(
    [0, 1, 3, 4].map((page) => machine.readByte(ino, page)),
    [5, 0, 44, 33],
  );
});

t.test('a change that fails keeps dirty pages dirty', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: bytesOf(4) });
  const mapping = machine.map(ino, { pageCount: 4 });
  machine.storeNow(mapping, 2, 7);
  t.throws(() =>
    machine.changeNow(ino, EVERYTHING, () => {
      throw new Error('no');
    }),
  );
  t.match(machine.engine.inspect(ino)?.entries, { dirty: 1 });
  machine.fsyncNow(ino);
  machine.crash();
  t.equal(machine.readByte(ino, 2), 7);
});

t.test('sync makes stores durable, and the next store is noted again', async (t) => {
  for (const isSync of [false, true]) {
    const machine = new Machine(t);
    const ino = machine.newFile('f', { bytes: bytesOf(4) });
    const mapping = machine.map(ino, { pageCount: 4, isSync });
    for (let value = 1; value < 5; value++) {
      machine.storeNow(mapping, 1, value);
      machine.storeNow(mapping, 2, value, 64);
      machine.fsyncNow(ino);
      t.match(machine.engine.inspect(ino)?.entries, { dirty: 0 });
    }
    machine.storeNow(mapping, 1, 99);
    machine.crash();
    t.same([machine.readByte(ino, 1), machine.readByte(ino, 2, 64)], [4, 4]);
  }
});

t.test('writeback of a range cleans the entries that touch it, whole', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: Buffer.alloc(2 * HUGE_BYTES, 5) });
  const mapping = machine.map(ino, { pageCount: 1024 });
  machine.storeNow(mapping, 3, 1);
  machine.storeNow(mapping, 700, 1);
  t.match(machine.engine.inspect(ino)?.entries, { huge: 2, dirty: 2 });
  machine.start(machine.engine.writeback(ino, { filePage: 9, pageCount: 1 })).finish();
  t.match(machine.engine.inspect(ino)?.entries, { dirty: 1 });
  machine.crash();
  t.same([machine.readByte(ino, 3), machine.readByte(ino, 700)], [1, 5]);
});

t.test('a store between protect and flush belongs to the next sync', async (t) => {
  for (const point of [
    'dax/writeback writeBack: protect',
    'dax/writeback writeBack: flush',
    'dax/writeback writeBack: fence',
  ]) {
    for (const isSync of [false, true]) {
      const machine = new Machine(t);
      const ino = machine.newFile('f', { bytes: bytesOf(4) });
      const mapping = machine.map(ino, { pageCount: 4, isSync });
      machine.storeNow(mapping, 1, 1);
      const sync = machine.start(machine.fsync(ino)).until(point);
      machine.storeNow(mapping, 1, 2);
      sync.finish();
      machine.fsyncNow(ino);
      machine.crash();
      t.equal(machine.readByte(ino, 1), 2, `${point}, MAP_SYNC ${isSync}`);
    }
  }
});

t.test('sync while the page of a store is being installed keeps the entry dirty', async (t) => {
  const machine = new Machine(t, { isLazy: true });
  const ino = machine.newFile('f', { pages: 4 });
  const mapping = machine.map(ino, { pageCount: 4, client: 1 });
  const store = machine.start(machine.store(mapping, 1, 6));
  while (machine.mmu.busyClients().length === 0) store.next();
  const sync = machine.start(machine.fsync(ino));
  while (!sync.isDone) sync.next();
  t.match(machine.engine.inspect(ino)?.entries, { dirty: 1 });
  store.finish();
  machine.fsyncNow(ino);
  machine.crash();
  t.equal(machine.readByte(ino, 1), 6);
});

t.test('a second sync does not return before the first has flushed what it cleans', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: bytesOf(2) });
  machine.storeNow(machine.map(ino, { pageCount: 2 }), 0, 8);
  const first = machine.start(machine.fsync(ino)).until('dax/writeback writeBack: flush');
  const second = machine.start(machine.fsync(ino)).untilBlocked();
  t.equal(second.isDone, false);
  first.finish();
  second.finish();
  machine.crash();
  t.equal(machine.readByte(ino, 0), 8);
});

t.test(
  'MAP_SYNC: after the store the map survives, and a settled inode is not forced',
  async (t) => {
    const machine = new Machine(t);
    const ino = machine.newFile('f', { pages: 4 });
    const mapping = machine.map(ino, { pageCount: 4, isSync: true });
    const plain = machine.map(ino, { pageCount: 4 });
    machine.storeNow(plain, 1, 1);
    machine.storeNow(plain, 2, 1);
    t.equal(machine.loadNow(mapping, 2), 1);
    t.equal(machine.forces, 0, 'a load forces nothing');
    machine.storeNow(mapping, 1, 2);
    t.equal(machine.forces, 1, 'a store to a page that another mapping allocated does');
    machine.storeNow(mapping, 2, 2);
    t.equal(machine.forces, 1);
    machine.storeNow(mapping, 3, 2);
    t.equal(machine.forces, 2);
    machine.crash();
    t.equal(machine.extents(ino), '1+3W');
  },
);

t.test('without MAP_SYNC and sync a crash takes what a store allocated', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { pages: 4 });
  machine.storeNow(machine.map(ino, { pageCount: 4 }), 1, 1);
  machine.crash({ keep: 'all' });
  t.equal(machine.extents(ino), '');
});

t.test('one dirty page among 100,000 mapped: sync does what it does among 512', async (t) => {
  const counts = [512, 100_000].map((pages) => {
    const machine = new Machine(t, { pageCount: 101_500 });
    const ino = machine.newFile('f');
    const { fileData, metadata } = machine.open;
    fileData.allocate(machine.inode(ino), 0, pages * PAGE_BYTES, { keepSize: false });
    const inode = machine.inode(ino);
    for (const extent of [...metadata.extents(inode)]) fileData.convert(inode, extent);
    const mapping = machine.map(ino, { pageCount: pages, addressPage: 1 });
    for (let page = 0; page < pages; page += PAGES_PER_HUGE) machine.loadNow(mapping, page);
    machine.storeNow(mapping, 77, 1);
    t.equal(machine.engine.inspect(ino)?.entries.pages, pages);
    machine.mmu.protects = 0;
    let flushedBytes = 0;
    const flush = machine.region.flush.bind(machine.region);
    machine.region.flush = (offset, lengthBytes) => {
      flushedBytes += lengthBytes;
      flush(offset, lengthBytes);
    };
    machine.start(machine.engine.writeback(ino, EVERYTHING)).finish();
    return [machine.mmu.protects, flushedBytes];
  });
  t.same(counts, [
    [1, PAGE_BYTES],
    [1, PAGE_BYTES],
  ]);
});

t.test('what was stored stays dirty when the last mapping goes, until it is synced', async (t) => {
  const machine = new Machine(t);
  const ino = machine.newFile('f', { bytes: bytesOf(4) });
  const mapping = machine.map(ino, { pageCount: 4 });
  machine.loadNow(mapping, 2);
  machine.storeNow(mapping, 2, 1);
  machine.storeNow(mapping, 3, 2);
  machine.unmap(mapping, { filePage: 0, pageCount: 2 });
  machine.unmap(mapping, { filePage: 2, pageCount: 2 });
  t.equal(machine.engine.isMapped(ino), true);
  machine.fsyncNow(ino);
  t.equal(machine.engine.isMapped(ino), false);
  machine.crash();
  t.same([machine.readByte(ino, 2), machine.readByte(ino, 3)], [1, 2]);
});

t.test('a mapping that goes away during its fault ends it, and leaves no lock', async (t) => {
  const random = new Random(1);
  for (let count = 0; count < 60; count++) {
    const machine = new Machine(t, { pageCount: 64, isLazy: true });
    const ino = machine.newFile('f', { pages: 4 });
    const reader = machine.map(ino, { pageCount: 4 });
    machine.loadNow(reader, 0);
    const mapping = machine.map(ino, { pageCount: 4 });
    const fault = machine.start(machine.engine.fault(mapping, 0, 'missing', true));
    for (let steps = random.below(14); steps > 0 && fault.canStep; steps--) fault.next();
    machine.unmap(mapping);
    if (random.oneIn(2)) fault.finish();
    else fault.task.return(undefined);
    machine.runCommands();
    machine.unmap(reader);
    machine.fsyncNow(ino);
    t.equal(machine.engine.text(), '', 'nothing is kept');
  }
});

t.test('after a power cut nothing is shown, and tasks under way have no effect', async (t) => {
  const machine = new Machine(t, { isLazy: true });
  const ino = machine.newFile('f', { bytes: bytesOf(2) });
  const { fileData, metadata } = machine.open;
  fileData.setSize(machine.inode(ino), 8 * PAGE_BYTES);
  machine.commit();
  const mapping = machine.map(ino, { pageCount: 8, client: 1 });
  machine.storeNow(mapping, 0, 7);
  const fault = machine.start(machine.store(mapping, 5, 7)).until('dax/fault allocate: convert');
  machine.region.crash({ keep: 'none' });
  metadata.rollback();
  const reset = machine.start(machine.engine.reset());
  const late = machine.start(machine.store(mapping, 1, 9)).untilBlocked();
  t.equal(late.isDone, false, 'a fault waits until everything is taken away');
  fault.next();
  t.equal(machine.extents(ino), '0+2W');
  machine.runAll(new Random(3), [fault, reset, late] as never[]);
  t.equal(machine.loadNow(mapping, 0), 5);
  t.equal(machine.loadNow(mapping, 1), 9);
  t.equal(machine.loadNow(mapping, 5), 7, 'the program stored again');
});

t.test('the gate is first come, first served', async (t: Test) => {
  const machine = new Machine(t, { isLazy: true });
  const ino = machine.newFile('f', { bytes: bytesOf(8) });
  const mapping = machine.map(ino, { pageCount: 8, client: 1 });
  const first = machine.start(machine.load(mapping, 1));
  while (first.canStep) first.next();
  const order: string[] = [];
  const punch = machine.start(
    machine.engine.change(ino, { filePage: 1, pageCount: 1 }, false, () => order.push('change')),
  );
  punch.next();
  const late = machine.start(machine.load(mapping, 7));
  late.next();
  t.equal(late.canStep, false, 'a fault waits behind a change that waits');
  t.match(machine.engine.inspect(ino)?.gate, { sharedCount: 1, waitingCount: 2 });
  machine.runAll(new Random(5), [first, punch, late] as never[]);
  t.same(order, ['change']);
  t.match(machine.engine.inspect(ino), { gate: { sharedCount: 0, waitingCount: 0 }, locks: [] });
});
