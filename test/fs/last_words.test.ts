/** A daemon that ends otherwise than by an unmount says so in the image's log, and so does the next. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makePlace, mounted, type Place } from './image.js';

const PROGRAM = join(import.meta.dirname, '../../dist/tools/fauxdax.js');
const BEFORE = 'the daemon before ended without unmounting';

interface Line {
  level: number;
  pid: number;
  msg: string;
  status?: number;
  err?: { message: string; stack: string };
  frames?: string[];
}

/** What the daemon `pid` has said. */
function said({ imageDir }: Place, pid: number): Line[] {
  const lines = readFileSync(join(imageDir, 'daemon.log'), 'utf8').split('\n');
  const all = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Line);
  return all.filter((line) => line.pid === pid);
}

function writeSynced(path: string, text: string): void {
  const fd = openSync(path, 'w');
  writeSync(fd, text);
  fsyncSync(fd);
  closeSync(fd);
}

/** Takes away what a dead daemon left. */
async function umount(t: Test, { dir }: Place): Promise<void> {
  t.throws(() => readFileSync(join(dir, 'f')), { code: 'ENOTCONN' }, 'as clients see it');
  const child = spawn(process.execPath, [PROGRAM, 'umount', dir]);
  t.same(await once(child, 'exit'), [0, null]);
}

async function mountsAgain(t: Test, place: Place): Promise<void> {
  await umount(t, place);
  const again = await mounted(t, place);
  t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'promised');
  t.match(said(place, again.pid), [{ level: 40, msg: BEFORE }, { msg: 'mounted' }]);
}

for (const signal of ['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGUSR2'] as const) {
  t.test(`${signal} that somebody sends is in the log, with who and where`, async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place);
    writeSynced(join(place.dir, 'f'), 'promised');
    process.kill(fs.pid, signal);
    t.equal(await fs.exited, 128, 'it ended by a signal');
    const [, what, where, ...more] = said(place, fs.pid);
    t.same(more, []);
    const who = `ended by ${signal}, which process ${process.pid} of user ${process.getuid?.()} sent`;
    t.match(what, { level: 60, msg: who });
    t.match(where, { level: 60, msg: 'where it ended' });
    t.ok(where!.frames!.some((frame) => frame.includes(process.execPath)));
    await mountsAgain(t, place);
  });
}

t.test('a region cut under the mount is a SIGBUS in the log, with its address', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  writeSynced(join(place.dir, 'f'), 'promised');
  truncateSync(join(place.imageDir, 'region'), 4096);
  const fd = openSync(join(place.dir, 'f'), 'r');
  t.throws(() => readSync(fd, Buffer.alloc(8), 0, 8, 0));
  t.equal(await fs.exited, 128);
  const [, what, where] = said(place, fs.pid);
  t.match(what, { level: 60, msg: /^ended by SIGBUS at address 0x[0-9a-f]+, in thread / });
  t.match(
    where?.frames?.some((frame) => frame.includes('fauxdax.node')),
    true,
  );
  closeSync(fd);
  await umount(t, place);
});

t.test('SIGKILL says nothing: the next daemon does', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  writeSynced(join(place.dir, 'f'), 'promised');
  process.kill(fs.pid, 'SIGKILL');
  t.equal(await fs.exited, 128);
  t.equal(said(place, fs.pid).length, 1);
  await mountsAgain(t, place);
});

t.test('a daemon that unmounts, and the one after it, say nothing of the kind', async (t) => {
  const place = makePlace(t);
  const first = await mounted(t, place);
  await first.unmount();
  const second = await mounted(t, place);
  await second.unmount();
  for (const { pid } of [first, second]) t.match(said(place, pid), [{ level: 30 }, { level: 30 }]);
});

/** Mounts with a daemon that runs `script` when it gets SIGUSR2. */
async function mountedWith(t: Test, place: Place, script: string): ReturnType<typeof mounted> {
  const module = `process.on('SIGUSR2', () => { ${script} })`;
  const before = process.env['NODE_OPTIONS'];
  const imported = `--import=data:text/javascript,${encodeURIComponent(module)}`;
  // By itself Node makes an exception of a rejection, but it may be told to let it go.
  process.env['NODE_OPTIONS'] = `--unhandled-rejections=none ${imported}`;
  try {
    return await mounted(t, place);
  } finally {
    if (before === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = before;
  }
}

for (const [what, script] of [
  ['an exception that nobody catches', "throw new Error('of a test')"],
  ['a rejection that nobody handles', "Promise.reject(new Error('of a test'))"],
] as const) {
  t.test(`${what} is in the log with its stack, and the mount is gone`, async (t) => {
    const place = makePlace(t);
    const fs = await mountedWith(t, place, script);
    process.kill(fs.pid, 'SIGUSR2');
    t.equal(await fs.exited, 70);
    const [, line, ...more] = said(place, fs.pid);
    t.same(more, []);
    t.match(line, { level: 60, err: { message: 'of a test', stack: /data:text/ } });
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), place.dir);
  });
}

t.test('a daemon that exits without having unmounted says that', async (t) => {
  const place = makePlace(t);
  const fs = await mountedWith(t, place, 'process.exit(0)');
  writeSynced(join(place.dir, 'f'), 'promised');
  process.kill(fs.pid, 'SIGUSR2');
  t.equal(await fs.exited, 0);
  const [, line, ...more] = said(place, fs.pid);
  t.same(more, []);
  t.match(line, { level: 60, status: 0, msg: 'ending without having unmounted' });
  await mountsAgain(t, place);
});
