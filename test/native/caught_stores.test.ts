/** Stores that are caught, what is let through together, and the syncs that need no JavaScript. */
import t, { type Test } from 'tap';
import { type FaultClient, FaultPeer, SHARED, STORABLE, SYNC } from './fault_peer.js';

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

  for (let round = 0; round < 20; round++) {
    server.settled(5);
    await client.ask('commits 100 2');
    server.unsettled();
    await client.ask('store 3 7');
    peer.session.takeTouched();
    server.settled(5);
    await client.ask('sync 0 64');
    t.ok(
      await isCaught(),
      'nor is kept what was stored before, whose time may have been taken over',
    );
    peer.protect(3, 0, 64);
    server.takeDirtied(5);
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

t.test(
  'what stays storable is shown to processes while it is all that a sync flushes',
  async (t) => {
    const peer = new FaultPeer(t);
    peer.session.shareFile(5, 64 * 4096);
    peer.session.setMap(5, 0, 64, new Float64Array([0, 100, 20, 1, 20, 300, 44, 1]), 2);
    peer.session.publishFile(5);
    const { client } = await peer.mapped(3, 64, SHARED);
    const { server } = peer;
    await peer.show(3, 0, 20, 100, 0);
    await peer.show(3, 20, 44, 300, 0);
    server.catchStores(5, 0, 64, true, false);
    const kept = async (): Promise<number[]> =>
      (await client.ask('kept 5')).split(' ').slice(1).map(Number);
    t.same(await kept(), [0], 'nothing at first');
    let last = 0;
    // What another program does to this machine decides how many syncs a tick has.
    const show = async (): Promise<boolean> => {
      for (let tries = 0; tries < 500; tries++) {
        server.settled(5);
        await client.ask('commits 100 7');
        const [number = 0, ...runs] = await kept();
        if (number === 0) continue;
        t.same(runs, [3, 103, 1, 40, 320, 1]);
        t.ok(number > last, 'by another number each time');
        last = number;
        return true;
      }
      return false;
    };
    const ends: [what: string, end: () => unknown][] = [
      ['a store to another page', () => client.ask('store 50 7')],
      ['metadata changed', () => server.unsettled()],
      ['what is noted was taken', () => server.takeDirtied(5)],
      ['the map is about to change', () => server.catchStores(5, 60, 1, false, false)],
      ['stores were let through', () => server.writeProtect(3, 1, 1, false)],
      ['storable pages are shown', () => peer.install(3, 1, 1, 101, STORABLE)],
    ];
    for (const [what, end] of ends) {
      for (let round = 0; round < 5; round++) {
        t.ok(await show());
        await end();
        t.same(await kept(), [0], what);
        server.takeDirtied(5);
        peer.protect(3, 0, 64);
      }
    }

    t.ok(await show());
    const deadline = Date.now() + 20_000;
    while ((await kept())[0] !== 0 && Date.now() < deadline);
    t.ok(Date.now() < deadline, 'the tick ends by itself');

    server.takeDirtied(5);
    peer.protect(3, 0, 64);
    for (let round = 0; round < 20; round++) {
      server.settled(5);
      await client.ask('commits 100 7 16');
      t.same(await kept(), [0], 'what was not synced has to be, too');
    }
    peer.session.unshareFile(5);
    t.same(peer.events, []);
  },
);

t.test(
  'where a file is synced again and again, stores dirty 64 pages, and many stay storable',
  async (t) => {
    const peer = new FaultPeer(t);
    const { server } = peer;
    peer.session.shareFile(5, 512 * 4096);
    peer.session.setMap(5, 0, 512, new Float64Array([0, 1, 512, 1]), 1);
    const { client } = await peer.mapped(3, 512, SHARED);
    await peer.show(3, 0, 512, 1, 0);
    server.catchStores(5, 0, 512, true, true);
    const caught = () => server.counters().caughtStores;
    // What another program does to this machine decides how many syncs a tick has.
    const wanted = [64, 64, 192, 64, 320, 64];
    let isKept = false;
    for (let tries = 0; tries < 100 && !isKept; tries++) {
      server.settled(5);
      const before = caught();
      await client.ask(`bursts 1000 ${tries}`);
      const isSeldom = caught() - before < 1000;
      isKept = [...server.takeDirtied(5)].join() === wanted.join() && isSeldom;
      peer.protect(3, 0, 512);
    }
    t.ok(isKept);
    t.same(peer.events, []);
  },
);

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
