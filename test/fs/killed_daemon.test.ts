/**
 * kill -9 while the kernel waits for the daemon: a power cut makes the kernel drop dirty pages, which
 * it writes back first, and the helper thread that asked for it cannot die before the answer comes.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { makePlace, mounted, type Place } from './image.js';

const ROUNDS_MAX = 12;
const PROGRAM = join(import.meta.dirname, '../../dist/tools/fauxdax.js');
const DIRTIER = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
size = 48 << 20
os.ftruncate(fd, size)
pages = mmap.mmap(fd, size)
count = 0
while True:
    count += 1
    for at in range(0, size, 4096):
        pages[at] = count & 255
    if count == 1:
        print('dirty', flush=True)
`;
const SKIP = { skip: process.getuid!() !== 0 && 'aborting a connection needs root' };

/** Kills the daemon in a power cut until a thread of it hangs; false when that never happened. */
async function killInPowerCut(t: Test, place: Place, pid: number, delayMs: number) {
  const client = spawn('python3', ['-c', DIRTIER, join(place.dir, 'file')]);
  t.teardown(() => client.kill('SIGKILL'));
  await new Promise((resolve) => client.stdout.once('data', resolve));
  const socket = createConnection(join(place.imageDir, 'control'));
  socket.on('error', () => undefined);
  socket.write('{"id":1,"call":"crash","keep":{"keep":"none"}}\n');
  await sleep(delayMs);
  process.kill(pid, 'SIGKILL');
  await sleep(300);
  socket.destroy();
  client.kill('SIGKILL');
  return hangs(pid);
}

function hangs(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) =>
      / D /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')),
    );
  } catch {
    return false;
  }
}

t.test('a daemon that hangs in its death is taken away by umount', SKIP, async (t) => {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const place = makePlace(t, 128 << 20);
    const fs = await mounted(t, place, { crashable: true, commitSeconds: 3600 });
    const hung = await killInPowerCut(t, place, fs.pid, 10 + round * 15);
    const run = spawnSync(process.execPath, [PROGRAM, 'umount', place.dir], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    t.equal(run.status, 0, run.stderr);
    const again = await mounted(t, place);
    await again.unmount();
    if (hung) return;
  }
  t.comment(`no hang in ${ROUNDS_MAX} rounds: nothing was shown`);
});

t.test('kill() of the interface returns all the same', SKIP, async (t) => {
  const place = makePlace(t, 128 << 20);
  const fs = await mounted(t, place, { crashable: true, commitSeconds: 3600 });
  const client = spawn('python3', ['-c', DIRTIER, join(place.dir, 'file')]);
  t.teardown(() => client.kill('SIGKILL'));
  await new Promise((resolve) => client.stdout.once('data', resolve));
  const cut = fs.crash().catch(() => undefined);
  await sleep(40);
  await fs.kill();
  await cut;
  await mounted(t, place);
});
