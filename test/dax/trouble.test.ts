// What goes wrong under direct mappings: processes that are killed, no space, bad memory, mounts that
// end; and that nothing is left of it.
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { mounted } from '../fs/image.js';
import { FaultClient } from '../native/fault_peer.js';
import {
  cannotMap,
  compiled,
  type DaxPlace,
  daxMount,
  fauxdax,
  Mapper,
  mapperPids,
  stop,
} from './place.js';

/** Waits until the daemon knows of no process, no mapping and no file that was mapped any more. */
async function allGone(t: Test, { mount }: DaxPlace): Promise<void> {
  const none = { runs: 0, clients: 0, mappings: 0, files: 0, waiting: 0 };
  for (let tries = 0; tries < 200; tries++) {
    const { dax } = (await mount.info()).daemon;
    if (dax !== null && Object.keys(none).every((key) => dax[key as keyof typeof none] === 0))
      break;
    await sleep(50);
  }
  t.match((await mount.info()).daemon.dax, none);
}

const log = ({ imageDir }: DaxPlace): string => readFileSync(join(imageDir, 'daemon.log'), 'utf8');

/** What the daemon's log says of processes that did something wrong. */
function unserved(place: DaxPlace): string[] {
  return [...log(place).matchAll(/process \d+ is not served any more: [^"]*/g)].map(String);
}

/** A process of fault_client.c that the mount's daemon serves. */
function peer(t: Test, { imageDir }: DaxPlace): FaultClient {
  const words = [compiled('../native/fault_client', '-Inative', '-U_GNU_SOURCE'), 'dax'];
  const client = new FaultClient(words, imageDir);
  t.teardown(() => client.kill());
  return client;
}

async function stored(t: Test, dir: string, name = 'f'): Promise<Mapper> {
  const mapper = Mapper.direct(t, dir);
  await mapper.check(t, [
    [`open A ${name} rw+creat`, '0'],
    ['truncate A 65536', '0'],
    ['map M A 0 65536 shared', '0'],
    ['store M 0 last', '0'],
    ['load M 40000 1', '.'],
  ]);
  return mapper;
}

t.test(
  'processes that are killed leave their stores and nothing else',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const { dir } = place;
    const first = await stored(t, dir);
    const pids = mapperPids(dir);
    t.equal(pids.length, 1);
    const other = await stored(t, dir, 'g');
    process.kill(pids[0] as number, 'SIGKILL');
    t.equal(await first.end(), 128 + 9, 'run says which signal it was');
    const plain = Mapper.plain(t, dir);
    await plain.check(t, [
      ['open A f rw', '0'],
      ['read A 5 0', 'last.'],
      ['truncate A 0', '0'],
    ]);
    await other.check(t, [
      ['store M 8192 on', '0'],
      ['msync M 0 65536', '0'],
    ]);
    t.equal(await other.end(), 0);
    await allGone(t, place);
    t.same(unserved(place), [], 'and that is nothing to be said');
  },
);

t.test(
  'who breaks the protocol is told of, and others are served on',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const mapper = await stored(t, place.dir);
    const { ino } = statSync(join(place.dir, 'f'));
    for (const [index, how] of ['lie -1 0', 'lie 0 65', 'raw joined-magic'].entries()) {
      const client = peer(t, place);
      t.match(await client.ask('hello'), /^hello 0/);
      t.equal(await client.ask(`map ${ino} 0 16 1`), 'map 0');
      await client.ask(how);
      client.tell('load 0');
      while (unserved(place).length === index) await sleep(20);
      const line = `process ${client.child.pid} is not served any more: it`;
      t.match(unserved(place), { length: index + 1, [index]: line }, how);
      await mapper.check(t, [
        ['truncate A 0', '0'],
        ['truncate A 65536', '0'],
        [`store M 0 on${index}`, '0'],
        ['read A 4 0', `on${index}.`],
      ]);
      client.kill();
    }
    const dying = peer(t, place);
    await dying.ask('hello');
    await dying.ask(`map ${ino} 0 16 1`);
    await dying.ask('silent');
    dying.tell('load 0');
    await dying.says('disobeyed');
    dying.kill();
    t.equal(await mapper.call('msync M 0 65536'), '0');
    t.equal(await mapper.end(), 0);
    // Who died under way may have stored once more: its page is dirty until a sync.
    await Mapper.plain(t, place.dir).check(t, [
      ['open A f rw', '0'],
      ['fsync A', '0'],
    ]);
    await allGone(t, place);
    t.equal(unserved(place).length, 3, 'once each');
    t.notMatch(log(place), /could not change/, 'who dies with a command under way');
  },
);

t.test(
  'who cannot take away what it shows is killed, and said so',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const mapper = await stored(t, place.dir);
    t.equal(await mapper.call('limit'), '0');
    const plain = Mapper.plain(t, place.dir);
    await plain.check(t, [
      ['open A f rw', '0'],
      ['truncate A 0', '0'],
    ]);
    t.equal(await mapper.end(), 128 + 9);
    t.match(log(place), /could not change what its mappings show \(ENOMEM\)/);
    await allGone(t, place);
  },
);

t.test('an unlinked file goes with the process that mapped it', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  const free = async () => (await place.mount.info()).free;
  const before = await free();
  const mapper = await stored(t, place.dir);
  await mapper.check(t, [
    ['fill M 0 x 65536', '0'],
    ['unlink f', '0'],
  ]);
  process.kill(mapperPids(place.dir)[0] as number, 'SIGKILL');
  await mapper.end();
  await allGone(t, place);
  while ((await free()).bytes < before.bytes) await sleep(50);
  t.equal((await free()).bytes, before.bytes);
});

t.test(
  'a store with no space is SIGBUS, and goes through once there is',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t, { sizeBytes: 4 << 20 });
    const plain = Mapper.plain(t, dir);
    const mapper = await stored(t, dir);
    await plain.check(t, [['open A big rw+creat', '0']]);
    let size = 0;
    for (const step of [1 << 20, 1 << 14, 1 << 12]) {
      while ((await plain.call(`fallocate A 0 ${size} ${step}`)) === '0') size += step;
    }
    t.equal(await mapper.call('store M 20480 x'), 'SIGBUS 20480');
    // For a moment; then it is the hole again.
    t.match(await mapper.call('load M 20480 1'), /^(SIGBUS 20480|\.)$/);
    await sleep(200);
    t.equal(await mapper.call('store M 20480 x'), 'SIGBUS 20480', 'again');
    t.equal(await plain.call('truncate A 0'), '0');
    while ((await mapper.call('load M 20480 1')) === 'SIGBUS 20480') await sleep(20);
    await mapper.check(t, [
      ['load M 20480 1', '.'],
      ['store M 20480 x', '0'],
    ]);
  },
);

t.test('a page of bad memory is SIGBUS, its neighbours are not', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  const plain = Mapper.plain(t, dir);
  await plain.check(t, [
    ['open A f rw+creat', '0'],
    ['write A start 0', '5'],
    ['write A bad 4096', '3'],
    ['write A end 8192', '3'],
    ['fsync A', '0'],
  ]);
  await plain.call('close A');
  await mount.fault.add({ op: 'read', path: '*', nth: 1, action: { do: 'poison' } });
  const mapper = Mapper.direct(t, dir);
  await mapper.check(t, [
    ['open A f rw', '0'],
    ['read A 1 4096', 'EIO'],
    ['map M A 0 12288 shared', '0'],
    ['load M 4096 1', 'SIGBUS 4096'],
    ['load M 0 5', 'start'],
    ['load M 8192 3', 'end'],
    ['store M 4097 x', 'SIGBUS 4097'],
  ]);
});

t.test(
  'memory that goes bad is taken from mappings that show it',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['write A start 0', '5'],
      ['write A good 4096', '4'],
      ['map M A 0 8192 shared', '0'],
      ['store M 0 x', '0'],
      ['store M 4096 x', '0'],
    ]);
    await mount.fault.add({ op: 'read', path: '*', nth: 1, action: { do: 'poison' } });
    await mapper.check(t, [
      ['read A 1 4096', 'EIO'],
      ['load M 4096 1', 'SIGBUS 4096'],
      ['store M 4097 x', 'SIGBUS 4097'],
      ['load M 0 5', 'xtart'],
    ]);
  },
);

t.test(
  'umount is refused while files are mapped; when the daemon ends, it is SIGBUS',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const mapper = await stored(t, place.dir);
    await mapper.call('close A');
    const busy = fauxdax('umount', place.dir);
    t.not(busy.status, 0);
    t.match(busy.text, /busy/);
    t.equal(await mapper.call('load M 0 4'), 'last');
    process.kill(place.mount.pid, 'SIGTERM');
    t.equal(await place.mount.exited, 0, 'SIGTERM ends the mount all the same');
    await mapper.check(t, [
      ['load M 0 1', 'SIGBUS 0'],
      ['store M 40000 x', 'SIGBUS 40000'],
    ]);
    t.equal(await mapper.end(), 0);
  },
);

t.test(
  'a mount that ends leaves nobody a page: SIGBUS, or killed',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const path = join(place.dir, 'f');
    writeFileSync(path, 'o'.repeat(4096));
    const mapper = Mapper.direct(t, place.dir);
    await mapper.check(t, [['open A f rw', '0']]);
    const clients = [0, 1].map(() => peer(t, place));
    for (const client of clients) {
      await client.ask('hello');
      t.equal(await client.ask(`map ${statSync(path).ino} 0 1 1`), 'map 0');
      t.equal(await client.ask('store 0 7'), 'store 0 7');
    }
    const [obeys, late] = clients as [FaultClient, FaultClient];
    const ended = new Promise((resolve) => late.child.once('exit', (_, signal) => resolve(signal)));
    await late.ask('silent');
    process.kill(place.mount.pid, 'SIGTERM');
    await late.says('disobeyed');
    late.tell('store 0 8');
    t.equal(await ended, 'SIGKILL');
    t.same(late.said, [], 'it could not store any more');
    t.equal(await place.mount.exited, 0);
    obeys.tell('store 0 9');
    t.equal(await obeys.says('bus'), 'bus 0');
    await mounted(t, place);
    t.equal(readFileSync(path).readInt32LE(0), 7);
  },
);

t.test('a daemon that is killed takes no process with it', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  const mapper = await stored(t, place.dir);
  await place.mount.kill();
  t.match(await mapper.call('load M 61440 1'), /^SIGBUS/);
  await mapper.end();
  t.match(fauxdax('fsck', place.imageDir), { status: 0 });
});

t.test(
  'a child of a process that has given up rights is served',
  { skip: cannotMap },
  async (t) => {
    for (const change of ['chroot .', 'user 65534']) {
      const { dir, mount } = await daxMount(t);
      writeFileSync(join(dir, 'f'), 'a'.repeat(4096));
      const mapper = Mapper.direct(t, dir);
      await mapper.check(t, [
        ['open A f rw', '0'],
        ['map M A 0 4096 shared', '0'],
        ['store M 0 x', '0'],
        [change, '0'],
        ['fork load M 0 1', 'x'],
        ['fork store M 1 y', '0'],
        ['load M 0 3', 'xya'],
      ]);
      const clients = async () => (await mount.info()).daemon.dax?.clients;
      for (let tries = 0; tries < 200 && (await clients()) !== 1; tries++) await sleep(50);
      t.equal(await clients(), 1, 'whose end is heard of while its parent lives');
      t.equal(await mapper.end(), 0);
      t.equal(mapper.said, '', change);
    }
  },
);

t.test(
  'a process that hears late of the end of its daemon reaches no page of the next one',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const stopped = await stored(t, place.dir);
    const [pid = 0] = mapperPids(place.dir);
    const prompt = await stored(t, place.dir, 'g');
    await stop(pid);
    t.teardown(() => stopped.end());
    await place.mount.kill();
    await mounted(t, place);
    t.match(log(place), new RegExp(`"pid":${pid},"msg":"killed: it did not let go of pages`));
    t.equal(await stopped.end(), 128 + 9, 'who was stopped is killed');
    t.equal(await prompt.call('load M 0 1'), 'SIGBUS 0', 'who has heard of it lives');
    t.equal(log(place).match(/did not let go/g)?.length, 1);
  },
);
