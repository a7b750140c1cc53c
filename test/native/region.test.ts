import { chmodSync, readFileSync, statSync, truncateSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Errno } from '../../lib/errno.js';
import { loadNative } from '../../lib/native.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import { Random } from '../../lib/random.js';
import type { Region } from '../../lib/region.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';
import { bytesOf, scratchFile, scratchRegion } from './scratch.js';

const native = loadNative();

function randomBytes(random: Random, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  for (let at = 0; at < lengthBytes; at++) bytes[at] = random.below(256);
  return bytes;
}

function throwsErrno(test: Test, code: string, call: () => unknown, what: string): void {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  test.ok(thrown instanceof Errno, `${what} throws an Errno`);
  test.equal((thrown as Errno | undefined)?.code, code, what);
}

t.test('stores of any length and alignment change exactly their own bytes', async (t) => {
  const region = scratchRegion(t, 16);
  const model = Buffer.alloc(16 * PAGE_BYTES);
  const seed = 20240707;
  const random = new Random(seed);
  for (let round = 0; round < 4000; round++) {
    const longest = [3, 64, 200, 5000, 20000][random.below(5)]!;
    const lengthBytes = random.below(longest + 1);
    const offset = random.below(model.length - lengthBytes + 1);
    const from = random.below(model.length - lengthBytes + 1);
    switch (random.below(4)) {
      case 0: {
        const bytes = randomBytes(random, lengthBytes);
        region.store(offset, bytes);
        bytes.copy(model, offset);
        break;
      }
      case 1: {
        const bytes = randomBytes(random, lengthBytes);
        region.storeFlushed(offset, bytes);
        bytes.copy(model, offset);
        break;
      }
      case 2:
        region.zeroFlushed(offset, lengthBytes);
        model.fill(0, offset, offset + lengthBytes);
        break;
      default:
        region.copyFlushed(from, offset, lengthBytes);
        model.copyWithin(offset, from, from + lengthBytes);
    }
    if (!bytesOf(region).equals(model)) {
      t.fail(`seed ${seed}, round ${round}: region and model differ`);
      return;
    }
  }
  t.pass('4000 operations agree with the model');
});

t.test('copies over more than one tracked piece keep overlapping ranges right', async (t) => {
  const pageCount = 1024;
  const region = scratchRegion(t, pageCount);
  region.trackUndecided();
  const model = randomBytes(new Random(5), pageCount * PAGE_BYTES);
  region.storeFlushed(0, model);
  const lengthBytes = 3_000_001;
  for (const [from, to] of [
    [5, 70_005],
    [70_005, 5],
    [0, 1],
    [1, 0],
  ] as const) {
    region.copyFlushed(from, to, lengthBytes);
    model.copyWithin(to, from, from + lengthBytes);
    t.ok(bytesOf(region).equals(model), `from ${from} to ${to}`);
  }
});

t.test('what was stored is in the file and in the next mapping', async (t) => {
  const path = scratchFile(t, 4);
  const region = native.openRegion(path, 4, { readOnly: false });
  region.storeFlushed(PAGE_BYTES + 3, Buffer.from('kept'));
  region.fence();
  region.syncHost();
  region.close();
  region.close();
  t.equal(readFileSync(path).toString('latin1', PAGE_BYTES + 3, PAGE_BYTES + 7), 'kept');
  const again = native.openRegion(path, 4, { readOnly: true });
  t.equal(bytesOf(again).toString('latin1', PAGE_BYTES + 3, PAGE_BYTES + 7), 'kept');
  again.close();
});

t.test('a read-only region refuses every store with EROFS and stays as it was', async (t) => {
  const path = scratchFile(t, 2);
  chmodSync(path, 0o444);
  const region = native.openRegion(path, 2, { readOnly: true });
  t.teardown(() => region.close());
  throwsErrno(t, 'EROFS', () => region.store(0, Buffer.alloc(1)), 'store');
  throwsErrno(t, 'EROFS', () => region.storeFlushed(0, Buffer.alloc(1)), 'storeFlushed');
  throwsErrno(t, 'EROFS', () => region.zeroFlushed(0, 1), 'zeroFlushed');
  throwsErrno(t, 'EROFS', () => region.copyFlushed(0, 1, 1), 'copyFlushed');
  throwsErrno(t, 'EROFS', () => region.fillCanary(1, 1, 0), 'fillCanary');
  throwsErrno(t, 'EROFS', () => region.trackUndecided(), 'trackUndecided');
  t.ok(readFileSync(path).equals(Buffer.alloc(2 * PAGE_BYTES)));
});

t.test('a file that cannot hold the region is refused by name', async (t) => {
  const path = scratchFile(t, 4);
  throwsErrno(t, 'EINVAL', () => native.openRegion(path, 5, { readOnly: false }), 'too short');
  truncateSync(path, 4 * PAGE_BYTES - 1);
  throwsErrno(t, 'EINVAL', () => native.openRegion(path, 4, { readOnly: true }), 'one byte short');
  throwsErrno(t, 'ENOENT', () => native.openRegion(path + '-no', 4, { readOnly: true }), 'missing');
  throwsErrno(t, 'EINVAL', () => native.openRegion('/tmp', 4, { readOnly: true }), 'a folder');
});

t.test('opening a sparse region file allocates its host blocks', async (t) => {
  const path = scratchFile(t, 256);
  t.equal(statSync(path).blocks, 0);
  native.openRegion(path, 256, { readOnly: false }).close();
  t.ok(statSync(path).blocks * 512 >= 256 * PAGE_BYTES);
});

t.test('wrong arguments and calls after close are errors of the caller, not crashes', async (t) => {
  const region = scratchRegion(t, 2);
  const end = 2 * PAGE_BYTES;
  const wrong: [string, () => unknown][] = [
    ['past the end', () => region.read(end - 1, Buffer.alloc(2))],
    ['negative', () => region.read(-1, Buffer.alloc(1))],
    ['fraction', () => region.flush(0.5, 1)],
    ['not a number', () => region.zeroFlushed(Number.NaN, 1)],
    ['infinite', () => region.zeroFlushed(0, Number.POSITIVE_INFINITY)],
    ['huge sum', () => region.flush(end, end)],
    ['copy target past the end', () => region.copyFlushed(0, end - 1, 2)],
    ['copy source past the end', () => region.copyFlushed(end - 1, 0, 2)],
    ['no bytes', () => region.store(0, 'text' as unknown as Uint8Array)],
    ['wrong array', () => region.store(0, new Float64Array(1) as unknown as Uint8Array)],
    ['page past the end', () => region.poison(2)],
    ['canary past the end', () => region.fillCanary(1, 2, 0)],
    ['crash without tracking', () => region.crash({ keep: 'none' })],
    ['unknown keep', () => region.crash({ keep: 'some' } as never)],
    ['negative seed', () => region.crash({ keep: 'seed', seed: -1 })],
    ['no pages', () => native.openRegion(region.path, 0, { readOnly: true })],
    ['NUL in the path', () => native.openRegion('a\0b', 1, { readOnly: true })],
  ];
  for (const [what, call] of wrong) {
    t.throws(call, what);
    try {
      call();
    } catch (error) {
      t.notOk(error instanceof Errno, `${what} is no operating error`);
    }
  }
  const { mapped } = region as unknown as { mapped: { read: (o: number, b: Buffer) => void } };
  t.throws(() => mapped.read.call({} as never, 0, Buffer.alloc(1)), 'foreign this');
  region.close();
  t.throws(() => region.fence(), /closed/);
  t.throws(() => region.read(0, Buffer.alloc(1)), /closed/);
});

t.test('zero-length operations at every edge do nothing', async (t) => {
  const region = scratchRegion(t, 1);
  for (const offset of [0, 1, PAGE_BYTES]) {
    region.store(offset, Buffer.alloc(0));
    region.storeFlushed(offset, Buffer.alloc(0));
    region.zeroFlushed(offset, 0);
    region.copyFlushed(0, offset, 0);
    region.flush(offset, 0);
    region.read(offset, Buffer.alloc(0));
  }
  t.ok(bytesOf(region).equals(Buffer.alloc(PAGE_BYTES)));
});

t.test('a poisoned page fails what touches it and nothing else', async (t) => {
  const region = scratchRegion(t, 200);
  const page = Buffer.alloc(PAGE_BYTES, 7);
  region.poison(130);
  region.poison(130);
  region.poison(3);
  t.same(region.poisonedPages(), [3, 130]);
  const at = 3 * PAGE_BYTES;
  throwsErrno(t, 'EIO', () => region.read(at - 1, Buffer.alloc(2)), 'read into it');
  throwsErrno(t, 'EIO', () => region.read(at + PAGE_BYTES - 1, Buffer.alloc(1)), 'its last byte');
  throwsErrno(t, 'EIO', () => region.read(0, Buffer.alloc(200 * PAGE_BYTES)), 'read over it');
  throwsErrno(t, 'EIO', () => region.store(at, page), 'plain store of the whole page');
  throwsErrno(t, 'EIO', () => region.zeroFlushed(at, PAGE_BYTES), 'zeroing the whole page');
  throwsErrno(t, 'EIO', () => region.copyFlushed(at, 0, 10), 'copy from it');
  throwsErrno(t, 'EIO', () => region.copyFlushed(0, at + 1, PAGE_BYTES), 'copy into a part of it');
  throwsErrno(
    t,
    'EIO',
    () => region.storeFlushed(at - 10, Buffer.alloc(11)),
    'store into its head',
  );
  throwsErrno(t, 'EIO', () => region.storeFlushed(at + 1, page), 'store into its tail');
  region.read(at - PAGE_BYTES, page);
  t.ok(page.equals(Buffer.alloc(PAGE_BYTES)), 'a refused store stored nothing before it');
  region.read(at + PAGE_BYTES, page);
  t.ok(page.equals(Buffer.alloc(PAGE_BYTES)), 'nor after it');
  region.read(4 * PAGE_BYTES, Buffer.alloc(126 * PAGE_BYTES));
});

t.test('one poisoned page is found in any range over it, wherever it lies', async (t) => {
  const pageCount = 200;
  const region = scratchRegion(t, pageCount);
  for (const page of [0, 1, 62, 63, 64, 65, 127, 128, 191, 192, 199]) {
    region.poison(page);
    for (const [first, end] of [
      [0, pageCount],
      [page, pageCount],
      [0, page + 1],
    ] as const) {
      const bytes = Buffer.alloc((end - first) * PAGE_BYTES);
      throwsErrno(
        t,
        'EIO',
        () => region.read(first * PAGE_BYTES, bytes),
        `${page} in ${first}..${end}`,
      );
    }
    region.read(0, Buffer.alloc(page * PAGE_BYTES));
    region.read((page + 1) * PAGE_BYTES, Buffer.alloc((pageCount - page - 1) * PAGE_BYTES));
    region.heal(page);
  }
});

t.test('a flushed store of the whole page heals it, and heal() does', async (t) => {
  const region = scratchRegion(t, 200);
  for (const page of [3, 4, 64, 127, 128]) region.poison(page);
  region.storeFlushed(
    3 * PAGE_BYTES - 1,
    Buffer.alloc(PAGE_BYTES + 2, 9).subarray(0, PAGE_BYTES + 1),
  );
  t.same(region.poisonedPages(), [4, 64, 127, 128]);
  region.storeFlushed(60 * PAGE_BYTES, Buffer.alloc(68 * PAGE_BYTES, 1));
  t.same(region.poisonedPages(), [4, 128]);
  region.copyFlushed(0, 128 * PAGE_BYTES, PAGE_BYTES);
  region.heal(4);
  region.heal(4);
  t.same(region.poisonedPages(), []);
  t.equal(bytesOf(region)[3 * PAGE_BYTES], 9);
});

t.test('the region in memory meets poison as the mapped one does', async (t) => {
  const pageCount = 12;
  const calls: Record<string, (region: Region, at: number, bytes: Buffer) => void> = {
    read: (region, at, bytes) => region.read(at, Buffer.alloc(bytes.length)),
    store: (region, at, bytes) => region.store(at, bytes),
    storeFlushed: (region, at, bytes) => region.storeFlushed(at, bytes),
    zeroFlushed: (region, at, bytes) => region.zeroFlushed(at, bytes.length),
    'copyFlushed to': (region, at, bytes) => region.copyFlushed(9 * PAGE_BYTES, at, bytes.length),
    'copyFlushed from': (region, at, bytes) => region.copyFlushed(at, 9 * PAGE_BYTES, bytes.length),
    fillCanary: (region, at) => region.fillCanary(Math.floor(at / PAGE_BYTES), 3, 7),
  };
  const outcome = (region: Region, call: () => void) => {
    let error: unknown = 'none';
    try {
      call();
    } catch (thrown) {
      error = (thrown as { code?: string }).code;
    }
    const poisoned = region.poisonedPages();
    for (const page of poisoned) region.heal(page);
    const bytes = Buffer.alloc(pageCount * PAGE_BYTES);
    region.read(0, bytes);
    return { error, poisoned, bytes: bytes.toString('latin1') };
  };
  const page = 4 * PAGE_BYTES;
  const ranges = [page - 8, page, page + 8].flatMap((from) =>
    [page, page + PAGE_BYTES - 1, page + PAGE_BYTES, page + 2 * PAGE_BYTES].map((to) => [from, to]),
  ) as [from: number, to: number][];
  for (const [name, call] of Object.entries(calls)) {
    for (const [from, to] of ranges.filter(([from, to]) => from <= to)) {
      const [mapped, memory] = [scratchRegion(t, pageCount), new MemoryRegion(pageCount)].map(
        (region: Region) => {
          region.storeFlushed(0, Buffer.alloc(pageCount * PAGE_BYTES, 'bytes'));
          for (const poisoned of [4, 7]) region.poison(poisoned);
          const bytes = Buffer.alloc(to - from, 'new');
          return outcome(region, () => call(region, from, bytes));
        },
      );
      t.strictSame(memory, mapped, `${name} ${from}..${to}`);
    }
  }
});

t.test('the canary names page, last owner and line in every line, and skips poison', async (t) => {
  const region = scratchRegion(t, 8);
  region.poison(4);
  region.fillCanary(2, 4, 2 ** 40 + 7);
  region.heal(4);
  const bytes = bytesOf(region);
  for (const page of [2, 3, 5]) {
    for (let at = page * PAGE_BYTES; at < (page + 1) * PAGE_BYTES; at += 32) {
      const line = Math.floor((at % PAGE_BYTES) / LINE_BYTES);
      const record = [
        bytes.toString('latin1', at, at + 8),
        Number(bytes.readBigUInt64LE(at + 8)),
        Number(bytes.readBigUInt64LE(at + 16)),
        Number(bytes.readBigUInt64LE(at + 24)),
      ];
      if (!t.same(record, ['FDXSTALE', page, 2 ** 40 + 7, line])) return;
    }
  }
  for (const page of [0, 1, 4, 6, 7]) {
    const untouched = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    t.ok(untouched.equals(Buffer.alloc(PAGE_BYTES)), `page ${page} is untouched`);
  }
});
