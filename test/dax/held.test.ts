/** Tasks that a fault rule holds at a point: others go on, and nothing waits for what ended meanwhile. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { FaultRule, FaultState } from '../../fs/index.js';
import { checkImage } from '../../lib/metadata/check.js';
import { loadNative } from '../../lib/native.js';
import { mounted } from '../fs/image.js';
import { cannotMap, daxMount, type DaxPlace, Mapper, mapperPids, stop } from './place.js';

const skip = { skip: cannotMap };
/** Longer than any test takes: who goes on was let go. */
const FOR_EVER: FaultRule['action'] = { do: 'delay', delayMs: 600_000 };
const held = (point: string, path = '**'): FaultRule => {
  return { op: 'point', path, point, nth: 1, action: FOR_EVER };
};

/** A process that maps two files of two pages, holes, as F and G. */
async function mapper(t: Test, place: DaxPlace): Promise<Mapper> {
  const one = Mapper.direct(t, place.dir);
  for (const name of ['F', 'G']) {
    await one.check(t, [
      [`open ${name} ${name.toLowerCase()} rw+creat`, '0'],
      [`truncate ${name} 8192`, '0'],
      [`map ${name} ${name} 0 8192 shared`, '0'],
    ]);
  }
  return one;
}

async function waiting(place: DaxPlace, count: number): Promise<void> {
  for (;;) {
    const { daemon } = await place.mount.info();
    if (daemon.dax?.waiting === count) return;
    await sleep(5);
  }
}

async function fired(place: DaxPlace): Promise<FaultState['fired'][]> {
  return (await place.mount.fault.list()).map((rule) => rule.fired);
}

t.test('a held fault keeps nobody else; clearing the rule lets it go on', skip, async (t) => {
  const place = await daxMount(t);
  const [one, other] = [await mapper(t, place), await mapper(t, place)];
  await place.mount.fault.add(held('lock the entry', 'f'));
  const store = one.call('store F 0 held');
  await waiting(place, 1);
  await other.check(t, [
    ['store G 0 free', '0'],
    ['load F 0 4', '<.*4>'],
    ['store F 4096 next', '0'],
    ['fsync F', '0'],
  ]);
  t.same(await fired(place), [1]);
  t.equal(await place.mount.fault.clear(), 1);
  t.equal(await store, '0');
  await other.check(t, [['load F 0 4', 'held']]);
  await waiting(place, 0);
});

t.test('requests do not count as points, nor points as requests', skip, async (t) => {
  const place = await daxMount(t);
  const one = await mapper(t, place);
  await place.mount.fault.add({ op: 'point', path: '**', action: { do: 'delay', delayMs: 0 } });
  await place.mount.fault.add({ op: 'any', path: '**', action: { do: 'delay', delayMs: 0 } });
  await one.check(t, [['store F 0 x', '0']]);
  const [points, requests] = await place.mount.fault.list();
  t.ok(points!.matched > 0, 'a store comes past points');
  t.equal(requests!.matched, 0, 'and is no request');
  await one.check(t, [['seek F data 0', '0']]);
  t.equal((await place.mount.fault.list())[0]!.matched, points!.matched);
  await t.rejects(
    place.mount.fault.add({ op: 'point', path: '**', action: { do: 'error', code: 'EIO' } }),
    { message: /error applies to/ },
  );
});

t.test(
  'half of the points are held when chance is one half, and a seed says which',
  skip,
  async (t) => {
    const place = await daxMount(t);
    const one = await mapper(t, place);
    const rule = {
      op: 'point',
      path: '**',
      chance: 0.5,
      action: { do: 'delay', delayMs: 0 },
    } as const;
    for (const seed of [7, 7, 8]) await place.mount.fault.add({ ...rule, seed });
    for (let round = 0; round < 20; round++) {
      await one.check(t, [
        ['store F 0 x', '0'],
        ['fsync F', '0'],
      ]);
    }
    // Each rule counts, and the first whose turn it is fires.
    const [first, second, third] = await place.mount.fault.list();
    t.ok(first!.fired > 0 && first!.fired < first!.matched, `${first!.fired} of ${first!.matched}`);
    t.equal(second!.fired, 0, 'the same seed has the same turns');
    t.ok(third!.fired > 0, 'another seed holds others');
  },
);

t.test('a power cut ends what is held; the store is made on what the cut left', skip, async (t) => {
  const place = await daxMount(t, { crashable: true });
  const one = await mapper(t, place);
  await one.check(t, [
    ['store F 0 kept', '0'],
    ['fsync F', '0'],
  ]);
  await place.mount.fault.add(held('convert'));
  const store = one.call('store F 4096 made');
  await waiting(place, 1);
  await place.mount.crash();
  t.equal(await store, '0');
  await waiting(place, 0);
  await one.check(t, [
    ['load F 0 4', 'kept'],
    ['load F 4096 4', 'made'],
  ]);
});

t.test('a process dies while its fault is held: nothing is left of it', skip, async (t) => {
  const place = await daxMount(t);
  const one = await mapper(t, place);
  const [pid] = mapperPids(place.dir);
  const other = await mapper(t, place);
  await place.mount.fault.add(held('zero the new pages'));
  void one.call('store F 0 lost').catch(() => undefined);
  await waiting(place, 1);
  process.kill(pid!, 'SIGKILL');
  await place.mount.fault.clear();
  await waiting(place, 0);
  await other.check(t, [
    ['load F 0 4', '<.*4>'],
    ['truncate F 0', '0'],
  ]);
});

t.test('a mount ends in order while tasks are held, and keeps what was stored', skip, async (t) => {
  const place = await daxMount(t);
  const one = await mapper(t, place);
  await one.check(t, [['store F 0 kept', '0']]);
  await place.mount.fault.add({ op: 'point', path: '**', action: FOR_EVER });
  void one.call('store G 0 held').catch(() => undefined);
  await waiting(place, 1);
  await place.mount.control.stop(true).catch(() => undefined);
  t.equal(await place.mount.exited, 0);
  const { openRegion, lockFile } = loadNative();
  t.same(checkImage(place.imageDir, { repair: false, openRegion, lockFile }), []);
  await mounted(t, place);
  t.equal(readFileSync(join(place.dir, 'f'), 'latin1').slice(0, 4), 'kept');
});

interface Growing {
  place: DaxPlace;
  /** Of these, the first two pages of the file f are written, and are F. */
  writer: Mapper;
  mapper: Mapper;
  /** Of the process that maps all of f as F. */
  mapperPid: number;
  /** The write that is going to give the file a room behind those two pages waits; now it goes on. */
  goOn: () => Promise<void>;
}

const PAGE = 4096;
const NO_COLLAPSE = `fallocate F 8 ${64 * PAGE + 1} ${PAGE}`;

/**
 * A file of so many bytes, and a write to it that waits for a fault that is held: who comes next finds
 * what native service has not told yet, since no event and no request comes in between.
 */
async function growing(t: Test, sizeBytes: number): Promise<Growing> {
  const place = await daxMount(t, { commitSeconds: 3600 });
  const mapper = Mapper.direct(t, place.dir);
  await mapper.check(t, [
    ['open F f rw+creat', '0'],
    [`truncate F ${sizeBytes}`, '0'],
    [`map F F 0 ${16 * PAGE} shared`, '0'],
  ]);
  const [mapperPid = 0] = mapperPids(place.dir);
  const holder = Mapper.direct(t, place.dir);
  const writer = Mapper.plain(t, place.dir);
  await writer.check(t, [
    ['open F f rw', '0'],
    [`write F 1 ${PAGE - 1}`, '1'],
  ]);
  await holder.check(t, [
    ['open F f rw', '0'],
    [`map F F 0 ${PAGE} shared`, '0'],
  ]);
  const { id } = await place.mount.fault.add(held('lock the entry', 'f'));
  const store = holder.call('store F 0 held');
  await waiting(place, 1);
  const write = writer.call(`write F 2 ${2 * PAGE - 1}`);
  await waiting(place, 2);
  const goOn = async (): Promise<void> => {
    await place.mount.fault.clear(id);
    t.same([await store, await write], ['0', '1']);
  };
  return { place, writer, mapper, mapperPid, goOn };
}

async function nativeWrites({ mount }: DaxPlace): Promise<number> {
  return (await mount.info()).daemon.counters?.nativeWrites ?? 0;
}

t.test('a page that a file gets natively while a fault waits is no SIGBUS', skip, async (t) => {
  const { place, writer, mapper, goOn } = await growing(t, 0);
  // A change that is held before it does anything, and then refused, keeps the fault waiting.
  await place.mount.fault.add({ ...held('change the map', 'f'), nth: 2 });
  const shifter = Mapper.direct(t, place.dir);
  await shifter.check(t, [['open F f rw', '0']]);
  const shift = shifter.call(NO_COLLAPSE);
  await waiting(place, 3);
  const load = mapper.call(`load F ${2 * PAGE} 6`);
  await waiting(place, 4);
  await goOn();
  await waiting(place, 2);
  const before = await nativeWrites(place);
  await writer.check(t, [[`write F native ${2 * PAGE}`, '6']]);
  t.equal((await nativeWrites(place)) - before, 1);
  await place.mount.fault.clear();
  t.equal(await shift, 'EINVAL');
  t.equal(await load, 'native');
});

t.test('a load that waited while its file got a room shows what comes there', skip, async (t) => {
  const { writer, mapper, mapperPid, place, goOn } = await growing(t, 8 * PAGE);
  const load = mapper.call(`load F ${2 * PAGE} 6`);
  await waiting(place, 3);
  // It is told to show the page, and does not answer.
  await stop(mapperPid);
  await goOn();
  let isWritten = false;
  const write = writer.call(`write F native ${2 * PAGE}`).finally(() => {
    isWritten = true;
  });
  const waits = async () => (await place.mount.info()).daemon.dax?.waiting === 2;
  while (!isWritten && !(await waits())) await sleep(5);
  process.kill(mapperPid, 'SIGCONT');
  t.equal(await write, '6');
  await load;
  await mapper.check(t, [[`load F ${2 * PAGE} 6`, 'native']]);
});

t.test('a fault that fills a hole ends the room that the file has there', skip, async (t) => {
  const { place, writer, mapper, mapperPid, goOn } = await growing(t, 8 * PAGE);
  const store = mapper.call(`store F ${3 * PAGE} stored`);
  await waiting(place, 3);
  // It is told to show the page, and does not answer.
  await stop(mapperPid);
  await goOn();
  let areWritten = false;
  const writes = Promise.all([
    writer.call(`write F before ${2 * PAGE}`),
    writer.call(`write F behind ${3 * PAGE + 100}`),
  ]).finally(() => {
    areWritten = true;
  });
  const waits = async () => (await place.mount.info()).daemon.dax?.waiting === 2;
  while (!areWritten && !(await waits())) await sleep(5);
  process.kill(mapperPid, 'SIGCONT');
  t.same([await store, await writes], ['0', ['6', '6']]);
  await writer.check(t, [[`read F 6 ${2 * PAGE}`, 'before']]);
  const page = `stored<.*94>behind<.*${PAGE - 106}>`;
  await writer.check(t, [[`read F ${PAGE} ${3 * PAGE}`, page]]);
  await mapper.check(t, [[`load F ${3 * PAGE} ${PAGE}`, page]]);
});
