/** The fault server, driven by real processes that speak native/wire.h by themselves. */
import { readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { loadNative } from '../../lib/native.js';
import { FaultPeer, SHARED, STORABLE, SYNC } from './fault_peer.js';
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

const LIES: [answer: string, isBroken: boolean][] = [
  ['0 64', false],
  ['0 65', true],
  ['0 4294967295', true],
  ['12 0', false],
  ['-1 0', true],
  ['-2147483648 0', true],
];

t.test('a helper whose answer makes no sense is gone, and others are served on', async (t) => {
  const peer = new FaultPeer(t);
  const { client: other } = await peer.mapped(1, 4, SHARED);
  for (const [index, [answer, isBroken]] of LIES.entries()) {
    const mapping = 2 + index;
    const { client, number } = await peer.mapped(mapping, 4, SHARED);
    await client.ask(`lie ${answer}`);
    const command = peer.server.show(mapping, 0, 4, 'zero', 0, 0);
    const [error, collisions] = isBroken ? [3, 0] : answer.split(' ').map(Number);
    t.match(await peer.next('done'), { client: number, number: command, error, collisions });
    if (isBroken) {
      const reason = 'its helper broke the protocol';
      t.match(await peer.next('gone'), { client: number, reason }, answer);
    }
    await peer.show(1, 0, 4, 10, STORABLE);
    t.equal(await other.ask(`store 0 ${index}`), `store 0 ${index}`);
    client.kill();
    if (!isBroken) await peer.next('gone');
  }
  t.match(peer.server.counters(), { clients: 1, mappings: 1 });
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
