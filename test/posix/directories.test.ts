// Reading directories: every name once, whatever happens to the others meanwhile.
import { mkdirSync, opendirSync, readdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkTable, makePlace } from './mounted.js';

const nameCount = 4000;

function names(prefix: string, count: number): string[] {
  // Long names, so that one read of the directory cannot take them all.
  return Array.from(
    { length: count },
    (_, index) => `${prefix}-${index}-${'x'.repeat(index % 60)}`,
  );
}

t.test('a directory read while names come and go shows each that stays exactly once', async (t) => {
  const dir = join(makePlace(t).dir, 'd');
  mkdirSync(dir);
  const stay = names('stay', nameCount);
  const leave = names('leave', nameCount);
  for (const name of [...stay, ...leave]) writeFileSync(join(dir, name), '');
  const seen = new Map<string, number>();
  const stream = opendirSync(dir, { bufferSize: 16 });
  let step = 0;
  for (let entry = stream.readSync(); entry !== null; entry = stream.readSync()) {
    seen.set(entry.name, (seen.get(entry.name) ?? 0) + 1);
    const gone = leave[step];
    if (gone !== undefined) unlinkSync(join(dir, gone));
    if (step < nameCount) writeFileSync(join(dir, `come-${step}`), '');
    step++;
  }
  stream.closeSync();
  const wrong = stay.filter((name) => seen.get(name) !== 1);
  t.strictSame(wrong, [], 'each name that stayed, once');
  t.strictSame(
    [...seen].filter(([, count]) => count > 1),
    [],
    'no name twice',
  );
  const now = new Set(readdirSync(dir));
  t.equal(
    stay.every((name) => now.has(name)),
    true,
    'all are there at the end',
  );
});

t.test('rm -r of a directory that is read while it is emptied leaves nothing', async (t) => {
  const dir = join(makePlace(t).dir, 'd');
  mkdirSync(dir);
  for (const name of names('f', nameCount)) writeFileSync(join(dir, name), '');
  t.equal(readdirSync(dir).length, nameCount);
  rmSync(dir, { recursive: true });
  t.throws(() => readdirSync(dir), { code: 'ENOENT' });
});

t.test('readdir tells the type of each entry', async (t) => {
  const { dir } = makePlace(t);
  checkTable(t, dir, [
    ['mkdir d', '0'],
    ['mknod p fifo 644', '0'],
    ['mknod s sock 644', '0'],
    ['mknod c chr 600 1 3', '0'],
    ['symlink d l', '0'],
    ['open A f wr+creat', '0'],
  ]);
  const kinds = readdirSync(dir, { withFileTypes: true }).map((entry) => [
    entry.name,
    entry.isDirectory(),
    entry.isFIFO(),
    entry.isSocket(),
    entry.isCharacterDevice(),
    entry.isSymbolicLink(),
    entry.isFile(),
  ]);
  kinds.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  t.strictSame(kinds, [
    ['c', false, false, false, true, false, false],
    ['d', true, false, false, false, false, false],
    ['f', false, false, false, false, false, true],
    ['l', false, false, false, false, true, false],
    ['p', false, true, false, false, false, false],
    ['s', false, false, true, false, false, false],
  ]);
});

t.test('a removed directory that is still open is empty and takes no names', async (t) => {
  const { dir } = makePlace(t);
  checkTable(t, dir, [
    ['mkdir d', '0'],
    ['open A d rd+dir', '0'],
    ['rmdir d', '0'],
    ['fstat A tn', 'dir 0'],
    ['list /proc/self/fd/3', /^(|ENOENT)$/],
    ['open B /proc/self/fd/3/x wr+creat', 'ENOENT'],
    ['fsync A', '0'],
  ]);
});
