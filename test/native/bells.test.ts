// Requests by bells (native/wire_bells.h), rung by a client that need not be honest.
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { type FaultClient, FaultPeer, SHARED } from './fault_peer.js';

const SYNC = 5;
const ASKED = 2;

interface Place {
  peer: FaultPeer;
  client: FaultClient;
  number: number;
}

/** 64 written pages of inode 5 are mapped, and there are bells. */
async function withBells(t: Test): Promise<Place> {
  const peer = new FaultPeer(t);
  peer.session.shareFile(5, 64 * 4096);
  peer.session.setMap(5, 0, 64, new Float64Array([0, 100, 64, 1]), 1);
  const { client, number } = await peer.mapped(3, 64, SHARED);
  await peer.show(3, 0, 64, 100, 0);
  peer.server.catchStores(5, 0, 64, true, false);
  t.equal(await client.ask('bells'), 'bells 0');
  return { peer, client, number };
}

t.test('a sync that is rung needs no call', async (t) => {
  const { peer, client } = await withBells(t);
  peer.server.settled(5);
  for (const bell of [0, 15, 0]) {
    await client.ask('store 3 7');
    t.equal(await client.ask(`ring ${bell} ${ASKED} ${SYNC} 0 64`), `ring ${bell} 3 0`);
  }
  t.match(
    peer.server.counters(),
    { caughtStores: 3, settledSyncs: 3, rungSyncs: 3 },
    'protected each time',
  );
  t.same([...peer.server.takeDirtied(5)], []);
  t.same(peer.events, []);
});

t.test('what is not settled is told, and answered where it was asked', async (t) => {
  const { peer, client } = await withBells(t);
  client.tell(`ring 2 ${ASKED} ${SYNC} 8 8`);
  const { call, parts } = await peer.next('sync');
  t.match(parts, [{ mapping: 3, filePage: 8, pageCount: 8 }]);
  client.tell(`ring 4 ${ASKED} ${SYNC} 0 1`);
  const other = await peer.next('sync');
  peer.server.reply(other.call, 0);
  t.equal(await client.says('ring'), 'ring 4 3 0');
  peer.server.reply(call, 5);
  t.equal(await client.says('ring'), 'ring 2 3 5');
  peer.server.reply(call, 0);
  t.equal(await client.ask(`ring 2 ${ASKED} ${SYNC} 100 3`), 'ring 2 3 12', 'no mapping there');
});

t.test('nothing that is asked is believed', async (t) => {
  const { peer, client } = await withBells(t);
  t.equal(await client.ask('bells'), 'bells 17', 'there are some already');
  t.equal(await client.ask(`ring 0 ${ASKED} 99 0 1`), 'ring 0 3 22', 'no such call');
  t.equal(await client.ask(`ring 0 ${ASKED} ${SYNC} 0 0`), 'ring 0 3 22', 'no range');
  const beyond = 2 ** 51;
  t.equal(await client.ask(`ring 0 ${ASKED} ${SYNC} ${beyond} 1`), 'ring 0 3 22', 'no address');
  for (const state of [0, 1, 3]) {
    t.equal(await client.ask(`ring 1 ${state} ${SYNC} 0 1`), `ring 1 ${state} 0`, 'not asked');
  }
  t.same(peer.events, []);

  const { client: over } = await peer.mapped(4, 64, SHARED);
  over.tell('bells-over');
  t.equal(await over.says('bells'), 'bells 22', 'they are no mapping');
});

t.test('one call at a time is under way for a bell', async (t) => {
  const { peer, client } = await withBells(t);
  client.tell(`ring 1 ${ASKED} ${SYNC} 0 1`);
  const { call } = await peer.next('sync');
  client.tell('touch 1');
  t.equal(await client.ask(`ring 2 ${ASKED} ${SYNC} 0 0`), 'ring 2 3 22', 'others are served');
  t.same(peer.events, []);
  await client.ask('number 1 9');
  peer.server.reply(call, 5);
  t.equal(await client.says('ring'), 'ring 1 2 0', 'the answer is not that of another request');
  await client.says('touch 1');
  client.tell(`ring 1 ${ASKED} ${SYNC} 0 1`);
  const next = await peer.next('sync');
  peer.server.reply(next.call, 0);
  t.equal(await client.says('ring'), 'ring 1 3 0');
});

t.test('who is killed while it waits leaves nothing behind', async (t) => {
  const { peer, client, number } = await withBells(t);
  client.tell(`ring 1 ${ASKED} ${SYNC} 0 1`);
  const { call } = await peer.next('sync');
  client.child.kill('SIGKILL');
  await once(client.child, 'exit');
  t.match(await peer.next('gone'), { client: number });
  peer.server.reply(call, 0);
  t.match(peer.server.counters(), { clients: 0 });
});
