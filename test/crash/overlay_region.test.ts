/**
 * The region that a check of a crash state runs on: the base stays, reads say which lines of the
 * base they showed, canaries are told, and a sink gets what a recording would.
 */
import t from 'tap';
import { canaryPage } from '../../lib/canary.js';
import { OverlayRegion, type OverlayRegionOptions } from '../../lib/crash/state/overlay_region.js';
import type { TraceEvent } from '../../lib/trace/event.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';

const LINES_PER_PAGE = PAGE_BYTES / LINE_BYTES;
const CANARY_PAGE = 12;
const OWNER = 77;

/** Pages full of their number; one holds a canary. */
function makeRegion(options: OverlayRegionOptions = {}): OverlayRegion {
  const pages = Array.from({ length: 16 }, (_, page) => Buffer.alloc(PAGE_BYTES, page + 1));
  canaryPage(pages[CANARY_PAGE]!, CANARY_PAGE, OWNER);
  return new OverlayRegion({ pageCount: 16, page: (page) => pages[page]! }, options);
}

function readAt(region: OverlayRegion, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  region.read(offset, bytes);
  return bytes;
}

const linesOf = (region: OverlayRegion) => [...region.readLines()];

t.test('a read notes each line of the base that it touches, once and in order', async (t) => {
  const region = makeRegion();
  t.same(linesOf(region), []);
  readAt(region, 10 * PAGE_BYTES + LINE_BYTES - 1, 2);
  readAt(region, 2 * PAGE_BYTES, 1);
  readAt(region, 2 * PAGE_BYTES, LINE_BYTES);
  const tenth = 10 * LINES_PER_PAGE;
  t.same(linesOf(region), [2 * LINES_PER_PAGE, tenth, tenth + 1]);
});

t.test('a read across pages has the bytes of both and notes lines of both', async (t) => {
  const region = makeRegion();
  t.same([...readAt(region, PAGE_BYTES - 2, 4)], [1, 1, 2, 2]);
  t.same(linesOf(region), [LINES_PER_PAGE - 1, LINES_PER_PAGE]);
});

t.test('the last lines of a half of a page are noted as themselves', async (t) => {
  const region = makeRegion();
  for (const line of [31, 32, 63]) readAt(region, line * LINE_BYTES, 1);
  t.same(linesOf(region), [31, 32, 63]);
});

t.test('a line that was overwritten whole is not the base any more', async (t) => {
  const region = makeRegion();
  region.store(LINE_BYTES, Buffer.alloc(LINE_BYTES, 9));
  t.same([...readAt(region, LINE_BYTES, 2)], [9, 9]);
  t.same(linesOf(region), []);
});

t.test('a line that was overwritten in part shows the base beside it', async (t) => {
  const region = makeRegion();
  region.store(LINE_BYTES + 1, Buffer.alloc(2 * LINE_BYTES, 9));
  t.same([...readAt(region, LINE_BYTES, 3)], [1, 9, 9]);
  readAt(region, 2 * LINE_BYTES, LINE_BYTES);
  readAt(region, 3 * LINE_BYTES, 1);
  t.same(linesOf(region), [1, 3], 'the one in the middle is all its own');
});

t.test('a line that was read before it was overwritten stays noted', async (t) => {
  const region = makeRegion();
  readAt(region, 0, 1);
  region.storeFlushed(0, Buffer.alloc(PAGE_BYTES, 9));
  readAt(region, 0, PAGE_BYTES);
  t.same(linesOf(region), [0]);
});

t.test('what is copied inside the region was read', async (t) => {
  const region = makeRegion();
  region.copyFlushed(PAGE_BYTES, 0, LINE_BYTES);
  t.same([...readAt(region, 0, 1)], [2]);
  t.same(linesOf(region), [LINES_PER_PAGE]);
});

t.test('nothing reaches the base, nor the caller that stored', async (t) => {
  const base = Buffer.alloc(PAGE_BYTES, 1);
  const region = new OverlayRegion({ pageCount: 1, page: () => base });
  const source = Buffer.alloc(PAGE_BYTES, 2);
  region.store(0, source);
  region.store(5, Buffer.from([3]));
  region.zeroFlushed(6, 2);
  t.same([...readAt(region, 4, 5)], [2, 3, 0, 0, 2]);
  t.ok(base.every((byte) => byte === 1));
  t.ok(source.every((byte) => byte === 2));
});

t.test('a canary of the base that is read is told with its owner', async (t) => {
  const told: [number, number][] = [];
  const region = makeRegion({ canaryRead: (page, owner) => told.push([page, owner]) });
  readAt(region, 0, PAGE_BYTES);
  t.same(told, []);
  readAt(region, CANARY_PAGE * PAGE_BYTES + 3 * LINE_BYTES + 20, 1);
  t.same(told, [[CANARY_PAGE, OWNER]]);
});

t.test('a canary that the run wrote itself is its own', async (t) => {
  const told: number[] = [];
  const region = makeRegion({ canaryRead: (page) => told.push(page) });
  region.fillCanary(3, 2, 5);
  const wanted = canaryPage(Buffer.alloc(PAGE_BYTES), 4, 5);
  t.ok(readAt(region, 4 * PAGE_BYTES, PAGE_BYTES).equals(wanted));
  region.store(CANARY_PAGE * PAGE_BYTES, Buffer.alloc(PAGE_BYTES));
  readAt(region, CANARY_PAGE * PAGE_BYTES, PAGE_BYTES);
  t.same(told, []);
  t.same(linesOf(region), []);
});

t.test('bytes of a canary elsewhere are somebody’s data', async (t) => {
  const told: number[] = [];
  const page = canaryPage(Buffer.alloc(PAGE_BYTES), 7, OWNER);
  const options = { canaryRead: (page: number) => told.push(page) };
  const region = new OverlayRegion({ pageCount: 1, page: () => page }, options);
  readAt(region, 0, PAGE_BYTES);
  t.same(told, []);
});

t.test('the sink gets every change, flush and fence in order, with the call', async (t) => {
  const events: TraceEvent[] = [];
  const region = makeRegion({ sink: (event) => events.push(event) });
  region.callId = 3;
  region.store(1, Buffer.from('a'));
  region.storeFlushed(2, Buffer.from('b'));
  region.callId = 4;
  region.flush(0, 70);
  region.fence();
  region.fillCanary(5, 1, 9);
  readAt(region, 0, 1);
  t.same(events, [
    { type: 'store', callId: 3, offset: 1, bytes: Buffer.from('a'), isFlushed: false },
    { type: 'store', callId: 3, offset: 2, bytes: Buffer.from('b'), isFlushed: true },
    { type: 'flush', callId: 4, offset: 0, lengthBytes: 70, thread: 0 },
    { type: 'fence', callId: 4, thread: 0 },
    { type: 'canary', page: 5, pageCount: 1, ownerIno: 9 },
  ]);
});

t.test('zeroes over many pages reach the sink as stores that cover them', async (t) => {
  const covered: [number, number][] = [];
  const region = makeRegion({
    sink: (event) => {
      if (event.type === 'store') covered.push([event.offset, event.bytes.length]);
    },
  });
  region.zeroFlushed(100, 3 * PAGE_BYTES);
  t.same(covered, [[100, 3 * PAGE_BYTES]]);
  t.ok(readAt(region, 100, 3 * PAGE_BYTES).every((byte) => byte === 0));
});

t.test('a range outside the region is refused', async (t) => {
  const region = makeRegion();
  t.throws(() => readAt(region, 16 * PAGE_BYTES - 1, 2));
  t.throws(() => region.store(-1, Buffer.alloc(1)));
});
