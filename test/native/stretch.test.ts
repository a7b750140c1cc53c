/** Stretches: the event loop keeps its promises while the session waits for requests itself. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { OP } from '../../lib/frame.js';
import { type Outcome, TinyMount } from './tiny_mount.js';

const SIGNAL = 34 + 9; // SIGRTMIN + 9 of glibc, as native/stretch.cc has it
const STRETCH_WAIT_MS_MAX = 20_000;

function mounted(t: { teardown(close: () => void): void }): TinyMount {
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  return mount;
}

/** A client that asks for attributes without pause until it is told to stop. */
function flood(mount: TinyMount): { done: Promise<Outcome>; stop: () => void } {
  const flag = join(mount.imageDir, 'stop');
  const done = mount.client(`const fd = fs.openSync(path, 'r'); let n = 0;
    try { while (n++ % 64 || !fs.existsSync('${flag}')) fs.fstatSync(fd); console.log('stopped'); }
    catch (e) { console.log(e.code); process.exit(1); }`);
  return { done, stop: () => writeFileSync(flag, '') };
}

function asksAttributes(opcode: number): boolean {
  return opcode === OP.GETATTR || opcode === OP.STATX;
}

async function stretching(mount: TinyMount): Promise<void> {
  const end = Date.now() + STRETCH_WAIT_MS_MAX;
  const before = mount.session.counters().stretches;
  while (mount.session.counters().stretches < before + 5) {
    if (Date.now() > end) throw new Error('no stretch under a flood of requests');
    await sleep(1);
  }
}

function signalSets(pid: number | string): Record<string, boolean> {
  const sets: Record<string, boolean> = {};
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  for (const [, name, hex] of status.matchAll(/^(Sig\w+|ShdPnd):\s+([0-9a-f]{16})$/gm)) {
    sets[name as string] = ((BigInt(`0x${hex}`) >> BigInt(SIGNAL - 1)) & 1n) === 1n;
  }
  return sets;
}

/** What ends the flood: each needs the event loop, or what runs between its callbacks. */
const loopWork: [string, (mount: TinyMount) => Promise<unknown>][] = [
  ['timers', async () => sleep(30)],
  [
    'immediates',
    async () => {
      for (let i = 0; i < 1000; i++) await new Promise((resolve) => setImmediate(resolve));
    },
  ],
  [
    'promises and ticks of a handler',
    (mount) =>
      new Promise<void>((resolve) => {
        let left = 50;
        mount.handler = (opcode) => {
          if (asksAttributes(opcode) && left > 0) {
            const count = left--;
            void Promise.resolve().then(() =>
              process.nextTick(() => {
                if (count === 1) resolve();
              }),
            );
          }
          return undefined;
        };
      }),
  ],
  [
    'timers of a handler',
    (mount) =>
      new Promise<void>((resolve) => {
        mount.handler = (opcode) => {
          if (asksAttributes(opcode)) setTimeout(resolve, 0);
          return undefined;
        };
      }),
  ],
  [
    'sockets',
    async (mount) => {
      const server = createServer((socket) => socket.pipe(socket));
      server.listen(join(mount.imageDir, 'socket'));
      await once(server, 'listening');
      const socket = connect(join(mount.imageDir, 'socket'));
      for (let i = 0; i < 50; i++) {
        socket.write('ping');
        await once(socket, 'data');
      }
      socket.destroy();
      server.close();
    },
  ],
  [
    'child processes',
    async () => {
      const child = spawn('true');
      await once(child, 'exit');
    },
  ],
  [
    'notifications',
    async (mount) => {
      for (let i = 0; i < 50; i++) {
        mount.session.invalidateInode(1, -1, 0);
        await mount.session.notificationsDone();
      }
    },
  ],
];

for (const [what, work] of loopWork) {
  t.test(`${what} go on while requests flood in`, async (t) => {
    const mount = mounted(t);
    const client = flood(mount);
    await stretching(mount);
    await work(mount);
    await stretching(mount);
    client.stop();
    t.match(await client.done, { status: 0, stdout: 'stopped\n' });
  });
}

t.test('an idle session waits in the event loop', async (t) => {
  const mount = mounted(t);
  const client = flood(mount);
  await stretching(mount);
  client.stop();
  await client.done;
  await sleep(20);
  const { stretches } = mount.session.counters();
  await sleep(50);
  t.equal(mount.session.counters().stretches, stretches);
});

t.test('a session closes from outside while requests flood in', async (t) => {
  const mount = mounted(t);
  const client = flood(mount);
  await stretching(mount);
  mount.session.close();
  t.match(await client.done, { status: 1, stdout: /^E(NOTCONN|CONNABORTED|IO)\n$/ });
});

t.test('a session closes from inside a stretch', async (t) => {
  const mount = mounted(t);
  const client = flood(mount);
  await stretching(mount);
  const closed = new Promise<void>((resolve) => {
    let calls = 0;
    mount.handler = (opcode) => {
      // In the middle of a stretch: all but the first request of a turn are.
      if (!asksAttributes(opcode) || calls++ < 100) return undefined;
      mount.session.close();
      resolve();
      return 0;
    };
  });
  await closed;
  t.match(await client.done, { status: 1, stdout: /^E(NOTCONN|CONNABORTED|IO)\n$/ });
});

t.test('a handler that throws in a stretch ends the session', async (t) => {
  const mount = mounted(t);
  const client = flood(mount);
  await stretching(mount);
  mount.handler = () => {
    throw new Error('a broken invariant');
  };
  t.match(await mount.ended, /a broken invariant/);
  t.match(await client.done, { status: 1 });
});

t.test('an aborted connection ends the session while requests flood in', async (t) => {
  const mount = mounted(t);
  const client = flood(mount);
  await stretching(mount);
  const out = await mount.command('umount', ['-f', '-l', mount.dir]);
  t.equal(out.status, 0, out.stderr);
  mount.noteUnmounted();
  t.equal(await mount.ended, undefined);
  t.match(await client.done, { status: 1 });
});

t.test('the signal that ends stretches is nobody else’s', async (t) => {
  const mount = mounted(t);
  const client = flood(mount);
  await stretching(mount);
  t.ok(signalSets('self').SigCgt);
  const child = spawn('sleep', ['20']);
  await once(child, 'spawn');
  await sleep(5);
  const sets = signalSets(child.pid as number);
  child.kill('SIGKILL');
  t.same(sets, { SigPnd: false, ShdPnd: false, SigBlk: false, SigIgn: false, SigCgt: false });
  client.stop();
  await client.done;
  mount.session.close();
  t.notOk(signalSets('self').SigCgt, 'the handler goes with the last session');
  t.ok(execFileSync('true').length === 0);
});
