/**
 * The undecided lines of the mapped region against a model that is as plain as it can be: one record
 * a line, every byte kept, no bit masks.
 */
import t from 'tap';
import { Random } from '../../lib/random.js';
import type { CrashCount, Keep } from '../../lib/region.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';
import { bytesOf, scratchRegion } from './scratch.js';

const MASK = (1n << 64n) - 1n;

/** The finaliser of splitmix64 as SPEC.md gives it for crash(seed). */
function mix(value: bigint): bigint {
  let word = (value + 0x9e3779b97f4a7c15n) & MASK;
  word = ((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  word = ((word ^ (word >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return word ^ (word >> 31n);
}

function pick(seed: number, line: number, bound: number): number {
  const word = mix((mix(BigInt(seed)) + BigInt(line)) & MASK);
  return Number(((word >> 32n) * BigInt(bound)) >> 32n);
}

interface Line {
  durable: Buffer;
  flushed: Buffer | undefined;
  storedSince: boolean; // since it was flushed
}

class Model {
  readonly bytes: Buffer;
  readonly lines = new Map<number, Line>();

  constructor(lengthBytes: number) {
    this.bytes = Buffer.alloc(lengthBytes);
  }

  store(offset: number, source: Uint8Array): void {
    for (const line of this.linesOf(offset, source.length)) {
      const known = this.lines.get(line);
      if (known) known.storedSince = true;
      else
        this.lines.set(line, { durable: this.value(line), flushed: undefined, storedSince: true });
    }
    this.bytes.set(source, offset);
  }

  flush(offset: number, lengthBytes: number): void {
    for (const line of this.linesOf(offset, lengthBytes)) {
      const known = this.lines.get(line);
      if (known) Object.assign(known, { flushed: this.value(line), storedSince: false });
    }
  }

  fence(): void {
    for (const [line, known] of this.lines) {
      if (known.flushed === undefined) continue;
      known.durable = known.flushed;
      known.flushed = undefined;
      if (known.durable.equals(this.value(line))) this.lines.delete(line);
    }
  }

  crash(keep: Keep): CrashCount {
    const count = { undecidedLines: this.lines.size, keptLines: 0 };
    for (const [line, known] of this.lines) {
      const values = [known.durable, this.value(line)];
      if (known.flushed !== undefined && known.storedSince) values.push(known.flushed);
      let choice = keep.keep === 'all' ? 1 : 0;
      if (keep.keep === 'seed') choice = pick(keep.seed, line, values.length);
      if (choice > 0) count.keptLines++;
      values[choice]!.copy(this.bytes, line * LINE_BYTES);
    }
    this.lines.clear();
    return count;
  }

  private *linesOf(offset: number, lengthBytes: number): Generator<number> {
    if (lengthBytes === 0) return;
    const last = Math.floor((offset + lengthBytes - 1) / LINE_BYTES);
    for (let line = Math.floor(offset / LINE_BYTES); line <= last; line++) yield line;
  }

  private value(line: number): Buffer {
    return Buffer.from(this.bytes.subarray(line * LINE_BYTES, (line + 1) * LINE_BYTES));
  }
}

/** One random operation on both; a crash compares what both counted. */
function step(region: ReturnType<typeof scratchRegion>, model: Model, random: Random): void {
  const longest = [1, LINE_BYTES, 3 * LINE_BYTES, 2 * PAGE_BYTES][random.below(4)]!;
  const lengthBytes = random.below(longest + 1);
  const offset = random.below(model.bytes.length - lengthBytes + 1);
  const source = Buffer.alloc(lengthBytes, random.below(4));
  switch (random.below(8)) {
    case 0:
    case 1:
      region.store(offset, source);
      model.store(offset, source);
      return;
    case 2:
    case 3:
      region.storeFlushed(offset, source);
      model.store(offset, source);
      model.flush(offset, lengthBytes);
      return;
    case 4:
      region.zeroFlushed(offset, lengthBytes);
      model.store(offset, Buffer.alloc(lengthBytes));
      model.flush(offset, lengthBytes);
      return;
    case 5: {
      const from = random.below(model.bytes.length - lengthBytes + 1);
      region.copyFlushed(from, offset, lengthBytes);
      model.store(offset, Buffer.from(model.bytes.subarray(from, from + lengthBytes)));
      model.flush(offset, lengthBytes);
      return;
    }
    case 6:
      region.flush(offset, lengthBytes);
      model.flush(offset, lengthBytes);
      return;
    default:
      if (random.oneIn(3)) {
        region.fence();
        model.fence();
      }
  }
}

t.test('any history leaves the bytes and counts that the model leaves', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const region = scratchRegion(t, 6);
    region.trackUndecided();
    const model = new Model(6 * PAGE_BYTES);
    const random = new Random(seed);
    for (let crash = 0; crash < 12; crash++) {
      const steps = random.below(60);
      for (let index = 0; index < steps; index++) step(region, model, random);
      const where = `seed ${seed}, crash ${crash}`;
      if (region.undecidedLineCount() !== model.lines.size) return t.fail(`${where}: line counts`);
      if (!bytesOf(region).equals(model.bytes)) return t.fail(`${where}: bytes before`);
      const keeps: Keep[] = [
        { keep: 'none' },
        { keep: 'all' },
        { keep: 'seed', seed: random.next() * 2 ** 20 },
      ];
      const keep = keeps[random.below(3)]!;
      t.same(region.crash(keep), model.crash(keep), where);
      if (!bytesOf(region).equals(model.bytes)) return t.fail(`${where}: bytes after`);
      if (region.undecidedLineCount() !== 0) return t.fail(`${where}: lines left`);
    }
    region.close();
  }
});

t.test('a store is lost unless it was flushed and then fenced', async (t) => {
  // A letter is a store of itself, f a flush, | a fence; then the letter that survives.
  const cases: [string, string][] = [
    ['b', 'a'],
    ['b|', 'a'],
    ['bf', 'a'],
    ['b|f', 'a'],
    ['bf|', 'b'],
    ['bfc|', 'b'],
    ['bfcf|', 'c'],
    ['bf|c|', 'b'],
  ];
  for (const [history, expected] of cases) {
    const region = scratchRegion(t, 1);
    region.store(0, Buffer.from('a'));
    region.trackUndecided();
    for (const act of history) {
      if (act === 'f') region.flush(0, 1);
      else if (act === '|') region.fence();
      else region.store(0, Buffer.from(act));
    }
    region.crash({ keep: 'none' });
    t.equal(bytesOf(region).toString('latin1', 0, 1), expected, history);
  }
});

t.test('over many seeds a line takes each of its values, and only those', async (t) => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const region = scratchRegion(t, 1);
    region.store(0, Buffer.from('durable'));
    region.trackUndecided();
    region.storeFlushed(0, Buffer.from('flushed'));
    region.store(0, Buffer.from('newest!'));
    region.crash({ keep: 'seed', seed });
    seen.add(bytesOf(region).toString('latin1', 0, 7));
    region.close();
  }
  t.same([...seen].sort(), ['durable', 'flushed', 'newest!']);
});

t.test('the same seed gives the same bytes whatever the order of the stores', async (t) => {
  const images = [1, 7, 11, 13].map((stride) => {
    const region = scratchRegion(t, 64);
    region.trackUndecided();
    for (let index = 0; index < 64 * 64; index++) {
      const line = (index * stride) % (64 * 64);
      region.storeFlushed(line * LINE_BYTES, Buffer.alloc(LINE_BYTES, 1 + (line % 250)));
    }
    const count = region.crash({ keep: 'seed', seed: 99 });
    return { count, image: bytesOf(region) };
  });
  for (const { count, image } of images) {
    t.same(count, images[0]!.count);
    t.ok(image.equals(images[0]!.image));
  }
  const { keptLines, undecidedLines } = images[0]!.count;
  t.equal(undecidedLines, 64 * 64);
  t.ok(keptLines > 64 * 24 && keptLines < 64 * 40, 'about half of the lines kept their store');
});

t.test('the canary is durable at once and never undecided', async (t) => {
  const region = scratchRegion(t, 4);
  region.trackUndecided();
  region.storeFlushed(PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES, 5));
  region.fillCanary(1, 1, 8);
  t.equal(region.undecidedLineCount(), 64);
  t.equal(region.crash({ keep: 'none' }).undecidedLines, 64);
  t.equal(bytesOf(region).toString('latin1', PAGE_BYTES, PAGE_BYTES + 8), 'FDXSTALE');
  t.equal(bytesOf(region)[2 * PAGE_BYTES], 0);
});

t.test(
  'beyond the limit flushed lines drain first, then unflushed ones are written back',
  async (t) => {
    const pageCount = 70_000; // more pages than the 65,536 that are remembered
    const region = scratchRegion(t, pageCount);
    region.trackUndecided();
    const one = Buffer.alloc(1, 1);
    for (let page = 0; page < pageCount; page++) region.storeFlushed(page * PAGE_BYTES, one);
    t.same(region.undecidedCounters(), { limitFences: 1, limitEvictions: 0 });
    t.equal(region.undecidedLineCount(), pageCount - 65_537);
    region.crash({ keep: 'none' });
    t.equal(bytesOf(region)[65_536 * PAGE_BYTES], 1, 'the drained lines are durable');
    t.equal(bytesOf(region)[65_537 * PAGE_BYTES], 0, 'the later ones were undecided');

    const two = Buffer.alloc(1, 2);
    for (let page = 0; page < pageCount; page++) region.store(page * PAGE_BYTES, two);
    t.same(region.undecidedCounters(), { limitFences: 2, limitEvictions: 1 });
    region.crash({ keep: 'none' });
    t.equal(bytesOf(region)[0], 2, 'the evicted lines are durable');
    t.equal(bytesOf(region)[(pageCount - 1) * PAGE_BYTES], 0);
  },
);
