/**
 * `fauxdax umount`: unmounts and waits until the daemon has committed everything and exited, so
 * that the image may be copied, checked or mounted again at once.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { unmountKernel } from '../../fs/kernel_mount.js';
import { Errno } from '../../lib/errno.js';
import { Failure } from '../failure.js';
import { mountAt } from '../mountinfo.js';
import { ask } from '../target.js';

const POLL_MS = 10;
/** A commit of gigabytes to a slow disk (durable=host) is waited for. */
const EXIT_WAIT_MS_MAX = 300_000;

export function umountCommand(): Command {
  return new Command('umount')
    .description('unmount a directory and wait until everything is committed')
    .argument('<DIR>', 'mount point')
    .addHelpText('after', '\nExample:\n  fauxdax umount /mnt')
    .action(umount);
}

async function umount(dir: string): Promise<void> {
  const mount = mountAt(dir);
  if (mount === undefined) throw new Failure(`umount: ${dir}: not a fauxdax mount point`);
  // A daemon that died leaves its mount behind: there is nobody to wait for then.
  const pid = await ask(
    'umount',
    mount,
    async (control) => (await control.info()).daemon.pid,
  ).catch(() => undefined);
  const birth = pid === undefined ? undefined : birthOf(pid);
  await unmountKernel(mount.dir, false).catch((error: unknown) => {
    if (!(error instanceof Errno) || error.code !== 'EBUSY') throw error;
    const hint = `close the files open in it (fuser -vm ${mount.dir})`;
    throw new Failure(`umount: ${dir}: busy: ${hint}`);
  });
  if (pid === undefined || birth === undefined) return;
  for (let waitedMs = 0; birthOf(pid) === birth; waitedMs += POLL_MS) {
    if (waitedMs >= EXIT_WAIT_MS_MAX) {
      throw new Failure(`umount: ${dir}: unmounted, but the daemon (pid ${pid}) has not exited`);
    }
    await sleep(POLL_MS);
  }
}

/**
 * When the process began (clock ticks since boot), undefined once it has exited. A zombie that
 * nobody reaped yet has exited; a later process with the same number began at another time.
 */
function birthOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name, in parentheses, may hold anything: fields count from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined; // no such process
  }
}
