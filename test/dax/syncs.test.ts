/** fsync, mtime and looks at it, of files that processes write to and map under `fauxdax run`. */
import { closeSync, fsyncSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Mount } from '../../fs/index.js';
import { mounted } from '../fs/image.js';
import { cannotMap, daxMount, fauxdax, Mapper } from './place.js';

const nativeSyncs = async (mount: Mount): Promise<number> =>
  (await mount.info()).daemon.counters?.nativeSyncs ?? 0;

t.test('an fsync of a file that is mapped writes back first', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t, { commitSeconds: 3600 });
  const mapper = Mapper.direct(t, dir);
  await mapper.check(t, [
    ['open A f rw+creat', '0'],
    ['truncate A 8192', '0'],
    ['map M A 0 8192 shared', '0'],
    ['store M 0 text', '0'],
    ['fsync A', '0'],
  ]);
  const before = await nativeSyncs(mount);
  await mapper.check(t, [
    ['store M 0 more', '0'],
    ['fsync A', '0'],
    ['fsync A', '0'],
  ]);
  t.equal(await nativeSyncs(mount), before, 'while it is mapped, the engine is asked');
  await mapper.check(t, [
    ['unmap M 0 8192', '0'],
    ['write A plain 0', '5'],
    ['fsync A', '0'],
    ['fsync A', '0'],
  ]);
  t.ok((await nativeSyncs(mount)) > before, 'afterwards it is not');
});

t.test('an msync commits what grew while one before it waited', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t, { commitSeconds: 3600 });
  const { dir, mount } = place;
  const mapper = Mapper.direct(t, dir);
  await mapper.check(t, [
    ['open A f rw+creat', '0'],
    ['truncate A 8192', '0'],
    ['map M A 0 8192 shared', '0'],
    ['store M 0 text', '0'],
    ['msync M 0 8192', '0'],
    ['store M 0 more', '0'],
  ]);
  const log = openSync(join(dir, 'log'), 'w');
  const page = Buffer.alloc(4096, 'x');
  writeSync(log, page);
  const action = { do: 'delay', delayMs: 600_000 } as const;
  await mount.fault.add({ op: 'point', path: 'f', point: 'writeBack: flush', nth: 1, action });
  const held = mapper.call('msync M 0 8192');
  while ((await mount.info()).daemon.dax?.waiting !== 1) await sleep(5);
  fsyncSync(log); // and there is room for what is written next
  await mount.fault.clear();
  t.equal(await held, '0');
  writeSync(log, page);
  await mapper.check(t, [['msync M 0 8192', '0']]);
  await mount.kill();
  closeSync(log);
  await mounted(t, place);
  t.equal(statSync(join(dir, 'log')).size, 8192);
});

t.test('what was queued and synced survives kill -9', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t, { commitSeconds: 3600 });
  const { dir, mount } = place;
  writeFileSync(join(dir, 'f'), Buffer.alloc(1 << 20, 'a'));
  const write = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for i in range(2000):
    os.pwrite(fd, b'%08d' % i, (i % 200) * 4096)
    if i % 10 == 9:
        os.fsync(fd)
print(os.fstat(fd).st_mtime_ns)
`;
  const done = fauxdax('run', dir, '--', 'python3', '-c', write, join(dir, 'f'));
  t.equal(done.status, 0, done.text);
  t.ok((await nativeSyncs(mount)) > 20, 'natively for the most part');
  t.ok(((await mount.info()).daemon.dax?.queuedWrites ?? 0) > 1000);
  await mount.kill();
  await mounted(t, place);
  const check = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for i in range(1800, 2000):
    assert os.pread(fd, 8, (i % 200) * 4096) == b'%08d' % i, i
print(os.fstat(fd).st_mtime_ns)
`;
  const checked = fauxdax('run', dir, '--', 'python3', '-c', check, join(dir, 'f'));
  t.equal(checked.text, done.text, 'and so does the time that was shown');
});

t.test(
  'a store after an msync moves mtime, also where no file is served natively',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 8192', '0'],
      ['map M A 0 8192 shared', '0'],
    ]);
    await mount.fault.add({ op: 'read', path: 'no', action: { do: 'delay', delayMs: 0 } });
    const mtimes: bigint[] = [];
    for (let round = 0; round < 3; round++) {
      await mapper.check(t, [
        ['store M 0 text', '0'],
        ['msync M 0 8192', '0'],
      ]);
      mtimes.push(statSync(join(dir, 'f'), { bigint: true }).mtimeNs);
    }
    t.ok(mtimes.every((mtimeNs, round) => round === 0 || mtimeNs > mtimes[round - 1]!));
  },
);

t.test(
  'a store after a look at mtime moves it, however often the page is synced',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t);
    writeFileSync(join(dir, 'f'), Buffer.alloc(1 << 16, 'a'));
    const look = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(fd, 1 << 16)
still = 0
for i in range(200):
    for j in range(40):
        pages[j % 2 * 4096] = j
        pages.flush()
    last = os.fstat(fd).st_mtime_ns
    pages[0] = i
    if i % 2: pages.flush()
    now = os.fstat(fd).st_mtime_ns
    if now <= last: still += 1
    pages[0] = i
    pages.flush()
    pages[0] = i + 1
    if os.fstat(fd).st_mtime_ns <= now: still += 1
print(still)
`;
    const done = fauxdax('run', dir, '--', 'python3', '-c', look, join(dir, 'f'));
    t.equal(done.text, '0\n');
    const { settledSyncs, caughtStores } = (await mount.info()).daemon.dax ?? {};
    t.comment(`${settledSyncs} syncs without JavaScript, ${caughtStores} caught stores`);
  },
);
