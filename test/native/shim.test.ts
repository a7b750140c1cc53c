/** The shim of native/shim.h, preloaded into a C program, with the native fault server. */
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { builtFolder } from '../../lib/native.js';
import { lacking } from './compiler.js';
import { scratchFolder } from './scratch.js';
import { TinyFaults } from './tiny_faults.js';
import { type Outcome, TinyMount } from './tiny_mount.js';

const COMPILER = process.env['CC'] ?? 'cc';
const FOLDER = import.meta.dirname;
const CASES = ['map', 'change', 'private', 'moving', 'dropped', 'threads', 'daemon'];
const OPEN_DIRECT_IO = 1;
const EOPNOTSUPP = 95;
const GROUPS = [
  'map',
  'errors',
  'change',
  'remap',
  'private',
  'moving',
  'fork',
  'threads',
  'kernel',
];
const TIMEOUT_MS = 30_000;

// A region whose pages can be write-protected lies on shared memory.
process.env['TMPDIR'] = '/dev/shm';

function compile(test: Test, ...more: string[]): string {
  const program = join(scratchFolder(test), 'shim_program');
  const names = ['program', ...CASES.map((name) => `cases_${name}`)];
  const sources = names.map((name) => join(FOLDER, `shim_${name}.c`));
  const flags = '-std=gnu17 -O1 -g -Wall -Wextra -Werror -pthread'.split(' ');
  const made = spawnSync(COMPILER, [...flags, ...more, ...sources, '-o', program]);
  test.equal(made.status, 0, `${made.stderr}`);
  return program;
}

interface Place {
  /** What starts it, and its path. */
  words: [string, ...string[]];
  mount: TinyMount;
  /** st_dev of the mount. */
  device: string;
}

/** Runs a group; `whenReady` is called when the program says so, and it reads a line after. */
function runGroup(
  { words, mount, device }: Place,
  group: string,
  socketPath: string,
  whenReady: () => void = () => {},
): Promise<Outcome> {
  const other = join(mount.imageDir, 'other');
  writeFileSync(other, Buffer.alloc(16 * 4096, 'o'));
  const [executable, ...before] = words;
  const child = spawn(executable, [...before, group, mount.path, other], {
    cwd: mount.imageDir,
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
    env: {
      ...process.env,
      LD_PRELOAD: join(builtFolder(), 'shim.so'),
      FAUXDAX_SOCKET: socketPath,
      FAUXDAX_DEVICE: device,
      FAUXDAX_FLAGS: '2',
    },
  });
  let stdout = '';
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data;
  });
  child.stdout.on('data', (data: Buffer) => {
    const wasReady = stdout.includes('ready');
    stdout += data;
    if (wasReady || !stdout.includes('ready')) return;
    whenReady();
    child.stdin.end('\n');
  });
  return new Promise((resolve) => {
    child.on('close', (status) => resolve({ status: status ?? -1, stdout, stderr }));
  });
}

/** Each line of the program is an assertion; it must have come to its end. */
function judge(t: Test, { status, stdout }: Outcome): void {
  for (const line of stdout.split('\n')) {
    const [, outcome, name] = /^(ok|not ok) (.*)$/.exec(line) ?? [];
    if (name !== undefined) t.equal(outcome, 'ok', name);
  }
  t.match(stdout, /^end$/m, 'it came to its end');
  t.equal(status, 0);
}

t.test('programs under the shim', async (t) => {
  const program = compile(t);
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  mount.openFlags = OPEN_DIRECT_IO;
  const look = await mount.client('process.stdout.write(String(fs.statSync(dir).dev))');
  const place: Place = { words: [program], mount, device: look.stdout };
  const faults = new TinyFaults(mount);
  t.teardown(() => faults.close());

  for (const group of GROUPS) {
    await t.test(group, async (t) => {
      faults.forget();
      const outcome = await runGroup(place, group, faults.socketPath);
      judge(t, outcome);
      t.equal(outcome.stderr, '');
      t.ok(faults.countOf('fault') > 0, 'faults were told');
      t.equal(faults.collisions, group === 'private' ? 1 : 0, 'and what an entry of 2 MiB met');
      if (group === 'map') t.ok(faults.caughtStores > 0, 'so was a store to a page that was read');
      if (group === 'change') t.equal(faults.countOf('sync'), 6, 'what was to be synced was told');
    });
  }

  // The sanitizer has functions of libc of its own, also in what the shim calls.
  const noSanitizer = lacking(COMPILER, '-fsanitize=thread');
  await t.test('a program with the thread sanitizer', { skip: noSanitizer }, async (t) => {
    const words: Place['words'] = ['setarch', '-R', compile(t, '-fsanitize=thread')];
    for (const group of ['change', 'private', 'moving', 'fork']) {
      faults.forget();
      const outcome = await runGroup({ ...place, words }, group, faults.socketPath);
      judge(t, outcome);
      t.equal(outcome.stderr, '', group);
    }
  });

  const skip = process.getuid?.() === 0 ? false : 'needs to become another user';
  await t.test('processes that have less rights than who attached', { skip }, async (t) => {
    faults.forget();
    const outcome = await runGroup(place, 'dropped', faults.socketPath);
    judge(t, outcome);
    t.equal(outcome.stderr, '');
    t.equal(faults.countOf('attached'), 1 + 3 * 4, 'each is served');
  });

  await t.test('a child that may not do what it takes', async (t) => {
    faults.forget();
    const outcome = await runGroup(place, 'unserved', faults.socketPath);
    judge(t, outcome);
    t.match(outcome.stderr, /^fauxdax: a child of fork is not served, .* SIGBUS: .*memory.*\n$/);
  });

  await t.test('a file that is not DAX', async (t) => {
    faults.forget();
    faults.refusal = EOPNOTSUPP;
    const outcome = await runGroup(place, 'refused', faults.socketPath);
    judge(t, outcome);
    const line = `fauxdax: ${mount.path}: not mapped directly: the file is open without DAX`;
    t.equal(outcome.stderr, `${line}\n${line}\n`);
  });

  await t.test('a daemon of another version', async (t) => {
    const outcome = await runGroup(place, 'version', join(mount.imageDir, 'version'));
    judge(t, outcome);
    t.match(outcome.stderr, /^fauxdax: .* another version\n$/, 'it is said once');
  });

  await t.test('no daemon', async (t) => {
    const { stdout, stderr } = await runGroup(place, 'map', join(mount.imageDir, 'nothing'));
    t.match(stdout, /^not ok mmap: Input\/output error$/m);
    t.match(stderr, /^fauxdax: .* daemon's socket .* is not there .*\n$/, 'it is said once');
  });

  await t.test('a daemon that ends', async (t) => {
    faults.forget();
    const outcome = await runGroup(place, 'orphan', faults.socketPath, () => faults.close());
    judge(t, outcome);
    t.match(outcome.stderr, /^fauxdax: .* is gone: .* SIGBUS\n$/, 'it is said once');
  });
});
