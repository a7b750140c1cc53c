/** ^C while a mount is being made: the daemon is held at its first line until the signal was sent. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { missing } from './fuse_device.js';

const MAIN = resolve('dist/tools/fauxdax.js');

/** Loaded before the daemon: says its pid in `begun` and waits for `go`. */
const HOLD = `
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
if (process.argv[1].endsWith('daemon.js')) {
  writeFileSync('begun.new', String(process.pid));
  renameSync('begun.new', 'begun');
  while (!existsSync('go')) await sleep(5);
}`;

interface Held {
  base: string;
  starter: ChildProcess;
  ended: Promise<[number | null, string | null]>;
  daemonPid: number;
}

/** `fauxdax mount ARGS image dir`, its daemon started and held. */
async function startHeld(t: Test, ...args: string[]): Promise<Held> {
  const base = mkdtempSync(join(tmpdir(), 'fauxdax-interrupted-'));
  mkdirSync(join(base, 'dir'));
  t.teardown(() => {
    spawnSync('umount', ['-l', join(base, 'dir')]);
    rmSync(base, { recursive: true, force: true });
  });
  writeFileSync(join(base, 'hold.mjs'), HOLD);
  const mkfs = [MAIN, 'mkfs', join(base, 'image'), '--size', '16M'];
  t.equal(spawnSync(process.execPath, mkfs, { timeout: 60_000 }).status, 0);
  const hold = pathToFileURL(join(base, 'hold.mjs')).href;
  const starter = spawn(process.execPath, [MAIN, 'mount', ...args, 'image', 'dir'], {
    cwd: base,
    env: { ...process.env, NODE_OPTIONS: `--import=${hold}` },
    stdio: 'ignore',
  });
  const ended = new Promise<[number | null, string | null]>((resolve) => {
    starter.once('exit', (code, signal) => resolve([code, signal]));
  });
  while (!existsSync(join(base, 'begun'))) await sleep(5);
  const daemonPid = Number(readFileSync(join(base, 'begun'), 'utf8'));
  return { base, starter, ended, daemonPid };
}

function isRunning(pid: number): boolean {
  const path = `/proc/${pid}/stat`;
  return existsSync(path) && !/\) Z /.test(readFileSync(path, 'utf8'));
}

const isMounted = (base: string): boolean =>
  readFileSync('/proc/self/mountinfo', 'utf8').includes(join(base, 'dir'));

t.test('--foreground hands on what came before the mount stood', { skip: missing() }, async (t) => {
  const { base, starter, ended, daemonPid } = await startHeld(t, '--foreground');
  starter.kill('SIGINT');
  writeFileSync(join(base, 'go'), '');
  t.same(await ended, [0, null], 'as ^C a moment later');
  t.notOk(isMounted(base));
  t.notOk(isRunning(daemonPid));
});

t.test('a mount whose starter was ended goes again', { skip: missing() }, async (t) => {
  const { base, starter, ended, daemonPid } = await startHeld(t);
  starter.kill('SIGINT');
  t.same(await ended, [null, 'SIGINT']);
  writeFileSync(join(base, 'go'), '');
  while (isRunning(daemonPid)) await sleep(20);
  t.notOk(isMounted(base));
  const log = readFileSync(join(base, 'image', 'daemon.log'), 'utf8');
  t.match(log, /"why":"whoever started it has gone"/);
});
