/**
 * `fauxdax run`: starts a program whose mappings of the mount's files are the region itself. What
 * could not work is found first, and then nothing is started.
 */
import { spawn, type StdioOptions } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { Command } from 'commander';
import { type Control, connect } from '../../fs/mount.js';
import type { RunTicket } from '../../fs/dax/dax.js';
import {
  WIRE_ENV_DEVICE,
  WIRE_ENV_PARENT,
  WIRE_RUN_NO_DATA,
  WIRE_RUN_VERBOSE,
} from '../../fs/dax/wire.js';
import { inheritedDescriptors, stdioWith } from '../descriptors.js';
import { findExecutable, whyNotPreloaded } from '../executable.js';
import {
  assertKernel,
  beginRun,
  cannot,
  deviceOf,
  EXIT_CANNOT,
  shimEnvironment,
  shimPath,
} from '../direct.js';
import { Failure } from '../failure.js';
import type { MountEntry } from '../mountinfo.js';
import { requireMount } from '../target.js';

/** Passed on; ^C reaches the program by itself when it comes from a terminal. */
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGWINCH'];
const TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

interface Options {
  data: boolean;
  verbose?: true;
}

export function runCommand(): Command {
  return new Command('run')
    .description('run a program whose mappings of the files in a mount are the region itself')
    .usage('[options] <MOUNT> -- <CMD...>')
    .argument('<MOUNT>', 'mount point, or any path in a mount')
    .argument('<CMD...>', 'the program and its arguments, after --')
    .option('--no-data', 'read and write always go to the kernel')
    .option('--verbose', 'say which files are not mapped directly, and why')
    .addHelpText(
      'after',
      `
Stores by mmap, MAP_SYNC too, go straight to the region, as on a DAX filesystem; processes that the
program starts are included. The image has to lie in memory. A program that a preloaded library does
not reach (static, Go, set-user-ID) is refused; where another program starts one, its shared mappings
fail with ENODEV. A file that is open already when a run begins goes on in the page cache.

The program gets the signals that are sent to run, and ends with it when that is killed (SIGKILL);
processes that it started go on.

Exit status: that of the program, 128 + N when signal N ended it; 3 when it cannot be run so, 126 or
127 when it cannot be executed or found. When the daemon ends meanwhile a line on stderr says so, and the
program goes on: its mappings are SIGBUS, its calls fail.

Example:
  fauxdax mkfs /dev/shm/image --size 256M && mkdir -p /tmp/dir
  fauxdax mount /dev/shm/image /tmp/dir
  fauxdax run /tmp/dir -- fio --name=job --directory=/tmp/dir --ioengine=mmap --rw=randrw --size=64M`,
    )
    .action(run);
}

async function run(path: string, words: string[], options: Options): Promise<void> {
  const stdio = stdioWith(inheritedDescriptors());
  const mount = findRunMount(path);
  assertNotNested(mount);
  assertKernel('run');
  const command = words[0] ?? '';
  const executable = findExecutable('run', command);
  const why = whyNotPreloaded('run', executable);
  if (why !== undefined) {
    throw cannot('run', executable === command ? why : `${command}: ${why}`);
  }
  const shim = shimPath('run');
  const control = await connectTo(mount);
  try {
    const ticket = await beginRun('run', control, mount.dir);
    const environment = environmentOf(ticket, mount, shim, options);
    control.onLost(() => sayLost(mount));
    process.exitCode = await runProgram(executable, words, { env: environment, stdio });
  } finally {
    control.close();
  }
}

function findRunMount(path: string): MountEntry {
  try {
    return requireMount('run', path);
  } catch (error) {
    if (error instanceof Failure) throw new Failure(error.message, EXIT_CANNOT);
    throw error;
  }
}

function assertNotNested(mount: MountEntry): void {
  const device = process.env[WIRE_ENV_DEVICE];
  if (device === undefined || device === deviceOf(mount.dir)) return;
  throw cannot(
    'run',
    `${mount.dir}: this is inside a run on another mount: one process, one mount`,
  );
}

async function connectTo(mount: MountEntry): Promise<Control> {
  try {
    return await connect(mount.source);
  } catch (error) {
    const reason = (error as Error).message;
    throw cannot(
      'run',
      `${mount.dir}: the daemon does not answer (${reason}): run it as its user, or umount`,
    );
  }
}

/** The program goes on as it can: its status is what run ends with. */
function sayLost({ dir, source }: MountEntry): void {
  process.stderr.write(`fauxdax: run: ${dir}: the daemon has ended: see ${source}/daemon.log\n`);
}

function environmentOf(
  ticket: RunTicket,
  { dir }: MountEntry,
  shim: string,
  { data, verbose }: Options,
): NodeJS.ProcessEnv {
  const flags = (data ? 0 : WIRE_RUN_NO_DATA) | (verbose === true ? WIRE_RUN_VERBOSE : 0);
  const preloaded = process.env['LD_PRELOAD'];
  return {
    ...process.env,
    ...shimEnvironment(ticket, { dir, shim, flags, preloaded }),
    [WIRE_ENV_PARENT]: String(process.pid),
  };
}

/** @returns the exit status: the program's, or 128 and the signal that ended it */
async function runProgram(
  executable: string,
  words: readonly string[],
  given: { env: NodeJS.ProcessEnv; stdio: StdioOptions },
): Promise<number> {
  const [argv0 = '', ...args] = words;
  const isOnTerminal = hasTerminal();
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const swallow = (): void => {};
  // Before the program starts: whom it tells that it runs may send one at once.
  for (const signal of FORWARDED) process.on(signal, forward);
  for (const signal of TERMINAL) process.on(signal, isOnTerminal ? swallow : forward);
  const child = spawn(executable, args, { argv0, ...given });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      });
    });
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward);
    for (const signal of TERMINAL) process.off(signal, isOnTerminal ? swallow : forward);
  }
}

/** A terminal sends its signals to the program as well as to us. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
