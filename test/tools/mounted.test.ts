import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import { missing } from './fuse_device.js';

const MAIN = resolve('dist/tools/fauxdax.js');
const HELPER = resolve('dist/tools/mount_helper.js');
const base = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
const image = join(base, 'an image');
const dir = join(base, 'a directory');
mkdirSync(dir);
t.teardown(() => {
  spawnSync('umount', ['-l', dir]);
  rmSync(base, { recursive: true, force: true });
});

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(command: string, args: string[]): Ended {
  return spawnSync(command, args, { encoding: 'utf8', cwd: base, timeout: 60_000 });
}

const fauxdax = (...args: string[]): Ended => run(process.execPath, [MAIN, ...args]);
// biome-ignore lint/suspicious/noExplicitAny: each test asserts on the shape it needs
const json = (...args: string[]): any => JSON.parse(fauxdax(...args, '--json').stdout);
/** Clients of the mount are other processes, as everywhere. */
const shell = (script: string): Ended => run('sh', ['-c', `cd '${dir}' && ${script}`]);

/** A zombie that nobody reaped yet has exited. */
function hasExited(pid: number): boolean {
  const path = `/proc/${pid}/stat`;
  return !existsSync(path) || /\) Z /.test(readFileSync(path, 'utf8'));
}

t.test('the command line over one mount', { skip: missing() }, async (t) => {
  const done = { status: 0, stderr: '' };

  await t.test('mkfs makes an image once, and again only with --force', async (t) => {
    const uuid = '0123abcd-0000-4000-8000-00000000beef';
    t.match(fauxdax('mkfs', image, '--size', '64M', '--uuid', uuid), {
      ...done,
      stdout: /64 MiB, 16384 pages/,
    });
    t.match(json('info', image), {
      geometry: { uuid, pages: 16384 },
      inodes: 1,
      daemon: undefined,
    });
    t.match(fauxdax('mkfs', image, '--size', '64M'), { status: 1, stderr: '--force' });
    t.match(fauxdax('mkfs', image, '--size', '64M', '--force'), done);
    t.not(json('info', image).geometry.uuid, uuid, 'a new image has a new identity');
    t.match(fauxdax('fsck', image), { ...done, stdout: /clean/ });
  });

  await t.test('mount returns when the directory is usable', async (t) => {
    t.match(fauxdax('mount', image, dir, '-o', 'crashable', '-o', 'commit=600'), done);
    t.match(shell('echo kept > a && sync a && truncate -s 1M sparse && sync .'), done);
    t.match(fauxdax('info', dir), {
      ...done,
      stdout: /options +rw,crashable,dax=inode,commit=600,/,
    });
    t.match(json('info', join(dir, 'a')).daemon, { dir, options: { commitSeconds: 600 } });
    t.equal(
      json('info', image).daemon.pid,
      json('info', dir).daemon.pid,
      'the image names its mount',
    );
  });

  await t.test('what is mounted is not made, mounted or checked', async (t) => {
    t.match(fauxdax('mkfs', image, '--size', '1M', '--force'), { status: 1, stderr: 'mounted on' });
    t.match(fauxdax('fsck', image), { status: 8, stderr: 'mounted on' });
    t.match(fauxdax('mount', image, dir), { status: 1, stderr: /^fauxdax: [^\n]+\n$/ });
  });

  await t.test('map shows the extents of a file', async (t) => {
    const { size, extents } = json('map', join(dir, 'a'));
    t.equal(size, 5);
    t.match(extents, [{ filePage: 0, regionPage: Number, pageCount: 1, state: 'written' }]);
    t.equal(extents.length, 1);
    t.same(json('map', join(dir, 'sparse')), { size: 2 ** 20, extents: [] });
    t.match(fauxdax('map', join(dir, 'a')), { ...done, stdout: /1 extent\nfile page/ });
    t.match(fauxdax('map', dir), { status: 1, stderr: 'not a regular file' });
  });

  await t.test('crash loses what was not synced and says so', async (t) => {
    t.match(shell('echo lost > b'), done);
    t.match(fauxdax('crash', dir), { ...done, stdout: /lost .*uncommitted operation.*\/b/ });
    t.match(shell('ls'), { stdout: /^a\nsparse\n$/ });
    t.match(shell('echo lost > b'), done);
    t.match(json('crash', dir, '--keep', 'all'), { keep: 'all', lostNames: [] });
    t.match(shell('cat b'), { stdout: 'lost\n' });
  });

  await t.test('crash --at waits for its operation', async (t) => {
    t.match(fauxdax('crash', dir, '--at', 'write:*.wal:2', '--keep', 'seed:3'), {
      ...done,
      stdout: /armed/,
    });
    t.match(json('fault', dir, 'list'), [
      { op: 'write', path: '*.wal', nth: 2, action: { do: 'crash', keep: { seed: 3 } } },
    ]);
    t.match(shell('printf 1 > x.wal'), { status: 0 });
    t.not(shell('printf 2 >> x.wal').status, 0, 'the operation under way fails');
    t.same(json('fault', dir, 'list'), [], 'it fires once');
  });

  await t.test('faults are added, seen to fire, listed and cleared by number', async (t) => {
    t.match(fauxdax('fault', dir, 'list'), { ...done, stdout: 'no faults\n' });
    const add = (...args: string[]): number => json('fault', dir, 'add', ...args).id;
    const fsync = add('--op', 'fsync', '--do', 'eio');
    const write = add('--op', 'write', '--path', '*.db', '--every', '2', '--do', 'enospc');
    t.match(shell('sync a'), { status: 1, stderr: /Input\/output error/ });
    t.match(shell('dd if=/dev/zero of=c.db bs=4k count=1 status=none'), { status: 0 });
    t.match(shell('dd if=/dev/zero of=c.db bs=4k count=1 status=none'), {
      status: 1,
      stderr: /No space left/,
    });
    t.match(json('fault', dir, 'list'), [
      { id: fsync, matched: 1, fired: 1 },
      { id: write, matched: 2, fired: 1 },
    ]);
    t.match(fauxdax('fault', dir, 'clear', String(fsync)), { ...done, stdout: /1 fault/ });
    t.match(json('fault', dir, 'list'), [{ id: write }]);
    t.match(fauxdax('fault', dir, 'clear', '999'), { status: 1, stderr: 'no fault 999' });
    t.match(fauxdax('fault', dir, 'clear'), { ...done, stdout: /1 fault/ });
    t.match(shell('sync a'), done);
    t.match(fauxdax('fault', dir, 'add', '--op', 'read', '--do', 'torn'), { status: 2 });
  });

  await t.test('umount refuses a busy mount, else ends the daemon and commits', async (t) => {
    const { pid } = json('info', dir).daemon;
    const busy = shell(`"${process.execPath}" "${MAIN}" umount "$PWD"`);
    t.match(busy, { status: 1, stderr: /busy/ });
    t.match(shell('echo unsynced > d'), done);
    t.match(fauxdax('umount', dir), done);
    t.ok(hasExited(pid), 'the daemon has exited');
    t.same(readdirSync(dir), [], 'the directory is empty again');
    t.match(fauxdax('fsck', image), { ...done, stdout: /clean/ });
    t.match(fauxdax('umount', dir), { status: 1, stderr: 'not a fauxdax mount point' });
  });

  await t.test('an image is not hidden below its own mount', async (t) => {
    for (const over of [image, base, '/']) {
      t.match(fauxdax('mount', image, over), { status: 1, stderr: /would hide the image/ });
    }
    t.match(fauxdax('mount', dir, dir), { status: 1, stderr: /not an image/ });
    t.same(readdirSync(dir), [], 'nothing is written where no image is');
  });

  await t.test(
    'the helper of mount(8) mounts, and what was unsynced before umount is there',
    async (t) => {
      t.match(run(process.execPath, [HELPER, image, dir, '-o', 'rw,nosuid,nodev']), done);
      t.match(shell('cat d'), { stdout: 'unsynced\n' });
      t.match(fauxdax('crash', dir), { status: 1, stderr: '-o crashable' });
      t.match(fauxdax('umount', dir), done);
    },
  );

  await t.test('a dead daemon is named, and umount takes its mount away', async (t) => {
    t.match(fauxdax('mount', image, dir), done);
    process.kill(json('info', dir).daemon.pid, 'SIGKILL');
    t.match(fauxdax('info', dir), { status: 1, stderr: /daemon does not answer/ });
    t.match(fauxdax('umount', dir), done);
    t.match(fauxdax('fsck', image), { ...done, stdout: /clean/ });
  });
});

t.test('the demo ends well and leaves nothing behind', { skip: missing() }, async (t) => {
  const env = { ...process.env, TMPDIR: base };
  const args = [MAIN, 'demo'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env,
    timeout: 120_000,
  });
  t.equal(status, 0, stderr);
  t.match(
    stdout,
    /acknowledged orders: 200[\s\S]*draft\.txt: gone[\s\S]*acknowledged orders lost: 0/,
  );
  t.equal(readdirSync(base).filter((name) => name.startsWith('fauxdax-demo')).length, 0);
});
