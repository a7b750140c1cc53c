/** The fault server, driven by real processes that speak native/wire.h by themselves. */
import t from 'tap';
import { FaultPeer, SHARED, STORABLE } from './fault_peer.js';

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

  client.tell('store 4 8');
  await peer.next('fault');
  await peer.install(7, 4, 1, 30, STORABLE);
  await client.says('store 4');
  t.equal(peer.number(30), 8);
});
