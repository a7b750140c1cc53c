/** Stores, flushes and fences of mapped pages: recorded, and undecided until they are durable. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadNative } from '../../lib/native.js';
import { FaultPeer, SHARED, STORABLE } from './fault_peer.js';
import {
  KIND,
  makeFifo,
  number,
  type RawEvent,
  readRawTrace,
  writeTraceHead,
} from './raw_trace.js';
import { scratchFolder } from './scratch.js';

const DRAIN = 1;
const LINE_BYTES = 64;

function recording(t: Test) {
  const folder = scratchFolder(t);
  const path = join(folder, 'trace');
  const output = makeFifo(join(folder, 'stdout'));
  writeTraceHead(path);
  const recorder = loadNative().openRecorder(path, {
    outputs: [{ path: output, stream: 'stdout' }],
  });
  t.teardown(() => recorder.close());
  const peer = new FaultPeer(t, { recorder });
  const events = () => {
    recorder.sync();
    return readRawTrace(path).events;
  };
  return { recorder, peer, output, events };
}

/** Stores, flushes, fences and outputs in words: kind, region offset, bytes. */
function words(events: RawEvent[]): string[] {
  return events.flatMap(({ kind, flags, body }) => {
    if (kind === KIND.store) {
      return [`store${flags ? ' flushed' : ''} ${number(body, 0)} ${body.length - 16}`];
    }
    if (kind === KIND.flush) return [`flush ${number(body, 0)} ${number(body, 8)}`];
    if (kind === KIND.fence) return ['fence'];
    if (kind === KIND.output) return ['output'];
    return [];
  });
}

t.test('a store is recorded before the flush that follows it', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 16, SHARED);
  peer.server.watchPages(100, 2);
  await peer.show(3, 0, 2, 100, STORABLE);
  await client.ask('store 1 7');
  t.equal(await client.ask('flush 4096 4 0'), 'flush 0');
  t.equal(await client.ask(`flush 0 0 ${DRAIN}`), 'flush 0');
  await client.ask('store 0 9');
  t.equal(await client.ask(`flush 4000 200 ${DRAIN}`), 'flush 0');
  t.same(words(events()), [
    `store ${101 * 4096} ${LINE_BYTES}`,
    `flush ${101 * 4096} 4`,
    'fence',
    `store ${100 * 4096} ${LINE_BYTES}`,
    `flush ${100 * 4096 + 4000} 200`,
    'fence',
  ]);
  t.equal(await client.ask(`flush 4096 4 2`), 'flush 22');
});

t.test('a caught store is recorded, and its page looked at from then on', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 16, SHARED);
  await peer.show(3, 0, 16, 100, 0);
  peer.server.catchStores(5, 0, 16, true, false);
  await client.ask('store 2 7');
  await client.ask('store 3 7');
  peer.server.sweepPages(102, 1, true);
  t.same(words(events()), [`store ${102 * 4096} 64`]);
  await client.ask('store 2 8');
  peer.sweep();
  peer.sweep();
  t.same(words(events()).slice(1), [`store ${103 * 4096} 64`], 'page 102 was forgotten');
});

t.test('what the daemon changes in a watched page is its own', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 1, SHARED);
  peer.server.watchPages(100, 1);
  await peer.show(3, 0, 1, 100, STORABLE);
  await client.ask('store 0 7');
  peer.region.storeFlushed(100 * 4096 + 32, Buffer.alloc(64, 1));
  peer.region.flush(100 * 4096, 4096);
  peer.sweep();
  t.same(words(events()), [
    `store ${100 * 4096} 64`,
    `store flushed ${100 * 4096 + 32} 64`,
    `flush ${100 * 4096} 4096`,
  ]);
});

t.test('stores that were looked for before a print come before it, later ones after', async (t) => {
  const { recorder, peer, output, events } = recording(t);
  const { client } = await peer.mapped(3, 1, SHARED);
  peer.server.watchPages(100, 1);
  await peer.show(3, 0, 1, 100, STORABLE);
  await client.ask('store 0 7');
  // What the shim does before a program prints.
  t.equal(await client.ask(`flush 0 0 ${DRAIN}`), 'flush 0');
  writeFileSync(output, 'acknowledged\n');
  await client.ask('store 0 8');
  recorder.drain();
  t.same(words(events()), [`store ${100 * 4096} 64`, 'fence', 'output', `store ${100 * 4096} 64`]);
});

t.test('a look finds stores, and makes nothing durable', async (t) => {
  const { recorder, peer, output, events } = recording(t);
  const { client } = await peer.mapped(3, 1, SHARED);
  peer.server.watchPages(100, 1);
  await peer.show(3, 0, 1, 100, STORABLE);
  await client.ask('store 0 7');
  t.equal(await client.ask('flush 0 0 0'), 'flush 0');
  writeFileSync(output, 'said\n');
  await client.ask('store 0 8');
  recorder.drain();
  t.same(words(events()), [`store ${100 * 4096} 64`, 'output', `store ${100 * 4096} 64`]);
});

t.test('a flush and a fence are of the thread that asked for them', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 1, SHARED);
  await peer.show(3, 0, 1, 100, STORABLE);
  t.equal(await client.ask(`flush 0 64 ${DRAIN}`), 'flush 0');
  const threads = events().flatMap(({ kind, body }) => {
    if (kind === KIND.flush) return [body.readUInt32LE(24)];
    return kind === KIND.fence ? [body.readUInt32LE(8)] : [];
  });
  const { pid } = client.child;
  t.same(threads, [pid, pid], 'its only thread has the number of the process');
});

t.test(
  'stores are of the only process with mappings, and of nobody where there are two',
  async (t) => {
    const { peer, events } = recording(t);
    const { client } = await peer.mapped(3, 1, SHARED);
    peer.server.watchPages(100, 1);
    await peer.show(3, 0, 1, 100, STORABLE);
    await client.ask('store 0 7');
    await peer.mapped(4, 1, SHARED);
    await client.ask('store 0 8');
    peer.sweep();
    const calls = events().filter(({ kind }) => kind === KIND.call);
    const pids = calls.map(({ body }) => body.readUInt32LE(20));
    t.same(
      pids,
      [client.child.pid, 0],
      'what was stored before the second came is the first one’s',
    );
  },
);

t.test('a print comes before the stores that followed it, whoever looks for them', async (t) => {
  const { peer, output, events } = recording(t);
  const { client } = await peer.mapped(3, 1, SHARED);
  peer.server.watchPages(100, 1);
  await peer.show(3, 0, 1, 100, STORABLE);
  writeFileSync(output, 'before\n');
  await client.ask('store 0 7');
  peer.server.sweepPages(100, 1, false);
  t.same(words(events()), ['output', `store ${100 * 4096} 64`]);
});

t.test('a page that is watched already goes on as it was', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 1, SHARED);
  peer.server.watchPages(100, 1);
  await peer.show(3, 0, 1, 100, STORABLE);
  await client.ask('store 0 7');
  peer.server.watchPages(100, 1);
  peer.sweep();
  t.same(words(events()), [`store ${100 * 4096} 64`]);
  peer.region.fillCanary(100, 1, 5);
  peer.sweep();
  t.same(words(events()).slice(1), [], 'a canary is no store');
});

t.test('a flush is of the region page that is shown, whatever is shown beside it', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 4, SHARED);
  await peer.show(3, 0, 1, 100, STORABLE);
  await peer.show(3, 1, 3, 300, STORABLE);
  t.equal(await client.ask('flush 4096 4 0'), 'flush 0');
  peer.server.show(3, 2, 1, 'zero', 0, 0);
  await peer.next('done');
  t.equal(await client.ask('flush 4096 12288 0'), 'flush 0');
  t.same(words(events()), [
    `flush ${300 * 4096} 4`,
    `flush ${300 * 4096} 4096`,
    `flush ${302 * 4096} 4096`,
  ]);
});

t.test(
  'what was shown before a command is flushed until it is done, and then no more',
  async (t) => {
    const { peer, events } = recording(t);
    const { client } = await peer.mapped(3, 4, SHARED);
    await peer.show(3, 0, 4, 100, STORABLE);
    await client.ask('silent');
    peer.server.show(3, 1, 2, 'trap', 0, 0);
    await client.says('disobeyed');
    t.equal(await client.ask('flush 4096 8192 0'), 'flush 0');
    t.same(words(events()), [`flush ${101 * 4096} 8192`]);
    await client.ask('obey');
    await peer.next('done');
    t.equal(await client.ask('flush 4096 8192 0'), 'flush 0');
    t.same(words(events()).slice(1), []);
  },
);

t.test('each page that is stored to is noted alone, so that few are looked at', async (t) => {
  const { peer } = recording(t);
  const { client } = await peer.mapped(3, 512, SHARED);
  await peer.show(3, 0, 512, 1, 0);
  peer.server.catchStores(5, 0, 512, true, true);
  for (const page of [100, 101, 300]) await client.ask(`store ${page} 7`);
  t.same([...peer.server.takeDirtied(5)], [100, 2, 300, 1]);
});

t.test('a store to a private mapping is nobody’s business', async (t) => {
  const { peer, events } = recording(t);
  const { client } = await peer.mapped(3, 1, 0);
  await peer.show(3, 0, 1, 100, 0);
  await client.ask('store 0 7');
  await client.ask(`flush 0 64 0`);
  t.same(words(events()), []);
});

t.test('a crash takes the stores that were not flushed and fenced', async (t) => {
  for (const [what, flush, kept] of [
    ['neither', undefined, 0],
    ['flushed', 'flush 0 4 0', 0],
    ['both', `flush 0 4 ${DRAIN}`, 7],
  ] as const) {
    const peer = new FaultPeer(t, { crashable: true });
    const { client } = await peer.mapped(3, 2, SHARED);
    await peer.show(3, 0, 2, 100, 0);
    peer.server.catchStores(5, 0, 2, true, false);
    await client.ask('store 0 7');
    if (flush !== undefined) t.equal(await client.ask(flush), 'flush 0');
    await client.ask('store 1 8');
    peer.sweep();
    t.equal(peer.region.undecidedLineCount(), kept === 0 ? 2 : 1, what);
    await client.ask('store 0 9');
    peer.region.crash({ keep: 'none' });
    t.equal(peer.number(100), kept, what);
    t.equal(peer.number(101), 0, what);
    peer.sweep();
    t.equal(peer.region.undecidedLineCount(), 0, `${what}: a crash is no store`);
  }
});
