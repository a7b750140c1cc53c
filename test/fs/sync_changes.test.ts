/** Changes that are to be synchronous without any fsync: -o dirsync, -o sync, chattr +S. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makePlace, mounted } from './image.js';

const quiet = { crashable: true, commitSeconds: 3600 };

for (const word of ['dirsync', 'sync']) {
  t.test(`-o ${word}: a name is durable when the call that made it returns`, async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place, { ...quiet, mountFlags: [word] });
    mkdirSync(join(place.dir, 'a'));
    closeSync(openSync(join(place.dir, 'a', 'b'), 'w'));
    await fs.crash();
    t.same(readdirSync(join(place.dir, 'a')), ['b']);
    renameSync(join(place.dir, 'a', 'b'), join(place.dir, 'c'));
    await fs.crash();
    t.same(readdirSync(place.dir).sort(), ['a', 'c']);
  });
}

t.test('without them the same names are lost', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  mkdirSync(join(place.dir, 'a'));
  await fs.crash();
  t.same(readdirSync(place.dir), []);
});

const hasChattr = { skip: spawnSync('chattr', ['-V']).error ? 'chattr is not installed' : false };
t.test('chattr +S: writes and names are durable at once', hasChattr, async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  const path = join(place.dir, 'f');
  writeFileSync(path, 'first');
  mkdirSync(join(place.dir, 'd'));
  const run = spawnSync('chattr', ['+S', path, join(place.dir, 'd')], { encoding: 'utf8' });
  t.equal(run.status, 0, run.stderr);
  const fd = openSync(path, 'r+');
  for (const text of ['secon', 'third']) writeSync(fd, text, 0);
  closeSync(fd);
  mkdirSync(join(place.dir, 'd', 'e'));
  await fs.crash();
  t.equal(readFileSync(path, 'utf8'), 'third');
  t.same(readdirSync(join(place.dir, 'd')), ['e']);
});
