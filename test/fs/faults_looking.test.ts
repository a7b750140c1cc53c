/** Faults on operations that answer in their own way: listings, and seeks that wait for writeback. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { FaultRule, Mount } from '../../fs/index.js';
import { makePlace, mounted } from './image.js';

const QUIET = { crashable: true, commitSeconds: 3600 };
const SEEK = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    print(os.lseek(fd, 0, os.SEEK_HOLE))
except OSError as error:
    print(error.errno)
`;
const seek = (path: string): string =>
  spawnSync('python3', ['-c', SEEK, path], { encoding: 'utf8', timeout: 20_000 }).stdout.trim();

async function prepared(t: Parameters<typeof makePlace>[0]) {
  const place = makePlace(t);
  const fs: Mount = await mounted(t, place, QUIET);
  const dir = join(place.dir, 'dir');
  mkdirSync(dir);
  for (let index = 0; index < 300; index += 1) writeFileSync(join(dir, `name${index}`), '');
  truncateSync(join(dir, 'name0'), 1 << 20);
  await fs.control.commit();
  return { fs, dir };
}

const rule = (op: FaultRule['op'], action: FaultRule['action']): FaultRule => {
  return { op, path: '**', nth: 1, action };
};

t.test('a listing can be held back', async (t) => {
  const { fs, dir } = await prepared(t);
  await fs.fault.add(rule('readdir', { do: 'delay', delayMs: 100 }));
  const startMs = Date.now();
  t.equal(readdirSync(dir).length, 300);
  t.ok(Date.now() - startMs >= 100);
});

t.test('a seek that waits for writeback can be held back', async (t) => {
  const { fs, dir } = await prepared(t);
  await fs.fault.add(rule('lseek', { do: 'delay', delayMs: 100 }));
  t.equal(seek(join(dir, 'name0')), '0');
});

t.test('the power can go at a seek and at a listing, and the mount stays', async (t) => {
  const { fs, dir } = await prepared(t);
  await fs.fault.add(rule('lseek', { do: 'crash', keep: { keep: 'none' } }));
  t.equal(seek(join(dir, 'name0')), '5', 'EIO');
  await fs.crash();
  const { nodes } = (await fs.info()).daemon;
  await fs.fault.add(rule('readdir', { do: 'crash', keep: { keep: 'none' } }));
  t.throws(() => readdirSync(dir), { code: 'EIO' });
  await fs.crash();
  t.ok((await fs.info()).daemon.nodes <= nodes, 'no reference that the kernel does not know of');
  closeSync(openSync(join(dir, 'name1'), 'r'));
  t.equal(readdirSync(dir).length, 300);
});
