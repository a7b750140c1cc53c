/**
 * A mount namespace for one command: `fauxdax test` and its like run again as a child of
 * themselves in a private one (for ordinary users in a user namespace too, where they may mount),
 * so that whatever happens to them, no mount is left. unshare(1) and setpriv(1) of util-linux do
 * it; the child dies with us.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { mayMount } from '../fs/kernel_mount.js';
import { Failure } from './failure.js';

/** The environment: FUSE is missing, namespaces are not allowed. */
export const EXIT_ENVIRONMENT = 3;

/** Set for the child, to the pid of the parent that it must not outlive. */
const INSIDE = 'FAUXDAX_NAMESPACE';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** What unshare(1) ends with when the kernel says no; also what a command may end with. */
const UNSHARE_FAILED = 1;

/**
 * @returns undefined inside the namespace, where the caller goes on; outside, when all is done, the
 * exit status to end with
 * @throws {Failure} namespaces are not allowed here
 */
export async function inNamespace(): Promise<number | undefined> {
  const parent = process.env[INSIDE];
  if (parent !== undefined) {
    delete process.env[INSIDE];
    // Our parent was killed before we asked to die with it.
    if (Number(parent) !== process.ppid) process.exit(EXIT_ENVIRONMENT);
    return undefined;
  }
  let child: ChildProcess | undefined;
  let early: NodeJS.Signals | undefined;
  const forward = (signal: NodeJS.Signals): void => {
    if (child === undefined) early ??= signal;
    // ^C at a terminal has reached the child already: it is of our process group.
    else if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    await assertAllowed();
    if (early !== undefined) return 128 + constants.signals[early];
    child = startInside();
    return await statusOf(child);
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

function startInside(): ChildProcess {
  const [program, ...args] = [...unshareCommand(), process.execPath, ...process.execArgv];
  return spawn(program as string, [...args, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: String(process.pid) },
  });
}

function statusOf(child: ChildProcess): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(notAllowed(error.message)));
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)),
    );
  });
}

function unshareCommand(): string[] {
  const user = mayMount() ? [] : ['--user', '--map-current-user', '--keep-caps'];
  const unshare = ['unshare', ...user, '--mount', '--propagation', 'private'];
  return [...unshare, '--', 'setpriv', '--pdeathsig', 'KILL', '--'];
}

/** Said once, in words, before anything else is started: unshare's own words name a system call. */
async function assertAllowed(): Promise<void> {
  const [program, ...args] = unshareCommand();
  let said = '';
  const status = await new Promise<number | null>((resolve, reject) => {
    const child = spawn(program as string, [...args, 'true'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('error', (error) => reject(notAllowed(error.message)));
    child.once('close', resolve);
  });
  if (status !== 0) throw notAllowed(said.trim() || `exit status ${status ?? UNSHARE_FAILED}`);
}

function notAllowed(reason: string): Failure {
  const what = mayMount() ? 'a mount namespace' : 'a user namespace';
  return new Failure(`cannot make ${what}: ${reason}${hint()}`, EXIT_ENVIRONMENT);
}

function hint(): string {
  if (mayMount()) return '; a container needs --cap-add SYS_ADMIN';
  const switches: [path: string, forbids: string, value: string][] = [
    ['/proc/sys/kernel/unprivileged_userns_clone', '0', 'kernel.unprivileged_userns_clone=1'],
    [
      '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
      '1',
      'kernel.apparmor_restrict_unprivileged_userns=0',
    ],
    ['/proc/sys/user/max_user_namespaces', '0', 'user.max_user_namespaces=10000'],
  ];
  const found = switches.find(
    ([path, forbids]) => existsSync(path) && readFileSync(path, 'utf8').trim() === forbids,
  );
  const ways = found === undefined ? '' : `allow them with sysctl ${found[2]}, or `;
  return `; ${ways}run it as root`;
}
