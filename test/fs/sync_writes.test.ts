/** What O_SYNC, O_DSYNC and RWF_DSYNC promise where the kernel leaves the promise to the daemon. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makePlace, mounted } from './image.js';

const QUIET = { crashable: true, commitSeconds: 3600 };
const { O_CREAT, O_RDWR, O_DIRECT, O_DSYNC, O_SYNC } = constants;

for (const [name, flags] of Object.entries({
  O_DSYNC,
  O_SYNC,
  'O_DIRECT|O_DSYNC': O_DIRECT | O_DSYNC,
  'O_DIRECT|O_SYNC': O_DIRECT | O_SYNC,
})) {
  t.test(`a write through ${name} survives a power cut, new or in place`, async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place, QUIET);
    const path = join(place.dir, 'file');
    const write = (letter: string) => {
      const fd = openSync(path, O_CREAT | O_RDWR | flags, 0o644);
      writeSync(fd, Buffer.alloc(4096, letter), 0, 4096, 0);
      writeSync(fd, Buffer.alloc(4096, letter), 0, 4096, 0); // served natively where it may be
      closeSync(fd);
    };
    write('a');
    await fs.crash();
    t.equal(readFileSync(path, 'latin1'), 'a'.repeat(4096));
    write('b');
    await fs.crash();
    t.equal(readFileSync(path, 'latin1'), 'b'.repeat(4096));
  });
}

t.test('pwritev2 with RWF_DSYNC on an O_DIRECT file survives a power cut', async (t) => {
  const program = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
for letter in b'ab':
    page[:] = bytes([letter]) * 4096
    os.pwritev(fd, [page], 0, os.RWF_DSYNC)
`;
  const place = makePlace(t);
  const fs = await mounted(t, place, QUIET);
  const path = join(place.dir, 'file');
  const run = spawnSync('python3', ['-c', program, path], { encoding: 'utf8', timeout: 30_000 });
  t.equal(run.status, 0, run.stderr);
  await fs.crash();
  t.equal(readFileSync(path, 'latin1'), 'b'.repeat(4096));
});

t.test('fallocate on an O_SYNC file survives a power cut', async (t) => {
  const program = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_SYNC)
os.posix_fallocate(fd, 0, 65536)
`;
  const place = makePlace(t);
  const fs = await mounted(t, place, QUIET);
  const path = join(place.dir, 'file');
  const fd = openSync(path, 'w+');
  ftruncateSync(fd, 10);
  fsyncSync(fd);
  closeSync(fd);
  const run = spawnSync('python3', ['-c', program, path], { encoding: 'utf8', timeout: 30_000 });
  t.equal(run.status, 0, run.stderr);
  await fs.crash();
  t.equal(readFileSync(path).length, 65536);
});
