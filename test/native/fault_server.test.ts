/** The fault server, driven by real processes that speak native/wire.h by themselves. */
import { readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { loadNative } from '../../lib/native.js';
import { type FaultClient, FaultPeer, SHARED, STORABLE, SYNC } from './fault_peer.js';
import { scratchFolder, scratchRegion } from './scratch.js';

const TMPFS_MAGIC = 0x01021994;
const PRIVATE = 0;

t.test('a fault is answered with a page of the region', async (t) => {
  const peer = new FaultPeer(t);
  peer.region.storeFlushed(8 * 4096, Buffer.from([42]));
  const { client, number } = await peer.mapped(7, 16, SHARED);
  client.tell('load 3');
  t.match(await peer.next('fault'), {
    client: number,
    mapping: 7,
    filePage: 3,
    isWrite: false,
    isProtected: false,
  });
  const { done, number: command } = await peer.show(7, 0, 16, 5, 0);
  t.match(done, { client: number, number: command, error: 0 });
  peer.server.wake(7, 3, 1);
  t.equal(await client.says('load'), 'load 3 42');

  client.tell('store 3 9');
  t.match(await peer.next('fault'), { mapping: 7, filePage: 3, isWrite: true, isProtected: true });
  peer.server.writeProtect(7, 3, 1, false);
  t.equal(await client.says('store'), 'store 3 9');
  t.equal(peer.number(8), 9);

  peer.protect(7, 0, 16);
  client.tell('store 3 10');
  t.match(await peer.next('fault'), { filePage: 3, isProtected: true }, 'told again');
  peer.server.writeProtect(7, 3, 1, false);
  await client.says('store');

  client.tell('store 4 8');
  await peer.next('fault');
  await peer.install(7, 4, 1, 30, STORABLE);
  await client.says('store 4');
  t.equal(peer.number(30), 8);
  t.match(peer.server.counters(), { clients: 1, mappings: 1, faults: 4, commands: 2 });
});

t.test('zeroes, errors and traps are shown', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(1, 8, SHARED);
  client.tell('load 0');
  await peer.next('fault');
  peer.server.show(1, 0, 4, 'zero', 0, 0);
  peer.server.show(1, 4, 4, 'bus', 0, 0);
  while ((await peer.next('done')).number < 2);
  peer.server.wake(1, 0, 8);
  t.equal(await client.says('load'), 'load 0 0');
  client.tell('store 5 1');
  t.equal(await client.says('bus'), 'bus 5');
  // Over pages that are not registered, too: those that are get protected all the same.
  peer.server.show(1, 6, 2, 'region', 2, STORABLE);
  await peer.next('done');
  peer.protect(1, 0, 8);
  client.tell('store 7 1');
  t.match(await peer.next('fault'), { filePage: 7, isProtected: true });
  peer.server.writeProtect(1, 7, 1, false);
  await client.says('store 7');

  client.tell('store 1 1');
  t.match(await peer.next('fault'), { filePage: 1, isWrite: true, isProtected: true });
  peer.server.show(1, 0, 8, 'trap', 0, 0);
  await peer.next('done');
  peer.server.wake(1, 1, 1);
  t.match(await peer.next('fault'), { filePage: 1, isWrite: true, isProtected: false });
  await peer.install(1, 1, 1, 9, STORABLE);
  await client.says('store 1');
  t.equal(peer.number(9), 1);
});

t.test('a fault is told once until it is answered, and all its threads go on', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(1, 4, SHARED);
  client.tell('load 2');
  await peer.next('fault');
  client.tell('load 2');
  client.tell('store 2 5');
  client.tell('load 3');
  t.match(await peer.next('fault'), { filePage: 3 }, 'nothing of page 2 in between');
  await peer.install(1, 0, 4, 10, STORABLE);
  await client.says('load 2');
  await client.says('load 2');
  await client.says('store 2');
  await client.says('load 3');
  t.same(peer.events, []);
});

t.test('a part that is unmapped is told, and the others stay', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 16, SHARED);
  t.equal(await client.ask('unmap 4 2'), 'unmap 0');
  t.match(await peer.next('unmapped'), { mapping: 3, filePage: 4, pageCount: 2 });
  t.equal(peer.server.show(3, 4, 2, 'zero', 0, 0), 0, 'nobody could see it');
  client.tell('load 6');
  t.match(await peer.next('fault'), { mapping: 3, filePage: 6 });
  await peer.install(3, 0, 16, 1);
  t.equal(await client.says('load'), 'load 6 0');
  t.equal(await client.ask('unmap 0 16'), 'unmap 0');
  t.match(await peer.next('unmapped'), { filePage: 0, pageCount: 4 });
  t.match(await peer.next('unmapped'), { filePage: 6, pageCount: 10 });
  t.equal(peer.server.counters().mappings, 0);
  t.equal(peer.server.show(3, 0, 1, 'zero', 0, 0), 0, 'nobody to wait for');
  peer.server.wake(3, 0, 1);
  peer.protect(3, 0, 1);
});

t.test('a thread whose mapping goes while it waits tries again', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 8, SHARED);
  client.tell('load 3');
  await peer.next('fault');
  await client.ask('anew 3 1');
  t.equal(await client.ask('forget 3 1'), 'forget 0');
  t.equal(await client.says('load 3'), 'load 3 0');
  await peer.next('unmapped');

  t.equal(await client.ask('forget 5 1'), 'forget 0');
  client.tell('load 5');
  // Most likely it faults before there is anything else: it may not wait for an answer then.
  await new Promise((resolve) => setTimeout(resolve, 100));
  await client.ask('anew 5 1');
  t.equal(await client.says('load 5'), 'load 5 0');
  await peer.next('unmapped');
  t.same(peer.events, [], 'a fault of no mapping is not told');
});

t.test('calls are refused, answered and checked', async (t) => {
  const peer = new FaultPeer(t);
  const { client, number } = await peer.mapped(3, 16, SHARED | SYNC);
  for (const shift of [0, 15]) t.equal(await client.ask(`again ${shift}`), 'again 22', 'overlaps');
  client.tell('again 16');
  t.match(await peer.next('map'), { ino: 5, offset: 0, lengthBytes: 16 * 4096, flags: 3 });
  t.throws(() => peer.server.map(2, 3, 0), 'that number is taken');
  peer.server.map(2, 4, 95);
  t.equal(await client.says('again'), 'again 95');

  client.tell('sync 2 3');
  const sync = await peer.next('sync');
  t.match(sync, { client: number, parts: [{ mapping: 3, filePage: 2, pageCount: 3 }] });
  peer.server.reply(sync.call, 5);
  t.equal(await client.says('sync'), 'sync 5');
  t.equal(await client.ask('sync 100 3'), 'sync 12', 'no mapping there');

  client.tell('fallocate 5 8 4096 8192');
  const fallocate = await peer.next('fallocate');
  t.match(fallocate, { ino: 5, mode: 8, offset: 4096, lengthBytes: 8192 });
  peer.server.reply(fallocate.call, 0);
  t.equal(await client.says('fallocate'), 'fallocate 0');
  t.equal(await client.ask('fallocate 0 8 0 1'), 'fallocate 22', 'no inode');
  t.equal(await client.ask('fallocate 5 8 0 9007199254740992'), 'fallocate 27', 'too long');
  for (const map of [
    '0 0 1 1',
    '5 1 1 1',
    '5 0 0 1',
    '5 0 1 8',
    '5 0 1 5',
    '5 4503599627370496 1 1',
  ]) {
    t.equal(await client.ask(`map ${map}`), 'map 22', map);
  }
  t.same(peer.events, []);
});

t.test('caught stores go through, are noted once, and touch the file', async (t) => {
  const peer = new FaultPeer(t);
  peer.session.shareFile(5, 16 * 4096);
  const { client } = await peer.mapped(3, 16, SHARED);
  await peer.show(3, 0, 16, 100, 0);
  peer.server.catchStores(5, 0, 8, true, false);
  t.equal(await client.ask('store 3 7'), 'store 3 7');
  t.equal(peer.number(103), 7);
  t.same([...peer.server.takeDirtied(5)], [3, 1]);
  t.same([...peer.server.takeDirtied(5)], []);
  t.match(peer.session.takeTouched(), [{ ino: 5, mtimeSec: Number }]);
  peer.protect(3, 0, 16);
  await client.ask('store 3 8');
  t.same([...peer.server.takeDirtied(5)], [3, 1], 'noted again');
  t.equal(peer.server.counters().caughtStores, 2);

  peer.protect(3, 0, 16);
  peer.server.catchStores(5, 3, 1, false, false);
  client.tell('store 3 9');
  t.match(await peer.next('fault'), { filePage: 3, isProtected: true }, 'caught no more');
  peer.server.writeProtect(3, 3, 1, false);
  await client.says('store 3');
  client.tell('store 8 9');
  t.match(await peer.next('fault'), { filePage: 8 }, 'never was');
});

t.test('the second store to one of 16 pages that lie together dirties all of them', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 64, SHARED);
  await peer.show(3, 0, 20, 100, 0);
  await peer.show(3, 20, 44, 200, 0);
  peer.server.catchStores(5, 2, 60, true, false);
  for (const page of [5, 16, 21, 40]) await client.ask(`store ${page} 7`);
  t.same([...peer.server.takeDirtied(5)], [5, 1, 16, 1, 20, 12, 40, 1], 'that one run shows');
  for (const page of [6, 9]) await client.ask(`store ${page} 7`);
  t.same([...peer.server.takeDirtied(5)], [2, 14], 'and that are caught');
  const { caughtStores } = peer.server.counters();
  await client.ask('store 2 7');
  t.equal(peer.server.counters().caughtStores, caughtStores, 'the others go through untold');
});

t.test('msync of a settled file is carried out without being told', async (t) => {
  const peer = new FaultPeer(t);
  peer.session.shareFile(5, 64 * 4096);
  peer.session.setMap(5, 0, 64, new Float64Array([0, 100, 64, 1]), 1);
  const { client } = await peer.mapped(3, 64, SHARED);
  await peer.show(3, 0, 64, 100, 0);
  peer.server.catchStores(5, 0, 64, true, false);
  peer.server.settled(5);
  for (const page of [3, 40]) await client.ask(`store ${page} 7`);
  t.equal(await client.ask('sync 0 16'), 'sync 0');
  await client.ask('store 3 8');
  t.match(peer.server.counters(), { caughtStores: 3, settledSyncs: 1 }, 'protected again');
  t.equal(await client.ask('sync 0 16'), 'sync 0');
  t.same([...peer.server.takeDirtied(5)], [40, 1], 'what is outside of the range stays noted');
  t.same(peer.events, []);

  const { server } = peer;
  const ends: [what: string, end: () => unknown][] = [
    ['metadata changed', () => server.unsettled()],
    ['what is noted was taken', () => server.takeDirtied(5)],
    ['the map is about to change', () => server.catchStores(5, 60, 1, false, false)],
    ['stores were let through', () => server.writeProtect(3, 1, 1, false)],
    ['storable pages are shown', () => peer.install(3, 1, 1, 101, STORABLE)],
    ['the gate is closed', () => peer.session.closeGate(5)],
  ];
  for (const [what, end] of ends) {
    server.settled(5);
    await client.ask('store 5 9');
    await end();
    client.tell('sync 0 64');
    const { call } = await peer.next('sync');
    server.reply(call, 0);
    t.equal(await client.says('sync'), 'sync 0', what);
    if (what === 'the gate is closed') peer.session.openGate(5);
    else if (what !== 'what is noted was taken') t.same([...server.takeDirtied(5)], [5, 1]);
    peer.protect(3, 0, 64);
  }
  t.equal(server.counters().settledSyncs, 2);
});

t.test('pages that were stored to between two syncs are let through together', async (t) => {
  const peer = new FaultPeer(t);
  peer.session.shareFile(5, 128 * 4096);
  peer.session.setMap(5, 0, 128, new Float64Array([0, 100, 128, 1]), 1);
  const { client } = await peer.mapped(3, 128, SHARED);
  const { server } = peer;
  await peer.show(3, 0, 128, 100, 0);
  server.catchStores(5, 0, 128, true, false);
  server.settled(5);
  const caughtBy = async (...pages: number[]): Promise<number> => {
    const before = server.counters().caughtStores;
    for (const page of pages) await client.ask(`store ${page} 7`);
    return server.counters().caughtStores - before;
  };
  const sync = async (): Promise<void> => {
    t.equal(await client.ask('sync 0 128'), 'sync 0');
  };
  t.equal(await caughtBy(3, 40, 80), 3);
  await sync();
  t.equal(await caughtBy(40), 1);
  t.equal(await caughtBy(3, 80), 0, 'they go through untold');
  await sync();
  t.equal(await caughtBy(80, 3), 1, 'having been protected');
  t.same([...server.takeDirtied(5)], [3, 1, 40, 1, 80, 1], 'each is noted, stored to or not');
  peer.protect(3, 0, 128);
  server.catchStores(5, 40, 1, false, false);
  t.equal(await caughtBy(3, 80), 1);
  t.same([...server.takeDirtied(5)], [3, 1, 80, 1], 'but for one that is not to be caught');
  client.tell('store 40 8');
  t.match(await peer.next('fault'), { filePage: 40, isProtected: true }, 'which is told');
  server.writeProtect(3, 40, 1, false);
  await client.says('store 40');

  const inRound: number[] = [];
  for (let round = 0; round < 20; round++) {
    peer.protect(3, 0, 128);
    inRound.push(await caughtBy(3, 80));
    server.takeDirtied(5);
  }
  t.ok(inRound.includes(2), 'now and then it is found out anew');
  t.ok(inRound.filter((count) => count === 1).length >= 15, 'and seldom');
  t.same(peer.events, []);
});

t.test('pages that are synced again and again stay storable for a tick, and noted', async (t) => {
  const peer = new FaultPeer(t);
  peer.session.shareFile(5, 64 * 4096);
  peer.session.setMap(5, 0, 64, new Float64Array([0, 100, 64, 1]), 1);
  const { client } = await peer.mapped(3, 64, SHARED);
  const { server } = peer;
  await peer.show(3, 0, 64, 100, 0);
  server.catchStores(5, 0, 64, true, false);
  const caught = () => server.counters().caughtStores;
  const isCaught = async (): Promise<boolean> => {
    const before = caught();
    await client.ask('store 3 7');
    return caught() > before;
  };

  // What another program does to this machine decides how many syncs a tick has.
  let isKept = false;
  for (let tries = 0; tries < 100 && !isKept; tries++) {
    server.settled(5);
    const before = caught();
    await client.ask(`commits 1000 ${tries + 10}`);
    isKept = caught() - before < 1000;
    t.equal(peer.number(103), tries + 10);
  }
  t.ok(isKept, 'most stores between syncs are not caught');

  let isNoted = false;
  for (let tries = 0; tries < 200 && !isNoted; tries++) {
    server.settled(5);
    await client.ask('commits 100 1');
    const isTold = await isCaught();
    const pages = [...server.takeDirtied(5)];
    isNoted = !isTold && pages[0] === 3;
    peer.protect(3, 0, 64);
  }
  t.ok(isNoted, 'one that is not caught is noted all the same');

  for (let round = 0; round < 20; round++) {
    for (const end of [
      () => server.unsettled(),
      () => server.catchStores(5, 60, 1, false, false),
      () => server.writeProtect(3, 1, 1, false),
    ]) {
      server.settled(5);
      await client.ask('commits 100 2');
      end();
      peer.protect(3, 50, 1); // what was asked before is made
      t.ok(await isCaught(), 'so does what ends the calm');
      peer.protect(3, 0, 64);
      server.takeDirtied(5);
    }
  }

  server.settled(5);
  await client.ask('commits 100 3');
  peer.session.takeTouched();
  const deadline = Date.now() + 20_000;
  while (!(await isCaught()) && Date.now() < deadline);
  t.ok(Date.now() < deadline, 'the tick ends by itself');
  t.match(peer.session.takeTouched(), [{ ino: 5 }], 'and the next store moves mtime');
  t.same(peer.events, []);
});

t.test('msync of a settled file writes whole 2 MiB entries back', async (t) => {
  const peer = new FaultPeer(t);
  peer.session.shareFile(5, 1024 * 4096);
  const { client } = await peer.mapped(3, 1024, SHARED);
  await peer.show(3, 0, 1024, 1, 0);
  peer.server.catchStores(5, 0, 1024, true, true);
  peer.server.settled(5);
  await client.ask('store 100 7');
  await client.ask('store 101 7');
  await client.ask('store 600 7');
  t.equal(await client.ask('sync 511 1'), 'sync 0');
  await client.ask('store 0 7');
  t.equal(peer.server.counters().caughtStores, 4, 'all of the entry was protected');
  t.same([...peer.server.takeDirtied(5)], [0, 1, 600, 1]);
});

t.test('stores that are not caught are told', async (t) => {
  for (const [what, flags, zero] of [
    ['of MAP_SYNC', SHARED | SYNC, false],
    ['to zeroes', SHARED, true],
  ] as const) {
    const peer = new FaultPeer(t);
    const { client } = await peer.mapped(3, 4, flags);
    peer.server.catchStores(5, 0, 4, true, false);
    peer.server.show(3, 0, 4, zero ? 'zero' : 'region', 100, 0);
    await peer.next('done');
    client.tell('store 1 1');
    t.match(await peer.next('fault'), { filePage: 1, isWrite: true, isProtected: true }, what);
    t.same([...peer.server.takeDirtied(5)], [], what);
  }
});

t.test('2 MiB that are caught as one are noted as one where stores lie together', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 1024, SHARED);
  await peer.show(3, 0, 1024, 1, 0);
  peer.server.catchStores(5, 0, 512, true, true);
  peer.server.catchStores(5, 512, 512, true, true);
  peer.server.catchStores(5, 600, 1, false, false);
  await client.ask('store 100 7');
  await client.ask('store 101 7');
  t.same([...peer.server.takeDirtied(5)], [0, 512]);
  await client.ask('store 102 7');
  t.same([...peer.server.takeDirtied(5)], [], 'the others go through untold');
  await client.ask('store 700 7');
  await client.ask('store 701 7');
  t.same([...peer.server.takeDirtied(5)], [688, 16], 'not whole any more');
});

t.test('nine stores that lie apart dirty 2 MiB that are caught as one', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 512, SHARED);
  await peer.show(3, 0, 512, 1, 0);
  peer.server.catchStores(5, 0, 512, true, true);
  for (let block = 0; block < 8; block++) await client.ask(`store ${block * 16} 7`);
  const apart = [0, 1, 16, 1, 32, 1, 48, 1, 64, 1, 80, 1, 96, 1, 112, 1];
  t.same([...peer.server.takeDirtied(5)], apart);
  peer.protect(3, 0, 512);
  for (let block = 0; block < 9; block++) await client.ask(`store ${block * 16} 8`);
  t.same([...peer.server.takeDirtied(5)], [0, 512]);
});

/** 2 MiB of the file at 2 MiB of the region, whose stores are caught as one. */
async function hugePeer(t: Test): Promise<{ peer: FaultPeer; client: FaultClient }> {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 512, SHARED);
  await peer.show(3, 0, 512, 512, 0);
  peer.server.catchStores(5, 0, 512, true, true);
  return { peer, client };
}

/** Until what is noted is taken for good. */
async function noneNoted(peer: FaultPeer, client: FaultClient): Promise<void> {
  while (peer.server.takeDirtied(5).length > 0) await client.ask('load 0');
}

t.test('2 MiB that are stored to are mapped anew, and noted until they are', async (t) => {
  const { peer, client } = await hugePeer(t);
  const { server } = peer;
  await client.ask('silent');
  await client.ask('store 0 7');
  t.equal(server.counters().commands, 1);
  // The helper says that it has the command, but it is not done.
  client.tell('store 1 7');
  await client.says('disobeyed');
  await client.says('store 1 7');
  t.equal(server.counters().commands, 2);
  t.same([...server.takeDirtied(5)], [0, 512]);
  peer.protect(3, 0, 512);
  t.same([...server.takeDirtied(5)], [0, 512], 'may become storable after it was protected');
  await client.ask('obey');
  await noneNoted(peer, client);
  t.same(peer.events, [], 'nobody is told that a command is done of which nobody knew');
  await client.ask('store 2 7');
  t.same([...server.takeDirtied(5)], [], 'it was mapped anew, storable');

  // Now that there is a huge page, the store waits for its mapping.
  peer.protect(3, 0, 512);
  await client.ask('store 100 8');
  await client.ask('silent');
  client.tell('store 101 8');
  await client.says('disobeyed');
  t.same([...server.takeDirtied(5)], [0, 512]);
  t.equal(peer.number(613), 0, 'not stored yet');
  await client.ask('obey');
  await client.says('store 101 8');
  t.equal(peer.number(613), 8);
  t.equal(server.counters().commands, 3);
});

t.test('2 MiB are mapped anew no more where there are no huge pages', async (t) => {
  const { peer, client } = await hugePeer(t);
  const { server } = peer;
  await client.ask('small');
  for (let round = 0; round < 12; round++) {
    await client.ask(`store ${round * 32} 7`);
    await client.ask(`store ${round * 32 + 1} 7`);
    t.equal(server.takeDirtied(5)[1], 512);
    await noneNoted(peer, client);
    peer.protect(3, 0, 512);
  }
  t.equal(server.counters().commands, 1 + 8);
});

t.test('a store to a private mapping becomes the process’s own', async (t) => {
  const peer = new FaultPeer(t);
  peer.region.storeFlushed(100 * 4096, Buffer.from([42]));
  const { client } = await peer.mapped(3, 4, PRIVATE);
  peer.server.show(3, 0, 2, 'region', 100, 0);
  peer.server.show(3, 2, 2, 'zero', 0, 0);
  while ((await peer.next('done')).number < 2);
  t.equal(await client.ask('load 0'), 'load 0 42');
  await client.ask('store 0 1');
  await client.ask('store 3 2');
  t.equal(await client.ask('load 0'), 'load 0 1');
  t.equal(await client.ask('load 3'), 'load 3 2');
  t.equal(peer.number(100), 42);
  t.same(peer.events, []);
});

t.test('no store goes through while a command on its page is under way', async (t) => {
  for (const flags of [SHARED, PRIVATE]) {
    const peer = new FaultPeer(t);
    const { client } = await peer.mapped(3, 5, flags);
    if (flags === SHARED) peer.server.show(3, 0, 5, 'region', 100, 0);
    else peer.server.show(3, 0, 5, 'zero', 0, 0);
    await peer.next('done');
    peer.server.catchStores(5, 0, 5, true, false);
    await client.ask('silent');
    peer.server.show(3, 0, 4, 'trap', 0, 0);
    await client.says('disobeyed');
    client.tell('store 2 7');
    client.tell('load 3');
    await client.says('load 3');
    while (peer.server.counters().heldStores === 0) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    t.same([...peer.server.takeDirtied(5)], []);
    t.equal(await client.ask('store 4 8'), 'store 4 8', 'to the page behind it one does');
    await client.ask('obey');
    await peer.next('done');
    t.match(await peer.next('fault'), { filePage: 2, isWrite: true, isProtected: false });
    await peer.install(3, 0, 4, 200, STORABLE);
    await client.says('store 2');
    t.equal(peer.number(102), 0);
    t.equal(peer.number(202), flags === SHARED ? 7 : 0);
  }
});

t.test('stores to private pages wait while their process holds them', async (t) => {
  for (const flags of [SHARED, PRIVATE]) {
    const peer = new FaultPeer(t);
    const { client } = await peer.mapped(3, 5, flags);
    peer.server.show(3, 0, 5, flags === SHARED ? 'region' : 'zero', 100, 0);
    await peer.next('done');
    peer.server.catchStores(5, 0, 5, true, false);
    t.equal(await client.ask('hold 1 3'), 'hold 0');
    for (const page of [0, 4]) t.equal(await client.ask(`store ${page} 8`), `store ${page} 8`);
    client.tell('store 3 7');
    if (flags === SHARED) {
      t.equal(await client.says('store 3'), 'store 3 7', 'of a shared mapping it does not');
      continue;
    }
    while (peer.server.counters().heldStores === 0) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    t.equal(await client.ask('load 3'), 'load 3 0');
    t.equal(await client.ask('hold 0 0'), 'hold 0');
    t.equal(await client.says('store 3'), 'store 3 7');
    t.equal(await client.ask('store 2 6'), 'store 2 6');
    const end = 2 ** 47 / 4096;
    t.equal(await client.ask(`hold 0 ${end}`), 'hold 22', 'more than there is');
  }
});

t.test('many commands are done in order', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 400, SHARED);
  let last = 0;
  for (let page = 0; page < 400; page++) {
    peer.region.storeFlushed((1000 + page) * 4096, Buffer.from([page & 255]));
    last = peer.server.show(3, page, 1, 'region', 1000 + page, 0);
  }
  for (let number = 0, before = 0; number < last; before = number) {
    ({ number } = await peer.next('done'));
    t.ok(number > before);
  }
  for (const page of [0, 63, 64, 255, 399]) {
    t.equal(await client.ask(`load ${page}`), `load ${page} ${page & 255}`);
  }
});

t.test('a process that ends completes its commands', async (t) => {
  const peer = new FaultPeer(t);
  const { client, number } = await peer.mapped(3, 4, SHARED);
  await client.ask('silent');
  const command = peer.server.show(3, 0, 4, 'zero', 0, 0);
  await client.says('disobeyed');
  client.kill();
  t.match(await peer.next('done'), { client: number, number: command, error: 3 });
  t.match(await peer.next('gone'), { client: number, reason: 'it ended' });
  t.equal(peer.server.show(3, 0, 4, 'zero', 0, 0), 0);
  t.match(peer.server.counters(), { clients: 0, mappings: 0 });
});

t.test('a process that runs and does not obey is killed', async (t) => {
  const peer = new FaultPeer(t, { silenceMsMax: 1 });
  const { client, number } = await peer.mapped(3, 4, SHARED);
  const exited = new Promise((resolve) =>
    client.child.once('exit', (_, signal) => resolve(signal)),
  );
  await client.ask('silent');
  peer.server.show(3, 0, 4, 'zero', 0, 0);
  await peer.next('done');
  t.match(await peer.next('gone'), { client: number, reason: /killed/ });
  t.equal(await exited, 'SIGKILL');
});

t.test('what a process is told to take away is protected as long as it is there', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 4, SHARED);
  await peer.install(3, 0, 4, 10, STORABLE);
  await client.ask('silent');
  peer.server.show(3, 0, 4, 'trap', 0, 0);
  await client.says('disobeyed');
  await client.ask('store 2 5');
  t.equal(peer.number(12), 5);
  peer.protect(3, 0, 4);
  client.tell('store 2 6');
  t.match(await peer.next('fault'), { filePage: 2, isProtected: true });
  t.equal(peer.number(12), 5);
});

t.test('a process that is stopped obeys all the same, and stays stopped', async (t) => {
  const peer = new FaultPeer(t, { silenceMsMax: 20_000 });
  const { client } = await peer.mapped(3, 4, SHARED);
  const state = () => /\) (.)/.exec(readFileSync(`/proc/${client.child.pid}/stat`, 'utf8'))?.[1];
  for (let round = 0; round < 2; round++) {
    client.child.kill('SIGSTOP');
    while (state() !== 'T') await sleep(1);
    for (const kind of ['zero', 'trap'] as const) {
      const command = peer.server.show(3, 0, 4, kind, 0, 0);
      t.match(await peer.next('done'), { number: command, error: 0 });
      t.equal(state(), 'T');
    }
    client.child.kill('SIGCONT');
  }
  t.ok(await client.ask('silent'), 'and goes on when it may');
});

const RAW: [string, string][] = [
  ['nothing-wrong', 'raw 0'],
  ['magic', 'raw end'],
  ['version', 'raw 93'],
  ['call', 'raw end'],
  ['short', 'raw end'],
  ['long', 'raw end'],
  ['many', 'raw end'],
  ['flags', 'raw 22'],
  ['no-uffd', 'raw 22'],
  ['file', 'raw 22'],
  ['event', 'raw 22'],
  ['new', 'raw 22'],
];

t.test('who says hello wrongly is refused', async (t) => {
  const peer = new FaultPeer(t);
  const client = peer.client();
  for (const [how, answer] of RAW) {
    t.equal(await client.ask(`raw ${how}`), answer, how);
    if (answer !== 'raw 0') continue;
    await peer.next('attached');
    await peer.next('gone');
  }
  t.same(peer.events, []);
  t.equal(peer.server.counters().clients, 0);
  t.equal(await client.ask('hello'), 'hello 0 2', 'and may still do it right');
});

t.test('who breaks the protocol later is gone with all its mappings', async (t) => {
  for (const how of ['magic', 'call', 'short', 'long', 'descriptor']) {
    const peer = new FaultPeer(t);
    const { client, number } = await peer.mapped(3, 4, SHARED);
    t.equal(await client.ask(`raw joined-${how}`), 'raw end', how);
    t.match(await peer.next('gone'), { client: number, reason: /broke the protocol/ }, how);
    t.equal(peer.server.counters().mappings, 0, how);
  }
});

const notRoot = process.getuid?.() === 0 ? false : 'needs to become another user';
t.test('a child is who says hello where its parent was let in', { skip: notRoot }, async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.attached();
  const said = await client.ask('child');
  const { pid } = await peer.next('attached');
  t.equal(said, `child 0 ${pid}`, 'another user, too');
  t.not(pid, client.child.pid);
  t.equal(peer.server.counters().clients, 2);
});

t.test('another user is refused', { skip: notRoot }, async (t) => {
  const peer = new FaultPeer(t);
  t.equal(peer.socketMode, 0o600);
  peer.letEverybodyIn();
  const client = peer.client(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']);
  t.equal(await client.ask('raw no-uffd'), 'raw 1');
  t.same(peer.events, []);
});

t.test('a server that closes leaves nothing, and its clients know', async (t) => {
  const peer = new FaultPeer(t);
  const { client } = await peer.mapped(3, 4, SHARED);
  peer.server.close();
  peer.server.close();
  t.equal(await client.ask('sync 0 1'), 'sync -1');
  t.throws(() => peer.socketMode);
  t.same(peer.server.take(), []);
  t.equal(peer.server.show(3, 0, 1, 'zero', 0, 0), 0);
  t.equal(peer.server.counters().mappings, 1, 'as it was');
});

t.test('a region on a disk is refused', async (t) => {
  const region = scratchRegion(t, 4);
  if (statfsSync(region.path).type === TMPFS_MAGIC) return t.pass('temporary files are no disk');
  const { session } = new FaultPeer(t);
  const socketPath = join(scratchFolder(t), 'shims');
  const open = () => loadNative().openFaultServer({ socketPath, region, session, onEvents() {} });
  t.throws(open, { code: 'EOPNOTSUPP' });
});
