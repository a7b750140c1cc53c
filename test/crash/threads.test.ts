/**
 * Whose flush a fence makes durable: what the stores of a mapping may come to, when several threads
 * flush and fence, and the filesystem does.
 */
import t from 'tap';
import type { ModelName } from '../../lib/crash/choice.js';
import { points } from '../../lib/crash/state/points.js';
import { FILESYSTEM_THREAD, type TraceEvent } from '../../lib/trace/event.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';
import { allChoices } from './choices.js';
import { RecordedImage, seenIn } from './recorded_image.js';

const [ANN, BOB] = [101, 102];

/** A synced file of two lines, and what threads do to it through a mapping. */
class Mapped {
  readonly image = new RecordedImage();
  private readonly regionOffset: number;

  constructor() {
    this.image.create('f');
    this.image.write('f', 0, `0${' '.repeat(LINE_BYTES - 1)}0`);
    this.image.force('fsync', 'f');
    const { regionPage } = this.image.metadata.extents(this.image.lookup('f')).find(0)!;
    this.regionOffset = regionPage * PAGE_BYTES;
  }

  store(line: number, text: string): this {
    this.image.nextCall();
    this.image.region.store(this.regionOffset + line * LINE_BYTES, Buffer.from(text));
    return this;
  }

  flush(line: number, thread: number): this {
    const offset = this.regionOffset + line * LINE_BYTES;
    this.image.record({ type: 'flush', callId: 0, offset, lengthBytes: 1, thread });
    return this;
  }

  fence(thread: number): this {
    this.image.record({ type: 'fence', callId: 0, thread });
    return this;
  }

  /** The first bytes of both lines, and whether `g` is there, in every state that has the file. */
  seen(model: ModelName): string[] {
    const { image } = this;
    const end: TraceEvent = { type: 'workload-end', timeNs: 0, exitStatus: 0, signal: null };
    const events = () => [...image.recorded, end];
    const found = new Set<string>();
    for (const point of points({ base: image.base, info: image.info, events }, model)) {
      if (point.position !== image.position) continue;
      for (const choice of allChoices(model, point)) {
        const state = point.state(choice);
        const { files } = seenIn(state);
        const text = files.get('f');
        const others = files.has('g') ? '+g' : '';
        if (text !== undefined) found.add(`${text[0]}${text[LINE_BYTES]}${others}`);
        state.release();
      }
    }
    return [...found].sort();
  }
}

t.test('a fence makes durable what its own thread flushed', async (t) => {
  t.same(new Mapped().store(0, 'a').flush(0, ANN).fence(ANN).seen('dax'), ['a0']);
});

t.test('a fence of another thread makes nothing durable', async (t) => {
  t.same(new Mapped().store(0, 'a').flush(0, ANN).fence(BOB).seen('dax'), ['00', 'a0']);
  t.same(new Mapped().store(0, 'a').flush(0, ANN).fence(BOB).fence(ANN).seen('dax'), ['a0']);
});

t.test(
  'a fence of the filesystem takes no flush of a program, nor the other way round',
  async (t) => {
    const mapped = new Mapped().store(0, 'a').flush(0, ANN).fence(FILESYSTEM_THREAD);
    t.same(mapped.seen('dax'), ['00', 'a0']);
    const other = new Mapped().store(0, 'a').flush(0, FILESYSTEM_THREAD).fence(ANN);
    t.same(other.seen('dax'), ['00', 'a0']);
    t.same(other.fence(FILESYSTEM_THREAD).seen('dax'), ['a0']);
  },
);

t.test('each thread has the value of its own flush', async (t) => {
  const mapped = new Mapped().store(0, 'a').flush(0, ANN).store(0, 'b').flush(0, BOB);
  t.same(mapped.store(0, 'c').seen('dax'), ['00', 'a0', 'b0', 'c0']);
  t.same(mapped.fence(ANN).seen('dax'), ['a0', 'b0', 'c0']);
  t.same(mapped.fence(BOB).seen('dax'), ['b0', 'c0']);
});

t.test('a fence after the value that another thread made durable takes nothing back', async (t) => {
  const mapped = new Mapped().store(0, 'a').flush(0, ANN).store(0, 'b').flush(0, BOB);
  t.same(mapped.fence(BOB).fence(ANN).seen('dax'), ['b0']);
});

t.test('a flush before the store, and a second line, stay undecided', async (t) => {
  const mapped = new Mapped().flush(0, ANN).store(0, 'a').store(1, 'b').flush(1, ANN).fence(ANN);
  t.same(mapped.seen('dax'), ['0b', 'ab']);
});

t.test('a fence is used up: what is stored after the flush waits for the next', async (t) => {
  const mapped = new Mapped().store(0, 'a').flush(0, ANN).fence(ANN).store(0, 'b').fence(ANN);
  t.same(mapped.seen('dax'), ['a0', 'b0']);
});

t.test('the fence before a commit is of the filesystem: flushes of programs stay', async (t) => {
  const mapped = new Mapped().store(0, 'a').flush(0, ANN).store(1, 'b');
  mapped.flush(1, FILESYSTEM_THREAD).image.create('g');
  // Where `g` was kept, a commit came, and the fence before it.
  t.same(mapped.seen('dax'), ['00', '0b', '0b+g', 'a0', 'ab', 'ab+g']);
  mapped.image.commit();
  t.same(mapped.seen('dax'), ['0b+g', 'ab+g']);
});

t.test('eadr has nothing to flush, disks take no flush of a program', async (t) => {
  const flushed = new Mapped().store(0, 'a').flush(0, ANN).fence(ANN);
  t.same(new Mapped().store(0, 'a').flush(0, ANN).fence(BOB).seen('eadr'), ['a0']);
  for (const model of ['sector', 'posix'] as const) {
    t.same(flushed.seen(model), ['00', 'a0'], model);
  }
});
