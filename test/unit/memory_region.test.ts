/** The persistence states of a region: stored, flushed, durable. */
import t from 'tap';
import { MemoryRegion } from '../../lib/memory_region.js';
import type { Keep } from '../../lib/region.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';

const NONE: Keep = { keep: 'none' };
const ALL: Keep = { keep: 'all' };

function tracked(): MemoryRegion {
  const region = new MemoryRegion(8);
  region.trackUndecided();
  return region;
}

function byteAt(region: MemoryRegion, offset: number): number {
  const target = Buffer.alloc(1);
  region.read(offset, target);
  return target[0]!;
}

const byte = (value: number) => Buffer.from([value]);

t.test('a power cut keeps what was flushed and then fenced, and no more', async (t) => {
  const steps: [what: string, change: (region: MemoryRegion) => void, kept: number][] = [
    ['stored', (region) => region.store(0, byte(1)), 0],
    ['flushed', (region) => region.storeFlushed(0, byte(1)), 0],
    [
      'fenced without flush',
      (region) => {
        region.store(0, byte(1));
        region.fence();
      },
      0,
    ],
    [
      'flushed and fenced',
      (region) => {
        region.store(0, byte(1));
        region.flush(0, 1);
        region.fence();
      },
      1,
    ],
    [
      'stored again after the flush',
      (region) => {
        region.storeFlushed(0, byte(1));
        region.store(0, byte(2));
        region.fence();
      },
      1,
    ],
  ];
  for (const [what, change, kept] of steps) {
    const region = tracked();
    change(region);
    const newest = byteAt(region, 0);
    region.crash(NONE);
    t.equal(byteAt(region, 0), kept, what);
    t.equal(region.undecidedLineCount(), 0);
    const other = tracked();
    change(other);
    other.crash(ALL);
    t.equal(byteAt(other, 0), newest, `${what}, all kept`);
  }
});

t.test('what a crash decided stays', async (t) => {
  const region = tracked();
  region.store(0, byte(1));
  region.crash(ALL);
  region.store(64, byte(2));
  region.crash(NONE);
  t.equal(byteAt(region, 0), 1);
});

t.test('a seed picks the same lines each time, some kept and some lost', async (t) => {
  const run = (seed: number) => {
    const region = tracked();
    for (let line = 0; line < 256; line++) region.store(line * LINE_BYTES, byte(9));
    const count = region.crash({ keep: 'seed', seed });
    const image = Buffer.alloc(8 * PAGE_BYTES);
    region.read(0, image);
    return { count, image };
  };
  const first = run(5);
  t.same(run(5), first);
  t.notSame(run(6).image, first.image);
  t.equal(first.count.undecidedLines, 256);
  const ones = first.image.filter((value) => value === 9).length;
  t.equal(ones, first.count.keptLines);
  t.ok(ones > 100 && ones < 240, 'a store has three possible values, two of them new');
});

t.test('poison is met by whoever touches it, until it is healed', async (t) => {
  const region = new MemoryRegion(8);
  const line = Buffer.alloc(LINE_BYTES);
  region.poison(3);
  t.same(region.poisonedPages(), [3]);
  const offset = 3 * PAGE_BYTES;
  t.throws(() => region.read(offset - 10, line), { code: 'EIO' });
  t.throws(() => region.storeFlushed(offset, line), { code: 'EIO' });
  t.throws(() => region.zeroFlushed(offset, PAGE_BYTES), { code: 'EIO' });
  t.throws(() => region.copyFlushed(0, offset, 10), { code: 'EIO' });
  t.throws(() => region.copyFlushed(offset, 0, 10), { code: 'EIO' });
  region.read(offset - LINE_BYTES, line);
  region.storeFlushed(offset - 5, Buffer.alloc(PAGE_BYTES + 10));
  t.same(region.poisonedPages(), [], 'a store of the whole page heals it');
  region.poison(3);
  region.heal(3);
  region.read(offset, line);
});

t.test('canaries name page, owner and line twice in each line', async (t) => {
  const region = new MemoryRegion(8);
  region.fillCanary(5, 2, 2 ** 40 + 7);
  const bytes = Buffer.alloc(2 * PAGE_BYTES);
  region.read(5 * PAGE_BYTES, bytes);
  for (const [page, line, half] of [
    [5, 0, 0],
    [5, 63, 32],
    [6, 17, 32],
  ] as const) {
    const at = (page - 5) * PAGE_BYTES + line * LINE_BYTES + half;
    t.equal(bytes.toString('latin1', at, at + 8), 'FDXSTALE');
    t.equal(bytes.readBigUInt64LE(at + 8), BigInt(page));
    t.equal(bytes.readBigUInt64LE(at + 16), BigInt(2 ** 40 + 7));
    t.equal(bytes.readBigUInt64LE(at + 24), BigInt(line));
  }
});
