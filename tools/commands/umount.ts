/**
 * `fauxdax umount`: unmounts and waits until the daemon has committed everything and exited, so
 * that the image may be copied, checked or mounted again at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { type Holder, holderOf, isThere } from '../../fs/holder.js';
import { abandonKernel, unmountKernel } from '../../fs/kernel_mount.js';
import { connect } from '../../fs/mount.js';
import { Errno } from '../../lib/errno.js';
import { Failure } from '../failure.js';
import { type MountEntry, mountAt, processThatSees } from '../mountinfo.js';

const POLL_MS = 10;
/** A commit of gigabytes to a slow disk (durable=host) is waited for. */
const EXIT_WAIT_MS_MAX = 300_000;
/** A daemon that has not ended after this is looked into: short-lived namespaces copy mounts too. */
const NAMESPACE_LOOK_MS = 10_000;
/** What kill -9 takes to end a process that waits for nothing. */
const DYING_MS_MAX = 1000;

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
  const holder = holderOf(mount.source);
  if (holder?.isDying === true) return await bury(mount, holder);
  await unmountKernel(mount.dir, false).catch(async (error: unknown) => {
    if (!(error instanceof Errno) || error.code !== 'EBUSY') throw error;
    // Files open in the mount of a daemon that died hold nothing that could still be saved.
    if (holder === undefined && (await isDead(mount))) return await abandonKernel(mount.dir);
    const hint = `close the files open in it (fuser -vm ${mount.dir})`;
    throw new Failure(`umount: ${dir}: busy: ${hint}`);
  });
  if (holder === undefined || (await isGone(holder, NAMESPACE_LOOK_MS))) return;
  const { pid } = holder;
  const other = processThatSees(mount.device);
  if (other !== undefined) {
    const where = `process ${other} still has it mounted in another mount namespace`;
    throw new Failure(
      `umount: ${dir}: unmounted here, but ${where}: the daemon (pid ${pid}) goes on`,
    );
  }
  if (await isGone(holder, EXIT_WAIT_MS_MAX)) return;
  throw new Failure(`umount: ${dir}: unmounted, but the daemon (pid ${pid}) has not exited`);
}

/** The daemon was killed. If it does not get away by itself, its connection goes first. */
async function bury(mount: MountEntry, holder: Holder): Promise<void> {
  await isGone(holder, DYING_MS_MAX);
  await abandonKernel(mount.dir, mount.device);
  if (await isGone(holder, DYING_MS_MAX)) return;
  const hint = `echo 1 > /sys/fs/fuse/connections/${mount.device.split(':')[1]}/abort`;
  throw new Failure(`umount: ${mount.dir}: the killed daemon (pid ${holder.pid}) hangs: ${hint}`);
}

/** No daemon answers for the image: nobody even listens. */
async function isDead(mount: MountEntry): Promise<boolean> {
  try {
    (await connect(mount.source)).close();
    return false;
  } catch {
    return true;
  }
}

async function isGone(holder: Holder, waitMsMax: number): Promise<boolean> {
  for (let waitedMs = 0; isThere(holder); waitedMs += POLL_MS) {
    if (waitedMs >= waitMsMax) return false;
    await sleep(POLL_MS);
  }
  return true;
}
