/** fsync without JavaScript: where it is answered so, what it still commits, and where it never is. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Mount, MountOptions } from '../../fs/index.js';
import { writeTraceHead } from '../native/raw_trace.js';
import { makePlace, mount, mounted, type Place } from './image.js';

const QUIET = { commitSeconds: 3600 };
const PAGE = Buffer.alloc(4096, 'x');

interface Opened extends Place {
  fs: Mount;
  path: string;
  fd: number;
}

/** A file of 64 KiB that is written and synced, in a mount that commits only when it is asked to. */
async function opened(t: Test, options: Partial<MountOptions> = {}): Promise<Opened> {
  const place = makePlace(t);
  const fs = await mounted(t, place, { ...QUIET, ...options });
  const path = join(place.dir, 'file');
  const fd = openSync(path, 'w+');
  t.teardown(() => closeSync(fd));
  writeSync(fd, Buffer.alloc(65536, 'a'), 0, 65536, 0);
  fsyncSync(fd);
  writeSync(fd, PAGE, 0, 4096, 0); // from here on it is served natively
  fsyncSync(fd);
  return { ...place, fs, path, fd };
}

async function counted(fs: Mount): Promise<{ native: number; commits: number }> {
  const { counters, commits } = (await fs.info()).daemon;
  return { native: counters?.nativeSyncs ?? 0, commits: commits.fsync };
}

t.test('an fsync that has nothing to commit is answered natively', async (t) => {
  const { fs, fd, dir } = await opened(t);
  const before = await counted(fs);
  fsyncSync(fd);
  fdatasyncSync(fd);
  const folder = openSync(dir, 'r');
  fsyncSync(folder);
  closeSync(folder);
  t.same(await counted(fs), { native: before.native + 3, commits: before.commits });
});

t.test('a time that moved is committed by fsync, and not by fdatasync', async (t) => {
  const { fs, fd } = await opened(t);
  const write = (): void => {
    statSync(`/proc/self/fd/${fd}`); // somebody looked, so that the write moves mtime
    writeSync(fd, PAGE, 0, 4096, 0);
  };
  write();
  const before = await counted(fs);
  fdatasyncSync(fd);
  t.same(await counted(fs), { ...before, native: before.native + 1 });
  fsyncSync(fd);
  t.same(await counted(fs), { native: before.native + 1, commits: before.commits + 1 });
  fsyncSync(fd);
  t.same(await counted(fs), { native: before.native + 2, commits: before.commits + 1 });
});

t.test('what changed is committed by the fsync that follows, and survives kill -9', async (t) => {
  const { fs, fd, dir, path, imageDir } = await opened(t);
  const at = (name: string): string => join(dir, name);
  const changes: [what: string, change: () => void][] = [
    ['a longer file', () => ftruncateSync(fd, 100_000)],
    ['a write to its hole', () => writeSync(fd, PAGE, 0, 4096, 90_112)],
    ['a write at its end', () => writeSync(fd, PAGE, 0, 4096, 100_000)],
    ['a shorter file', () => ftruncateSync(fd, 50_000)],
    ['its mode', () => chmodSync(path, 0o604)],
    ['its times', () => utimesSync(path, 1000, 2000)],
    ['another name', () => linkSync(path, at('link'))],
    ['a name that moves', () => renameSync(at('link'), at('moved'))],
    ['a folder', () => mkdirSync(at('folder'))],
    ['another file', () => writeFileSync(at('folder/other'), 'other')],
    ['what another file got', () => appendFileSync(at('folder/other'), ' text')],
  ];
  for (const sync of [fsyncSync, fdatasyncSync]) {
    for (const [what, change] of changes) {
      if (sync === fdatasyncSync && /name|folder|another/.test(what)) continue;
      const before = await counted(fs);
      change();
      sync(fd);
      const after = await counted(fs);
      t.same(after, { ...before, commits: before.commits + 1 }, `${what}, by ${sync.name}`);
    }
  }
  writeSync(fd, Buffer.from('native'), 0, 6, 8192);
  const before = await counted(fs);
  fdatasyncSync(fd);
  t.equal((await counted(fs)).native, before.native + 1);
  fsyncSync(fd);
  const shown = statSync(path, { bigint: true });
  await fs.kill();
  await mounted(t, { imageDir, dir });
  const { size, mode, nlink, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  t.same(
    { size, mode, nlink, mtimeNs, ctimeNs },
    {
      size: 50_000n,
      mode: 0o100604n,
      nlink: 2n,
      mtimeNs: shown.mtimeNs,
      ctimeNs: shown.ctimeNs,
    },
  );
  t.equal(readFileSync(path, 'latin1').slice(8192, 8198), 'native');
  t.equal(readFileSync(at('folder/other'), 'utf8'), 'other text');
});

t.test('where a fault may be due it never is', async (t) => {
  const { fs, fd } = await opened(t);
  const before = await counted(fs);
  const rule = await fs.fault.add({
    op: 'fsync',
    path: 'file',
    every: 2,
    action: { do: 'error', code: 'EIO' },
  });
  fsyncSync(fd);
  t.throws(() => fsyncSync(fd), { code: 'EIO' });
  t.same(await counted(fs), before);
  await fs.fault.clear(rule.id);
  fsyncSync(fd);
  t.equal((await counted(fs)).native, before.native + 1, 'and it is when no fault is');
});

for (const [what, options] of [
  ['crashable', { crashable: true }],
  ['durable=host', { durable: 'host' }],
] as const) {
  t.test(`on a mount that is ${what} it never is`, async (t) => {
    const { fs, fd } = await opened(t, options);
    for (const sync of [fsyncSync, fdatasyncSync]) sync(fd);
    t.equal((await counted(fs)).native, 0);
  });
}

t.test('on a read-only mount it never is', async (t) => {
  const { fs, path, imageDir, dir } = await opened(t);
  await fs.kill();
  const again = await mounted(t, { imageDir, dir }, { readOnly: true });
  const fd = openSync(path, 'r');
  readFileSync(path);
  fsyncSync(fd);
  closeSync(fd);
  t.equal((await counted(again)).native, 0);
});

t.test('on a recorded mount it never is', async (t) => {
  const place = makePlace(t);
  const trace = join(place.imageDir, '..', 'trace');
  writeTraceHead(trace);
  const fs = await mount(place.imageDir, place.dir, {}, { record: { trace, outputs: [] } });
  t.teardown(() => fs.unmount());
  const fd = openSync(join(place.dir, 'file'), 'w+');
  for (let i = 0; i < 2; i += 1) {
    writeSync(fd, PAGE, 0, 4096, 0);
    fdatasyncSync(fd);
    fdatasyncSync(fd);
  }
  closeSync(fd);
  t.equal((await counted(fs)).native, 0);
});
