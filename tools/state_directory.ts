/**
 * A crash state as a directory for a person: at the workload's own path, in this process's mount
 * namespace. What is changed in it is gone afterwards. This process serves the directory, so it
 * never touches it itself: programs do.
 */
import { type SpawnOptions, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Explorer } from '../fs/explorer/explorer.js';
import { openState } from '../lib/crash/state/open_state.js';
import type { CrashState } from '../lib/crash/state/state.js';
import { loadNative } from '../lib/native.js';
import { Failure } from './failure.js';
import { EXIT_ENVIRONMENT } from './namespace.js';
import type { Run } from './run_directory.js';

/** @param dir where the workload saw its directory; it exists */
export async function inState<T>(
  state: CrashState,
  dir: string,
  run: Run,
  use: () => Promise<T>,
): Promise<T> {
  const mountPoint = join(run.runDir, 'state');
  mkdirSync(mountPoint);
  const explorer = new Explorer(loadNative(), mountPoint, () => undefined);
  const open = openState(state);
  try {
    const slot = explorer.open(open.image);
    const status = await program('mount', ['--bind', slot.path, dir], { stdio: 'inherit' });
    if (status !== 0) throw new Failure(`${dir}: cannot show the state there`, EXIT_ENVIRONMENT);
    return await use();
  } finally {
    explorer.close();
    open.close();
  }
}

/** The user's shell, in `dir`; resolves when he leaves it. */
export async function openShell(dir: string, environment: Record<string, string>): Promise<void> {
  const shell = process.env['SHELL'] || '/bin/sh';
  // The directory is entered by the child: whoever starts it must be free to serve that.
  await program('/bin/sh', ['-c', 'cd "$1" && exec "$2" -i', 'sh', dir, shell], {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  });
}

/** Everything in `dir`, with owners, times and xattrs where they can be had. */
export async function copyOut(dir: string, to: string): Promise<void> {
  const status = await program('cp', ['-a', '--', `${dir}/.`, to], { stdio: 'inherit' });
  if (status !== 0) throw new Failure(`${to}: not everything was copied`, EXIT_ENVIRONMENT);
}

function program(name: string, args: string[], options: SpawnOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, options);
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? EXIT_ENVIRONMENT));
  });
}
