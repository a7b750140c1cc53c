/** The power cut by hand, on a live mount, with descriptors and mappings open. */
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makePlace, mounted } from './image.js';

const quiet = { crashable: true, commitSeconds: 3600 };

function durableFile(path: string, content: string | Buffer): void {
  const fd = openSync(path, 'w');
  writeSync(fd, content as Buffer);
  fsyncSync(fd);
  closeSync(fd);
}

t.test('keep none: what was synced is there, what was not is gone', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  const at = (name: string) => join(place.dir, name);
  durableFile(at('kept'), 'kept');
  mkdirSync(at('lost-directory'));
  writeFileSync(at('lost-file'), 'x'.repeat(10_000));
  rmSync(at('kept'));
  const report = await fs.crash();
  t.equal(readFileSync(at('kept'), 'utf8'), 'kept', 'an unlink that was not synced is undone');
  t.same(readdirSync(place.dir), ['kept']);
  t.equal(existsSync(at('lost-file')), false, 'also where the kernel had the name cached');
  t.ok(report.undecidedOperations >= 3);
  t.equal(report.keptOperations, 0);
  t.ok(report.undecidedLines > 0);
  t.equal(report.keptLines, 0);
});

t.test('an overwrite in place is undecided until fsync, and descriptors stay', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  const path = join(place.dir, 'file');
  durableFile(path, Buffer.alloc(8192, 'a'));
  const fd = openSync(path, 'r+');
  const seen = Buffer.alloc(8192);
  const look = () => seen.subarray(0, readSync(fd, seen, 0, 8192, 0)).toString('latin1');
  writeSync(fd, Buffer.alloc(4096, 'b'), 0, 4096, 0);
  t.equal(look(), 'b'.repeat(4096) + 'a'.repeat(4096));
  await fs.crash();
  t.equal(look(), 'a'.repeat(8192), 'the open descriptor reads the durable bytes');
  writeSync(fd, Buffer.alloc(4096, 'c'), 0, 4096, 0);
  fdatasyncSync(fd);
  await fs.crash();
  t.equal(look(), 'c'.repeat(4096) + 'a'.repeat(4096));
  closeSync(fd);
});

t.test('keep all keeps everything that was stored', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  writeFileSync(join(place.dir, 'file'), 'stored only');
  const report = await fs.crash({ keep: 'all' });
  t.equal(readFileSync(join(place.dir, 'file'), 'utf8'), 'stored only');
  t.equal(report.keptOperations, report.undecidedOperations);
});

t.test('the same seed leaves the same bytes, and seeds differ', async (t) => {
  const outcome = async (seed: number): Promise<string> => {
    let text = '';
    await t.test(`seed ${seed}`, async (t) => {
      const place = makePlace(t);
      const fs = await mounted(t, place, quiet);
      const path = join(place.dir, 'file');
      durableFile(path, Buffer.alloc(64 * 64, '.'));
      const fd = openSync(path, 'r+');
      writeSync(fd, Buffer.alloc(64 * 64, '#'), 0, 64 * 64, 0);
      closeSync(fd);
      await fs.crash({ keep: 'seed', seed });
      text = readFileSync(path, 'latin1');
      const lines = text.match(/.{64}/g) ?? [];
      t.ok(
        lines.every((line) => line === '.'.repeat(64) || line === '#'.repeat(64)),
        'whole lines',
      );
    });
    return text;
  };
  const [first, again, other] = [await outcome(2), await outcome(2), await outcome(4)];
  t.equal(first, again);
  t.not(first, other);
  t.match(first, /#{64}/);
  t.match(first, /\.{64}/);
});

t.test('an inode that never became durable answers ESTALE on its descriptor', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  const fd = openSync(join(place.dir, 'new'), 'w+');
  writeSync(fd, 'x');
  const report = await fs.crash();
  t.equal(report.staleInodes, 1);
  const attempt = (): number => writeSync(fd, 'y');
  t.equal(errnoOf(attempt), -constants.errno.ESTALE); // libuv has no name for it
  closeSync(fd);
  writeFileSync(join(place.dir, 'new'), 'again');
  t.equal(readFileSync(join(place.dir, 'new'), 'utf8'), 'again');
});

t.test('a rename is undone whole', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  const at = (name: string) => join(place.dir, name);
  durableFile(at('conf'), 'old');
  writeFileSync(at('conf.tmp'), 'new');
  renameSync(at('conf.tmp'), at('conf'));
  t.equal(readFileSync(at('conf'), 'utf8'), 'new');
  await fs.crash();
  t.equal(readFileSync(at('conf'), 'utf8'), 'old');
  t.same(readdirSync(place.dir), ['conf']);
});

t.test('a mapping loses what was not msynced and shows the durable bytes', async (t) => {
  const place = makePlace(t);
  await mounted(t, place, quiet);
  const path = join(place.dir, 'file');
  durableFile(path, Buffer.alloc(8192, 'a'));
  const program = `
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(f, 8192)
m[0:4] = b'sync'
m.flush()
m[4096:4100] = b'lost'
print('stored', flush=True)
sys.stdin.readline()
print(m[0:4].decode(), m[4096:4100].decode(), flush=True)
`;
  const crash = `${process.execPath} ${join(import.meta.dirname, '../../dist/tools/fauxdax.js')}`;
  const run = spawnSync(
    'bash',
    [
      '-c',
      `
coproc py { python3 -c "$1" "$2"; }
read -r stored <&"\${py[0]}"
${crash} crash "$3" >&2
echo go >&"\${py[1]}"
read -r seen <&"\${py[0]}"
echo "$seen"
`,
      'bash',
      program,
      path,
      place.dir,
    ],
    { encoding: 'utf8', timeout: 60_000 },
  ); // prettier-ignore
  t.equal(run.stdout.trim(), 'sync aaaa', run.stderr);
});

t.test(
  '--at cuts the power after the n-th matching operation, whose caller sees EIO',
  async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place, quiet);
    const path = join(place.dir, 'db.wal');
    durableFile(path, Buffer.alloc(4096, '-'));
    const action = { do: 'crash', keep: { keep: 'none' } } as const;
    await fs.fault.add({ op: 'write', path: '*.wal', nth: 3, action });
    const fd = openSync(path, 'r+');
    writeSync(fd, '1', 0);
    writeSync(fd, '2', 1);
    t.throws(() => writeSync(fd, '3', 2), { code: 'EIO' });
    closeSync(fd);
    t.equal(readFileSync(path, 'latin1').slice(0, 4), '----');
    t.same(await fs.fault.list(), [], 'a crash rule fires once');
  },
);

t.test('a crash is refused on a mount that is not crashable', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  await t.rejects(fs.crash(), { message: /without -o crashable/ });
});

t.test('after many crashes the image is clean and mounts', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, quiet);
  for (let round = 0; round < 30; round += 1) {
    const dir = join(place.dir, `d${round % 5}`);
    if (!existsSync(dir)) mkdirSync(dir);
    durableFile(join(dir, `f${round}`), `round ${round}`);
    writeFileSync(join(dir, 'scratch'), Buffer.alloc(50_000, round));
    await fs.crash(round % 3 === 0 ? { keep: 'none' } : { keep: 'seed', seed: round });
    t.equal(readFileSync(join(dir, `f${round}`), 'utf8'), `round ${round}`);
  }
  await fs.unmount();
  checkClean(t, place.imageDir);
  await mounted(t, place);
  t.equal(statSync(join(place.dir, 'd4', 'f29')).size, 8);
});

function errnoOf(run: () => void): number | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno;
  }
}

function checkClean(t: Test, imageDir: string): void {
  const program = join(import.meta.dirname, '../../dist/tools/fauxdax.js');
  const run = spawnSync(process.execPath, [program, 'fsck', imageDir], { encoding: 'utf8' });
  t.equal(run.status, 0, run.stdout + run.stderr);
}
