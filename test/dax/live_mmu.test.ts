/** The engine's port to processes, and the region where stores are looked for, over a server of the test. */
import t from 'tap';
import { LiveMmu } from '../../fs/dax/live_mmu.js';
import { WatchedRegion } from '../../fs/dax/watched_region.js';
import { WIRE_DROP_OWN, WIRE_HUGE, WIRE_POPULATE, WIRE_STORABLE } from '../../fs/dax/wire.js';
import type { FaultServer } from '../../lib/addon/fault_server.js';
import type { Backing, Mapping } from '../../lib/dax/mmu.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import type { Extent } from '../../lib/space/extent_list.js';
import { FILE_PAGES_MAX, PAGE_BYTES } from '../../lib/units.js';

type Line = readonly unknown[];

/** Notes what it is asked, and answers by `answers`, else with numbers that grow. */
function server(answers: Record<string, unknown> = {}) {
  const asked: Line[] = [];
  let next = 1;
  const take = (): Line[] => asked.splice(0);
  const get =
    (_: unknown, name: string) =>
    (...words: unknown[]) => {
      asked.push([name, ...words]);
      return answers[name] ?? next++;
    };
  return { server: new Proxy({}, { get }) as FaultServer, take };
}

function mapping(id: number, client: number, isShared = true): Mapping {
  const place = { filePage: 0, pageCount: 1024, addressPage: 0 };
  return { id, client, ino: 5, ...place, isShared, isSync: false };
}

const PAGE = { filePage: 3, pageCount: 1 };
const EXTENTS = [
  { filePage: 0, regionPage: 70, pageCount: 2 },
  { filePage: 2, regionPage: 90, pageCount: 1 },
] as Extent[];

function mmuOf(answers: Record<string, unknown>, watchesStores: boolean, keepsTimes = true) {
  const { server: asked, take } = server(answers);
  const parts = { extents: () => EXTENTS, watchesStores, keepsTimes: () => keepsTimes };
  return { mmu: new LiveMmu({ server: asked, ...parts }), take };
}

t.test('a command is ready when its process has carried it out', async (t) => {
  const { mmu } = mmuOf({}, false);
  const [one, other] = [mapping(1, 10), mapping(2, 20)];
  const shown = [mmu.zap(one, PAGE, false), mmu.showBus(other, PAGE), mmu.zap(one, PAGE, false)];
  shown.push(mmu.zap(one, PAGE, false));
  const ready = () => shown.map(({ isReady }) => isReady);
  t.same(ready(), [false, false, false, false]);
  mmu.done(10, 3);
  t.same(ready(), [true, false, true, false]);
  t.equal(mmu.isSettled, false);
  mmu.gone(20);
  t.same(ready(), [true, true, true, false]);
  mmu.done(10, 4);
  t.same(ready(), [true, true, true, true]);
  t.equal(mmu.isSettled, true);
  t.equal(mmuOf({ show: 0 }, false).mmu.zap(one, PAGE, false).isReady, true, 'nobody sees it');
});

t.test('write-protection is ready when the kernel has made it', async (t) => {
  const { mmu } = mmuOf({ isProtected: false }, false);
  const made: string[] = [];
  const all = ['a', 'b', 'c'].map((name) => {
    const protection = mmu.protect(mapping(1, 10), PAGE);
    t.equal(protection.isReady, false);
    protection.whenReady(() => made.push(name));
    return protection;
  });
  mmu.protected(2);
  t.same(made, ['a', 'b']);
  t.same(
    all.map(({ isReady }) => isReady),
    [true, true, false],
  );
  mmu.protected(3);
  t.same(made, ['a', 'b', 'c']);
  t.equal(mmuOf({ isProtected: true }, false).mmu.protect(mapping(1, 10), PAGE).isReady, true);
  t.equal(mmuOf({ writeProtect: 0 }, false).mmu.protect(mapping(1, 10), PAGE).isReady, true);
});

const one: Backing = { filePage: 3, pageCount: 1, regionPage: 40, isHuge: false };
const huge: Backing = { filePage: 512, pageCount: 512, regionPage: 512, isHuge: true };
const SHOWS: [backing: Backing, isStorable: boolean, kind: string, page: number, flags: number][] =
  [
    [one, false, 'region', 40, 0],
    [one, true, 'region', 40, WIRE_STORABLE],
    [huge, false, 'region', 512, WIRE_POPULATE | WIRE_HUGE],
    [{ ...one, regionPage: 'zero' }, false, 'zero', 0, 0],
    [{ ...huge, regionPage: 'zero' }, false, 'zero', 0, WIRE_HUGE],
  ];

t.test('a page is watched before a store to it goes through', async (t) => {
  for (const watchesStores of [true, false]) {
    for (const isShared of [true, false]) {
      const { mmu, take } = mmuOf({}, watchesStores);
      const at = mapping(1, 10, isShared);
      for (const [backing, isStorable, kind, page, flags] of SHOWS) {
        const { filePage, pageCount } = backing;
        mmu.install(at, backing, isStorable);
        const isWatched = watchesStores && isShared && isStorable;
        const watched = isWatched ? [['watchPages', page, pageCount]] : [];
        t.same(take(), [...watched, ['show', 1, filePage, pageCount, kind, page, flags]]);
      }
    }
    const { mmu, take } = mmuOf({}, watchesStores);
    mmu.allowStores(mapping(1, 10), { filePage: 0, pageCount: 3 });
    const watched = [
      ['watchPages', 70, 2],
      ['watchPages', 90, 1],
    ];
    t.same(take(), [...(watchesStores ? watched : []), ['writeProtect', 1, 0, 3, false]]);
  }
});

t.test("what is a process's own stays, unless it is to go", async (t) => {
  const { mmu, take } = mmuOf({}, false);
  mmu.zap(mapping(1, 10), PAGE, false);
  mmu.zap(mapping(1, 10), PAGE, true);
  const line = ['show', 1, 3, 1, 'trap', 0];
  t.same(take(), [
    [...line, 0],
    [...line, WIRE_DROP_OWN],
  ]);
});

t.test('stores are only caught where somebody keeps their times', async (t) => {
  const all = { filePage: 2, pageCount: Number.POSITIVE_INFINITY };
  for (const keepsTimes of [true, false]) {
    const { mmu, take } = mmuOf({}, false, keepsTimes);
    mmu.catchStores(5, PAGE, true, false);
    t.same(take(), keepsTimes ? [['catchStores', 5, 3, 1, true, false]] : []);
    mmu.catchStores(5, all, false, false);
    t.same(take(), [['catchStores', 5, 2, FILE_PAGES_MAX - 2, false, false]]);
  }
});

t.test('what was caught is taken whole; settling is told once it was begun', async (t) => {
  const { mmu, take } = mmuOf({ takeDirtied: new Float64Array([1, 2, 7, 1, 9, 3]) }, false);
  t.same(mmu.takeDirtied(5), [
    { filePage: 1, pageCount: 2 },
    { filePage: 7, pageCount: 1 },
    { filePage: 9, pageCount: 3 },
  ]);
  take();
  mmu.unsettled();
  t.same(take(), []);
  mmu.settled(5);
  mmu.unsettled();
  mmu.unsettled();
  t.same(take(), [['settled', 5], ['unsettled']]);
});

t.test('pages are looked at before they are flushed, each that is touched', async (t) => {
  for (const mayForget of [true, false]) {
    const { server: asked, take } = server();
    const region = new MemoryRegion(8);
    const lines: Line[] = [];
    region.flush = (...words) => void lines.push(...take(), ['flush', ...words]);
    const watched = new WatchedRegion(region, asked, () => mayForget);
    for (const [offset, lengthBytes, page, pageCount] of [
      [0, PAGE_BYTES, 0, 1],
      [PAGE_BYTES - 1, 2, 0, 2],
      [2 * PAGE_BYTES, 2 * PAGE_BYTES, 2, 2],
    ] as const) {
      watched.flush(offset, lengthBytes);
      const sweep = ['sweepPages', page, pageCount, mayForget];
      t.same(lines.splice(0), [sweep, ['flush', offset, lengthBytes]]);
    }
  }
});
