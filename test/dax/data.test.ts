// Reads that are served in the process, under `fauxdax run`: the cases are those of reader.c, which
// compares with what the kernel says. All of them with and without.
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMap, daxMount, Mapper } from './place.js';
import { Served } from './served.js';

const CASES = [
  ['served', 'reads go where they are to go'],
  ['same', 'holes, unwritten pages, the end, nothing, and what is out of range'],
  ['vectors', 'preadv'],
  ['errors', 'descriptors that are not for reading, buffers that are not there'],
  ['descriptors', 'numbers of descriptors and inodes that are used again'],
  ['coherent', 'stores, writes and reads of one file are seen at once'],
  ['times', 'a read after a write changes atime'],
  ['cancel', 'a thread that does nothing but read is cancelled'],
  ['fork', 'children, made by fork or without its handlers'],
  ['inside', 'children of a handler that forked in the middle of a call go on with it'],
  ['vfork', 'a child of vfork that reads much, and its parent'],
  ['whole', 'a write of another process is seen whole, and stays'],
  ['torture', 'never bytes of another file, or beyond the end'],
] as const;

for (const isServed of [true, false]) {
  const where = isServed ? 'in the process' : 'by the kernel, with --no-data';
  t.test(`reads are served ${where}`, { skip: cannotMap }, async (t) => {
    const { dir } = await daxMount(t);
    const reader = new Served(t, 'reader', dir, isServed);
    for (const [name, what] of CASES) t.equal(await reader.run(name), 'ok', `${name}: ${what}`);
  });
}

t.test('a file elsewhere that has the same number', { skip: cannotMap }, async (t) => {
  const [{ dir }, other] = [await daxMount(t), await daxMount(t)];
  writeFileSync(join(dir, 'here'), 'ours');
  writeFileSync(join(other.dir, 'there'), 'not ours');
  symlinkSync(join(other.dir, 'there'), join(dir, 'elsewhere'));
  t.equal(await new Served(t, 'reader', dir, true).run('elsewhere'), 'ok');
  t.equal(readFileSync(join(other.dir, 'there'), 'utf8'), 'its ours');
});

t.test('while a page is poisoned the daemon reads', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  const reader = new Served(t, 'reader', dir, true);
  t.equal(await reader.run('served'), 'ok');
  const plain = Mapper.plain(t, dir);
  await plain.check(t, [['open A f r', '0']]);
  await mount.fault.add({ op: 'read', path: '*', nth: 1, action: { do: 'poison' } });
  await plain.check(t, [['read A 1 12288', 'EIO']]);
  await mount.fault.clear();
  t.equal(await reader.run('poisoned'), 'ok');
  t.equal(await reader.run('healed'), 'ok');
});

t.test('while a rule waits for reads the daemon sees them all', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  const reader = new Served(t, 'reader', dir, true);
  t.equal(await reader.run('served'), 'ok');
  const rule = { op: 'read', path: '*', nth: 1000, action: { do: 'error', code: 'EIO' } } as const;
  await mount.fault.add(rule);
  t.match(await reader.run('served'), 'the kernel served 100 reads');
});

t.test('a crashable mount sees every read', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t, { crashable: true });
  t.match(await new Served(t, 'reader', dir, true).run('served'), 'the kernel served 100 reads');
});

t.test('a daemon that is killed leaves nothing to be read', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  const reader = new Served(t, 'reader', dir, true);
  t.equal(await reader.run('served'), 'ok');
  await mount.kill();
  t.equal(await reader.run('dead'), 'ok');
});
