import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import tap, { type Test } from 'tap';
import { makeDir, needsMount } from './states.js';

const SLOW = { timeout: 60_000 };
const driver = join(import.meta.dirname, 'driver.mjs');
const NOBODY = 65534;
const asNobody = ['setpriv', ...[`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']];

/** Becoming another user needs root; and that user has to be allowed its namespaces. */
function needsUserNamespaces(): { skip: string | boolean } {
  if (needsMount.skip !== false) return needsMount;
  const unshare = ['unshare', '--user', '--map-current-user', '--keep-caps', '--mount', 'true'];
  const [program, ...args] = [...asNobody, ...unshare];
  if (spawnSync(program as string, args).status !== 0) return { skip: 'needs user namespaces' };
  const opens = spawnSync(asNobody[0] as string, [...asNobody.slice(1), 'test', '-w', '/dev/fuse']);
  if (opens.status !== 0) return { skip: 'needs /dev/fuse that everybody may open' };
  const readable = spawnSync(asNobody[0] as string, [...asNobody.slice(1), 'cat', driver]);
  return { skip: readable.status === 0 ? false : 'needs a clone that everybody may read' };
}

/** Processes whose command line holds `text`; dead ones that nobody waited for have none. */
function running(text: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(text);
    } catch {
      return false;
    }
  });
}

async function until(isDone: () => boolean): Promise<void> {
  for (let tries = 0; !isDone() && tries < 200; tries += 1) await sleep(50);
}

interface Tool {
  process: ChildProcess;
  root: string;
  ended: Promise<{ status: number | null; stdout: string; stderr: string }>;
}

function start(t: Test, check: string, prefix: string[] = []): Tool {
  const root = makeDir(t);
  if (prefix.length > 0) chownSync(root, NOBODY, NOBODY);
  const [program, ...args] = [...prefix, process.execPath, driver, root, check];
  const tool = spawn(program as string, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  tool.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  tool.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const ended = new Promise<Awaited<Tool['ended']>>((resolve) => {
    tool.once('close', (status) => resolve({ status, stdout, stderr }));
  });
  t.teardown(() => tool.kill('SIGKILL'));
  return { process: tool, root, ended };
}

const USERS: [user: string, prefix: string[], options: { skip: string | boolean }][] = [
  ['root', [], needsMount],
  ['an ordinary user', asNobody, needsUserNamespaces()],
];

for (const [user, prefix, options] of USERS) {
  tap.test(`${user} runs a check in a namespace of its own`, { ...options, ...SLOW }, async (t) => {
    const check = 'echo bytes > f && cat f && id -u && grep CapEff /proc/self/status; exit 7';
    const { root, ended } = start(t, check, prefix);
    const { status, stdout, stderr } = await ended;
    t.equal(stderr, '');
    t.equal(status, 7);
    const [ready, bytes, uid, capabilities] = stdout.split('\n');
    t.same([ready, bytes, uid], ['ready', 'bytes', prefix.length === 0 ? '0' : String(NOBODY)]);
    const bits = BigInt(`0x${capabilities?.split('\t')[1]}`);
    t.equal((bits >> 21n) & 1n, 0n, 'the check may not mount');
    if (prefix.length > 0) t.equal(bits, 0n, 'and has no other rights that its user has not');
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), root);
  });

  tap.test(
    `the tool of ${user} killed with -9 leaves nothing`,
    { ...options, ...SLOW },
    async (t) => {
      const seconds = prefix.length === 0 ? '415.5' : '416.5';
      const mark = `sleep\u0000${seconds}`;
      const tool = start(t, `sleep ${seconds} & sleep ${seconds}`, prefix);
      await until(() => running(mark).length === 2);
      t.equal(running(mark).length, 2);
      tool.process.kill('SIGKILL');
      await until(() => running(mark).length + running(tool.root).length === 0);
      t.same(running(mark), []);
      t.same(running(tool.root), []);
      t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), tool.root);
    },
  );
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  tap.test(
    `${signal} to the tool reaches what runs in the namespace`,
    { ...needsMount, ...SLOW },
    async (t) => {
      const mark = 'sleep\u0000417.5';
      const tool = start(t, 'sleep 417.5');
      await until(() => running(mark).length > 0);
      tool.process.kill(signal);
      const { status } = await tool.ended;
      t.equal(status, signal === 'SIGINT' ? 130 : 143);
      // A process that was killed is there until it has given up its memory.
      await until(() => running(mark).length + running(tool.root).length === 0);
      t.same(running(mark), []);
      t.same(running(tool.root), []);
    },
  );
}

const commandOptions = { ...needsUserNamespaces(), timeout: 120_000 };
tap.test('an ordinary user finds a bug and sees it again', commandOptions, async (t) => {
  const home = makeDir(t);
  chownSync(home, NOBODY, NOBODY);
  const [program, ...prefix] = [...asNobody, process.execPath, 'dist/tools/fauxdax.js'];
  const env = { ...process.env, HOME: home, TMPDIR: home, XDG_DATA_HOME: join(home, 'data') };
  const fauxdax = (...args: string[]) =>
    spawnSync(program as string, [...prefix, ...args], { env, encoding: 'utf8' });
  const check = '[ ! -s "$FAUXDAX_ACKED" ] || grep -q new a';
  const found = fauxdax('test', '--workload', 'echo new > a; echo saved', '--check', check);
  t.match(found, { status: 1, stderr: '', stdout: /^✗ FAIL/ });
  const [id] = readdirSync(join(home, 'data', 'fauxdax', 'failures'));
  t.match(fauxdax('replay', String(id)), { status: 1, stdout: /image: the same/ });
  t.same(readdirSync(home), ['data']);
});
