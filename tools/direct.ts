/**
 * What programs need to map the files of a mount directly: a kernel that can, the shim, a daemon
 * that serves them, and the environment in which they find both. `fauxdax run` starts a program so,
 * and recordings with --dax their workload. `command` begins what a person reads.
 */
import { existsSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { RunTicket } from '../fs/dax/dax.js';
import { WIRE_ENV_DEVICE, WIRE_ENV_FLAGS, WIRE_ENV_SOCKET, WIRE_VERSION } from '../fs/dax/wire.js';
import type { Control } from '../fs/mount.js';
import { Errno } from '../lib/errno.js';
import { builtFolder, loadNative } from '../lib/native.js';
import { Failure } from './failure.js';

/** The program was not started, and could not be. */
export const EXIT_CANNOT = 3;

const SHIM_NAME = 'shim.so';

/** PAGEMAP_SCAN. */
const KERNEL_MIN = [6, 7] as const;

/** Nothing was started. @param reason what is wrong, and what to do */
export function cannot(command: string, reason: string): Failure {
  return new Failure(`${command}: ${reason}`, EXIT_CANNOT);
}

/** @throws {Failure} this kernel, or how it is set up, cannot do it */
export function assertKernel(command: string): void {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const [majorMin, minorMin] = KERNEL_MIN;
  const needed = `Linux ${majorMin}.${minorMin} or newer`;
  if (major < majorMin || (major === majorMin && minor < minorMin)) {
    throw cannot(command, `this is Linux ${release()}: direct mappings need ${needed}`);
  }
  try {
    const missing = loadNative().probeUserfault();
    if (missing === 0) return;
    const bits = `0x${missing.toString(16)}`;
    throw cannot(
      command,
      `this kernel's userfaultfd lacks features ${bits}: build it with PTE_MARKER_UFFD_WP`,
    );
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    if (error.code !== 'EPERM') {
      throw cannot(
        command,
        `this kernel has no userfaultfd (${error.code}): build it with CONFIG_USERFAULTFD`,
      );
    }
    throw cannot(
      command,
      'you may not use userfaultfd: as root, sysctl vm.unprivileged_userfaultfd=1, ' +
        'or give yourself read and write on /dev/userfaultfd',
    );
  }
}

/** @throws {Failure} it was not built */
export function shimPath(command: string): string {
  const path = join(builtFolder(), SHIM_NAME);
  if (existsSync(path)) return path;
  throw cannot(command, `${path} was not built: run npm run build:native`);
}

/**
 * Programs may map files of the mount from here on, until `control` is closed.
 * @throws {Failure} the daemon will not have it
 */
export async function beginRun(command: string, control: Control, dir: string): Promise<RunTicket> {
  const again = 'umount it and mount it again';
  let ticket: RunTicket;
  try {
    ticket = await control.beginRun();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === 'ENOSYS')
      throw cannot(command, `${dir}: its daemon is of an older version: ${again}`);
    if (code === undefined) throw error;
    throw cannot(command, `${dir}: ${message}`);
  }
  if (ticket.wireVersion !== WIRE_VERSION) {
    throw cannot(command, `${dir}: its daemon is of another version: ${again}`);
  }
  if (ticket.uid !== process.geteuid?.()) {
    throw cannot(
      command,
      `${dir}: mounted by user ${ticket.uid}: only that user's programs may run so`,
    );
  }
  return ticket;
}

/** st_dev as the program sees it. */
export function deviceOf(dir: string): string {
  return String(statSync(dir, { bigint: true }).dev);
}

/**
 * What a program's environment has besides its own.
 * @param flags WIRE_RUN_*
 * @param preloaded what is preloaded besides the shim, as LD_PRELOAD has it
 */
export function shimEnvironment(
  { socketPath }: RunTicket,
  where: { dir: string; shim: string; flags: number; preloaded: string | undefined },
): Record<string, string> {
  const { dir, shim, flags, preloaded = '' } = where;
  const isThere = preloaded.split(/[ :]/).includes(shim);
  return {
    LD_PRELOAD: isThere ? preloaded : [preloaded, shim].filter((word) => word !== '').join(':'),
    [WIRE_ENV_SOCKET]: socketPath,
    [WIRE_ENV_DEVICE]: deviceOf(dir),
    [WIRE_ENV_FLAGS]: String(flags),
  };
}
