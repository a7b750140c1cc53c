/** The life of a daemon: what it refuses, how it ends, and what its death leaves. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Image, makePlace, mount, mounted, type Place } from './image.js';

const mountTable = () => readFileSync('/proc/self/mountinfo', 'utf8');

function digest(place: Place): string {
  const run = spawnSync(
    'bash',
    ['-c', 'cd "$1" && sha256sum region meta.db', 'bash', place.imageDir],
    {
      encoding: 'utf8',
    },
  );
  return run.stdout;
}

async function refused(t: Test, place: Place, message: RegExp): Promise<void> {
  const before = digest(place);
  await t.rejects(mount(place.imageDir, place.dir), { message });
  t.equal(digest(place), before, 'nothing was written');
  t.notOk(mountTable().includes(place.dir), 'nothing is mounted');
  t.notOk(existsSync(join(place.imageDir, 'control')), 'no socket is left');
}

t.test('an image is mounted once', async (t) => {
  const place = makePlace(t);
  await mounted(t, place);
  const other = makePlace(t);
  await t.rejects(mount(place.imageDir, other.dir), { message: /in use|mounted|another/ });
  t.notOk(mountTable().includes(other.dir));
});

const damages: [name: string, damage: (place: Place, other: Place) => void, message: RegExp][] = [
  ['a superblock with another magic', (p) => overwrite(p, 0, 'NOTDAX'), /superblock|magic/],
  ['a superblock with a flipped bit', (p) => overwrite(p, 33, '\x55'), /superblock|checksum/],
  [
    'a region that is too short',
    (p) => truncateSync(join(p.imageDir, 'region'), 1 << 20),
    /region/,
  ],
  [
    'metadata of another image',
    (p, o) => copyFileSync(join(o.imageDir, 'meta.db'), join(p.imageDir, 'meta.db')),
    /belong|uuid/,
  ],
  [
    'a database that is none',
    (p) => writeFileSync(join(p.imageDir, 'meta.db'), 'x'.repeat(40960)),
    /meta\.db|database/,
  ],
];
for (const [name, damage, message] of damages) {
  t.test(`${name} is refused with nothing written`, async (t) => {
    const [place, other] = [makePlace(t), makePlace(t)];
    damage(place, other);
    await refused(t, place, message);
  });
}

function overwrite(place: Place, offset: number, bytes: string): void {
  const fd = openSync(join(place.imageDir, 'region'), 'r+');
  writeSync(fd, Buffer.from(bytes, 'latin1'), 0, bytes.length, offset);
  closeSync(fd);
}

t.test('kill -9 keeps what was fsynced, and the image mounts again', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const fd = openSync(join(place.dir, 'f'), 'w');
  writeSync(fd, 'promised');
  fsyncSync(fd);
  closeSync(fd);
  await fs.kill();
  t.notOk(mountTable().includes(place.dir));
  await mounted(t, place);
  t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'promised');
});

t.test('SIGTERM unmounts cleanly: everything is committed, also what was not synced', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, { commitSeconds: 3600 });
  writeFileSync(join(place.dir, 'f'), 'unsynced');
  process.kill(fs.pid, 'SIGTERM');
  t.equal(await fs.exited, 0);
  t.notOk(mountTable().includes(place.dir));
  await mounted(t, place);
  t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'unsynced');
});

t.test('a busy mount refuses to unmount and goes on', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const fd = openSync(join(place.dir, 'f'), 'w');
  await t.rejects(fs.unmount(), { code: 'EBUSY' });
  writeSync(fd, 'still here');
  closeSync(fd);
  t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'still here');
});

t.test('a read-only mount changes neither files nor image', async (t) => {
  const place = makePlace(t);
  const first = await mounted(t, place);
  writeFileSync(join(place.dir, 'f'), 'x');
  await first.unmount();
  const before = digest(place);
  const fs = await mounted(t, place, { readOnly: true });
  t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'x');
  t.throws(() => writeFileSync(join(place.dir, 'g'), ''), { code: 'EROFS' });
  await fs.unmount();
  t.equal(digest(place), before);
});

const needsRoot = { skip: process.getuid?.() === 0 ? false : 'mounting a tmpfs needs root' };
t.test('a full host disk is ENOSPC, not SIGBUS, and the mount lives', needsRoot, async (t) => {
  const root = makePlace(t);
  const small = join(root.dir, 'small');
  const script = `
set -e
mkdir -p "$1"; mount -t tmpfs -o size=40m none "$1"`;
  const made = spawnSync('bash', ['-c', script, 'bash', small], { encoding: 'utf8' });
  t.equal(made.status, 0, made.stderr);
  t.teardown(() => spawnSync('umount', ['-l', small]));
  t.throws(() => Image.make(join(small, 'big'), { sizeBytes: 64 << 20 }), /ENOSPC|space/);
  const place = { imageDir: join(small, 'image'), dir: join(root.dir, 'mnt') };
  spawnSync('mkdir', [place.dir]);
  Image.make(place.imageDir, { sizeBytes: 32 << 20 });
  const fs = await mounted(t, place, { commitSeconds: 3600 });
  spawnSync('bash', ['-c', 'head -c 100M /dev/zero > "$1"', 'bash', join(small, 'filler')]);
  let code = '';
  for (let index = 0; index < 200 && code === ''; index += 1) {
    try {
      const fd = openSync(join(place.dir, `f${index}`), 'w');
      writeSync(fd, Buffer.alloc(65536, index));
      fsyncSync(fd);
      closeSync(fd);
    } catch (error) {
      code = (error as NodeJS.ErrnoException).code ?? 'none';
    }
  }
  t.equal(code, 'ENOSPC');
  spawnSync('rm', [join(small, 'filler')]);
  const fd = openSync(join(place.dir, 'after'), 'w');
  writeSync(fd, 'room again');
  fsyncSync(fd);
  closeSync(fd);
  await fs.kill();
  await mounted(t, place);
  t.equal(readFileSync(join(place.dir, 'after'), 'utf8'), 'room again');
});

function noOtherUser(): string | false {
  if (process.getuid?.() !== 0) return 'becoming another user needs root; here all mounts are so';
  return spawnSync('fusermount3', ['--version']).error ? 'fusermount3 is not installed' : false;
}
const needsFusermount = { skip: noOtherUser() };
t.test('a user without privileges mounts through fusermount3', needsFusermount, async (t) => {
  const place = makePlace(t);
  // /dev/fuse, the clone and Node may be root's only: give the test its own in a mount namespace.
  const clone = join(import.meta.dirname, '../..');
  const script = `
set -e
root="$1"; node="$root/node"; program="$root/clone/dist/tools/fauxdax.js"
trap 'umount -l "$root/m" 2>/dev/null || true' EXIT
mkdir "$root/dev" "$root/m"; mount -t tmpfs none "$root/dev"
mknod -m 666 "$root/dev/fuse" c 10 229; mount --bind "$root/dev/fuse" /dev/fuse
mkdir "$root/clone"; mount --bind "$3" "$root/clone"
touch "$node"; mount --bind "$2" "$node"
chmod 755 "$root"; mkdir "$root/home"; chown nobody "$root/home" "$root/m"
as() { runuser -u nobody -- "$@"; }
as "$node" "$program" mkfs "$root/home/image" --size 16M
as "$node" "$program" mount "$root/home/image" "$root/m"
as sh -c 'echo mine > "$1/m/f"; stat -c "%U %s" "$1/m/f"' sh "$root"
ls "$root/m" 2>&1 || true
as "$node" "$program" umount "$root/m"
as "$node" "$program" fsck "$root/home/image"
`;
  const root = join(place.imageDir, '..');
  const run = spawnSync(
    'unshare',
    ['-m', 'bash', '-c', script, 'bash', root, process.execPath, clone],
    {
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  t.equal(run.status, 0, run.stderr);
  t.match(run.stdout, /nobody 5/);
  t.match(run.stdout + run.stderr, /Permission denied/, 'others stay out without allow_other');
});

const needsFuseNative = {
  skip: existsSync(join(import.meta.dirname, '../../node_modules/fuse-native'))
    ? false
    : 'fuse-native is not installed (an optional dependency)',
};
t.test(
  'fuse-native serves the same image, what it cannot do is refused',
  needsFuseNative,
  async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place, { transport: 'fuse-native' });
    writeFileSync(join(place.dir, 'f'), 'over libfuse 2');
    t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'over libfuse 2');
    const punch = spawnSync('fallocate', ['-p', '-l', '4096', join(place.dir, 'f')]);
    t.not(punch.status, 0, 'fallocate is refused');
    await fs.unmount();
    await mounted(t, place);
    t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'over libfuse 2');
    t.same(readdirSync(place.dir), ['f']);
    await t.rejects(
      mount(place.imageDir, place.dir, { transport: 'fuse-native', crashable: true }),
      {
        message: /crashable|in use/,
      },
    );
  },
);
