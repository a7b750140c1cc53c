/** SIGTERM while files are open: the mount is detached, and the image is closed in order. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makePlace, mounted } from './image.js';

const PROGRAM = join(import.meta.dirname, '../../dist/tools/fauxdax.js');

t.test('a file without a name that is still open leaves nothing for fsck', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const path = join(place.dir, 'open');
  const fd = openSync(path, 'w');
  writeSync(fd, 'gone with its last descriptor');
  unlinkSync(path);
  writeFileSync(join(place.dir, 'kept'), 'kept');
  process.kill(fs.pid, 'SIGTERM');
  t.equal(await fs.exited, 0);
  t.throws(() => writeSync(fd, 'x'), { code: /ENOTCONN|ECONNABORTED/ });
  closeSync(fd);
  const check = spawnSync(process.execPath, [PROGRAM, 'fsck', place.imageDir], {
    encoding: 'utf8',
  });
  t.equal(check.status, 0, check.stdout);
});
