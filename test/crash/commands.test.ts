/** `fauxdax test` and its kin as a user runs them: real workloads, real mounts, `dist/`. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Result } from '../../lib/crash/result/result.js';

const MAIN = resolve('dist/tools/fauxdax.js');
const skip = !existsSync('/dev/fuse') && '/dev/fuse is missing';
const base = mkdtempSync(join(realpathSync(tmpdir()), 'fauxdax-commands-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

/** Every run has a TMPDIR of its own: what is left in it was left behind. */
const runs = join(base, 'runs');
mkdirSync(runs);
const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: runs, XDG_DATA_HOME: join(base, 'data') };
for (const name of Object.keys(env)) if (/^(SLURM|JOB_COMPLETION)/.test(name)) delete env[name];
const saved = join(base, 'data', 'fauxdax', 'failures');

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function fauxdax(...args: string[]): Ended {
  const options = { encoding: 'utf8', cwd: base, env, timeout: 120_000 } as const;
  return spawnSync(process.execPath, [MAIN, ...args], options);
}

const nothingLeft = (): string[] => readdirSync(runs);

const CHECK = 'if grep -q saved "$FAUXDAX_ACKED"; then grep -qx two a; else true; fi';
const SETUP = 'echo one > a';
/** Says that it saved before it did. */
const BUGGY = 'echo two > b; mv b a; echo saved';
const FIXED = 'echo two > b; sync b; mv b a; sync .; echo saved';

t.test('a missing fsync is found, and is found again by its id', { skip }, async (t) => {
  const json = join(base, 'buggy.json');
  const args = ['--setup', SETUP, '--workload', BUGGY, '--check', CHECK];
  const first = fauxdax('test', ...args, '--json', json, '--report', join(base, 'buggy.html'));
  t.match(first, { status: 1, stdout: /^✗ FAIL/, stderr: '' });
  const result = JSON.parse(readFileSync(json, 'utf8')) as Result;
  const [failure] = result.failures;
  t.ok(failure);
  t.match(first.stdout, `fauxdax replay ${failure?.id}`);
  t.match(readFileSync(join(base, 'buggy.html'), 'utf8'), `id="f-${failure?.id}"`);

  const again = fauxdax('replay', String(failure?.id));
  t.match(again, { status: 1, stdout: `image: the same, SHA-256 ${failure?.imageHash}` });
  t.match(again.stdout, 'it fails again');
  t.match(fauxdax('replay', String(failure?.id).slice(0, 6)).status, 1, 'its beginning will do');

  const script = spawnSync(join(saved, String(failure?.id), 'replay.sh'), {
    encoding: 'utf8',
    env: { ...env, FAUXDAX: `${process.execPath} ${MAIN}` },
    timeout: 60_000,
  });
  t.match(script, { status: 1, stdout: /it fails again/ });

  const files = join(base, 'files');
  t.match(fauxdax('replay', String(failure?.id), '--export', files), { status: 0 });
  t.notMatch(existsSync(join(files, 'a')) && readFileSync(join(files, 'a'), 'utf8'), /two/);
  t.match(fauxdax('replay', String(failure?.id), '--export', files), {
    status: 2,
    stderr: /--export .*is no empty directory/,
  });

  const shell = spawnSync(process.execPath, [MAIN, 'replay', String(failure?.id), '--shell'], {
    encoding: 'utf8',
    cwd: base,
    env: { ...env, SHELL: '/bin/sh' },
    input:
      'cat a; cat "$FAUXDAX_ACKED"; [ "$PWD" = "$FAUXDAX_DIR" ] && echo "$FAUXDAX_PHASE $FAUXDAX_STATE"; exit\n',
    timeout: 60_000,
  });
  t.match(shell, { status: 0, stdout: /saved\ncheck \w+:\d+\n/ });
  t.same(nothingLeft(), []);
});

/** Appends once more when it was cut between the two syncs. */
const RECOVERY = `
  if [ -s log ]; then cat log >> all; sync all .; : > log; sync log .; fi
  [ "$(grep -c one all 2>/dev/null)" != 2 ]`;

t.test('a crash inside a recovery is the same image each time', { skip }, async (t) => {
  const workload = 'echo one > log; sync log .';
  const args = ['--workload', workload, '--check', RECOVERY, '--nested', '1'];
  const json = join(base, 'nested.json');
  const found = fauxdax('test', ...args, '--json', json);
  t.match(found, { status: 1, stdout: /second time, during the check's recovery/ });
  const [failure] = (JSON.parse(readFileSync(json, 'utf8')) as Result).failures;
  t.ok(failure?.choice.nested);
  for (let count = 0; count < 3; count++) {
    const again = fauxdax('replay', String(failure?.id));
    t.match(again, { status: 1, stdout: `image: the same, SHA-256 ${failure?.imageHash}` });
    t.match(again.stdout, 'it fails again');
  }
  rmSync(join(saved, String(failure?.id), 'recovery.trace'));
  t.match(fauxdax('replay', String(failure?.id)), { status: 2, stderr: /recovery.trace: / });
  t.same(nothingLeft(), []);
});

t.test('its fixed twin passes to the named end', { skip }, async (t) => {
  const junit = join(base, 'fixed.xml');
  const args = ['--setup', SETUP, '--workload', FIXED, '--check', CHECK, '--junit', junit];
  const ended = fauxdax('test', ...args);
  t.match(ended, { status: 0, stdout: /^✓ PASS {2}no crash breaks it under dax/, stderr: '' });
  t.match(ended.stdout, /^space-exhausted: /m);
  t.match(readFileSync(junit, 'utf8'), /failures="0"/);
  t.same(nothingLeft(), []);
});

t.test('a trace is explored where its directory never was', { skip }, async (t) => {
  const trace = join(base, 'trace');
  const recorded = fauxdax('record', '-o', trace, '--setup', SETUP, '--workload', BUGGY);
  t.match(recorded, { status: 0, stderr: '' });
  t.match(fauxdax('record', '-o', trace, '--workload', 'true'), {
    status: 2,
    stderr: /is there already: --force overwrites it/,
  });
  t.match(fauxdax('explore', trace, '--check', CHECK), { status: 1, stdout: /^✗ FAIL/ });
  t.match(fauxdax('explore', trace, '--check', 'true'), { status: 0, stdout: /^✓ PASS/ });
  t.same(nothingLeft(), [], 'the directory that was made for it is gone as well');
});

t.test('what is damaged is refused by name, and nothing runs', { skip }, async (t) => {
  const whole = join(base, 'whole');
  t.equal(fauxdax('record', '-o', whole, '--workload', FIXED).status, 0);
  const bytes = readFileSync(whole);
  const ran = join(base, 'ran');
  const table: [string, (path: string) => void][] = [
    ['cut', (path) => truncateSync(path, statSync(path).size - 100)],
    ['empty', (path) => truncateSync(path, 0)],
    ['flipped', (path) => writeFileSync(path, flipped(bytes, bytes.length >> 1))],
    ['version', (path) => writeFileSync(path, flipped(bytes, 8))],
  ];
  for (const [name, damage] of table) {
    const path = join(base, `trace-${name}`);
    copyFileSync(whole, path);
    damage(path);
    const ended = fauxdax('explore', path, '--check', `touch ${ran}`);
    t.equal(ended.status, 2, name);
    t.match(ended.stderr, `fauxdax: ${path}: `, name);
    t.equal(ended.stderr.split('\n').length, 2, 'one line');
  }
  t.notOk(existsSync(ran));
  const missing = fauxdax('explore', join(base, 'nothing'), '--check', 'true');
  t.match(missing, { status: 2, stderr: /nothing: / });
  t.same(nothingLeft(), []);
});

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 0x55, at);
  return copy;
}

t.test(
  'a check or a workload that fails by itself is said, with its words',
  { skip },
  async (t) => {
    const table: [string[], RegExp][] = [
      [
        ['--workload', 'echo oops >&2; exit 3', '--check', 'true'],
        /workload ended with status 3\noops/,
      ],
      [['--workload', 'kill -SEGV $$', '--check', 'true'], /workload was ended by SIGSEGV/],
      [
        ['--workload', 'true', '--setup', 'echo no >&2; false', '--check', 'true'],
        /setup ended with status 1\nno/,
      ],
      [['--workload', FIXED, '--check', 'echo wrong >&2; false'], /wrong/],
      [['--workload', FIXED, '--check', 'test -e a'], /empty|start|nothing/],
    ];
    for (const [args, message] of table) {
      const ended = fauxdax('test', ...args);
      t.match(ended, { status: 2, stdout: '', stderr: message }, args.join(' '));
    }
    t.same(nothingLeft(), []);
  },
);

t.test('a server is ended by time, and that is no failure of its', { skip }, async (t) => {
  const workload = 'sh -c "while :; do echo x >> log; sleep 0.05; done" & sleep 1000';
  const args = ['--workload', workload, '--workload-seconds', '1', '--check', 'true'];
  t.match(fauxdax('test', ...args, '--states', '20'), { status: 0, stdout: /^✓ PASS/ });
  t.same(nothingLeft(), []);
});

t.test('marks and output are in the trace, in their order', { skip }, async (t) => {
  const trace = join(base, 'marked');
  const mark = `${process.execPath} ${MAIN} mark`;
  const workload = `echo one; echo 1 > a; ${mark} 'a is there'; sync a; echo two`;
  t.equal(fauxdax('record', '-o', trace, '--workload', workload).status, 0);
  const { stdout } = fauxdax('trace', trace, '--json');
  const said = stdout
    .split('\n')
    .filter((line) => line.includes('"output"'))
    .flatMap((line) => (JSON.parse(line) as { lines: string[] }).lines);
  t.same(said, ['one', 'a is there', 'two']);
  t.match(fauxdax('mark', 'nobody records'), { status: 0, stdout: '', stderr: '' });
});

t.test('without /dev/fuse the environment is to blame', { skip }, async (t) => {
  const script = 'mount -t tmpfs none /dev && exec "$@"';
  const words = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', process.execPath];
  const { status, stderr } = spawnSync(
    'unshare',
    [...words, MAIN, 'test', '--workload', 'true', '--check', 'true'],
    { encoding: 'utf8', env, timeout: 60_000 },
  );
  t.match({ status, stderr }, { status: 3, stderr: /^fauxdax: \/dev\/fuse is missing: / });
  t.same(nothingLeft(), []);
});

t.test('a full disk while recording is said in one line', { skip }, async (t) => {
  const workload =
    'for i in 1 2 3 4 5 6 7 8; do head -c 3000000 /dev/zero | tr "\\0" x > a; sync a; done';
  const script =
    'mount -t tmpfs -o size=28m none "$TMPDIR" || exit 9; "$@"; rc=$?; ls -A "$TMPDIR"; exit $rc';
  const words = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', process.execPath];
  const ended = spawnSync(
    'unshare',
    [...words, MAIN, 'test', '--size', '16M', '--workload', workload, '--check', 'true'],
    { encoding: 'utf8', env, timeout: 60_000 },
  );
  t.match(ended, { status: 3, stdout: '', stderr: /^fauxdax: recording: no space left in .*\n$/ });
});

t.test('^C at any moment leaves nothing', { skip }, async (t) => {
  const args = ['--setup', SETUP, '--workload', `${BUGGY}; sleep 0.3`];
  const check = ['--check', 'sleep 0.2', '--model', 'dax', '--seconds', '30'];
  for (const afterMs of [30, 150, 300, 450, 600, 750, 900, 1100, 1500]) {
    const child = spawn(process.execPath, [MAIN, 'test', ...args, ...check], {
      cwd: base,
      env,
      stdio: 'ignore',
    });
    const ended = endOf(child);
    await sleep(afterMs);
    child.kill('SIGINT');
    const [status] = await ended;
    // Before Node has taken over, the signal ends it.
    t.match(String(status), /^(130|null)$/, `after ${afterMs} ms`);
    t.same(nothingLeft(), [], 'no file');
    t.same(processesOf(runs), [], 'no process');
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), runs, 'no mount');
  }
});

t.test('^C while its directory is being made is not forgotten', { skip }, async (t) => {
  const bin = join(base, 'bin');
  const begun = join(base, 'begun');
  mkdirSync(bin);
  const slow = `#!/bin/sh\n: > '${begun}'\nsleep 0.5\nPATH=/usr/bin:/bin exec mktemp "$@"\n`;
  writeFileSync(join(bin, 'mktemp'), slow, { mode: 0o755 });
  const args = [MAIN, 'test', '--workload', 'true', '--check', 'true'];
  const child = spawn(process.execPath, args, {
    cwd: base,
    env: { ...env, PATH: `${bin}:${process.env['PATH']}` },
    stdio: 'ignore',
  });
  const ended = endOf(child);
  while (!existsSync(begun)) await sleep(5);
  child.kill('SIGINT');
  t.same(await ended, [130, null]);
  t.same(nothingLeft(), []);
});

t.test('kill -9 of it leaves nothing either', { skip }, async (t) => {
  const args = ['--setup', SETUP, '--workload', `${BUGGY}; sleep 0.3`, '--check', 'sleep 0.2'];
  for (const afterMs of [100, 200, 400, 800, 1300]) {
    const options = { cwd: base, env, stdio: 'ignore' } as const;
    const child = spawn(process.execPath, [MAIN, 'test', ...args], options);
    const ended = endOf(child);
    await sleep(afterMs);
    child.kill('SIGKILL');
    await ended;
    const left = (): string[] => [...nothingLeft(), ...processesOf(runs)];
    for (let tries = 0; left().length > 0 && tries < 100; tries++) await sleep(50);
    t.same(left(), [], `after ${afterMs} ms`);
  }
});

function endOf(child: ChildProcess): Promise<[number | null, string | null]> {
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve([code, signal])));
}

/** Processes that have `text` in their arguments or environment. */
function processesOf(text: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const all = command + readFileSync(`/proc/${pid}/environ`, 'utf8');
      if (all.includes(text)) found.push(`${pid} ${command}`);
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}
