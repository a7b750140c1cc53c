/**
 * Attaching to the kernel's FUSE and letting go: mount(2) for whoever may, as root or in a user
 * namespace, fusermount3 for everybody else (it sends the descriptor over a socket, _FUSE_COMMFD).
 * Unmounting is always left to a child process: umount(2) writes dirty pages back to us first, and
 * we must be free to take them.
 */
import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { Errno } from '../lib/errno.js';
import type { Native } from '../lib/native.js';
import type { MountOptions } from './options.js';

const SUBTYPE = 'fauxdax';
const UMOUNT_MS_MAX = 60_000;

/** Bits of mount(2) by the names of mount(8). */
const MS_FLAGS: Record<string, number> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  dirsync: 128,
  noatime: 1024,
  nodiratime: 2048,
  relatime: 1 << 21,
  strictatime: 1 << 24,
}; // prettier-ignore

/** CAP_SYS_ADMIN, bit 21: root has it, but not in every container; others in a user namespace. */
export function mayMount(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> 21n) & 1n) === 1n;
}

/** By mount(2), not by fusermount3. Root without the capability hears from the kernel why not. */
const mountsItself = (): boolean => process.geteuid?.() === 0 || mayMount();

/**
 * Mounts `dir` and returns the /dev/fuse descriptor that serves it.
 * @throws {Errno} with mount(2)'s reason, or what fusermount3 said
 */
export async function mountKernel(
  native: Native,
  imageDir: string,
  dir: string,
  options: MountOptions,
): Promise<number> {
  if (!mountsItself()) return await mountAsUser(native, imageDir, dir, options);
  const words = [...(options.readOnly ? ['ro'] : []), ...options.mountFlags];
  const flags = words.reduce((all, word) => all | (MS_FLAGS[word] ?? 0), 0);
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  const data = [`rootmode=40000,user_id=${uid},group_id=${gid},default_permissions`];
  if (options.allowOther) data.push('allow_other');
  try {
    return native.mountFuse(dir, imageDir, flags, data.join(','));
  } catch (error) {
    if (!(error instanceof Errno) || error.code !== 'EPERM') throw error;
    const hint = 'a container needs --device /dev/fuse --cap-add SYS_ADMIN';
    throw new Errno('EPERM', `${dir}: mount(2) is not permitted: ${hint}`);
  }
}

async function mountAsUser(
  native: Native,
  imageDir: string,
  dir: string,
  options: MountOptions,
): Promise<number> {
  const source = imageDir.replace(/[\\,]/g, '\\$&');
  const words = [`fsname=${source}`, `subtype=${SUBTYPE}`, 'default_permissions'];
  if (options.readOnly) words.push('ro');
  if (options.allowOther) words.push('allow_other');
  words.push(...options.mountFlags);
  const [ours, theirs] = native.socketPair();
  const child = spawn('fusermount3', ['-o', words.join(','), '--', dir], {
    stdio: ['ignore', 'ignore', 'pipe', theirs],
    env: { ...process.env, _FUSE_COMMFD: '3' },
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const status = await new Promise<number | Error>((resolve) => {
    child.once('error', resolve);
    child.once('close', (code) => resolve(code ?? 1));
  });
  native.closeDescriptor(theirs);
  try {
    if (status instanceof Error) {
      throw new Errno('ENOENT', `${dir}: fusermount3 is missing: install the package fuse3`);
    }
    if (status !== 0) throw new Errno('EPERM', `${dir}: ${said.trim() || 'fusermount3 failed'}`);
    return native.receiveDescriptor(ours);
  } finally {
    native.closeDescriptor(ours);
  }
}

/**
 * Unmounts by a child process.
 * @param lazy detach now, let go when the last file in it is closed
 * @throws {Errno} EBUSY when files in it are open; EIO with what the helper said otherwise
 */
export async function unmountKernel(dir: string, lazy: boolean): Promise<void> {
  const [program, args] = mountsItself()
    ? ['umount', lazy ? ['-i', '-l', dir] : ['-i', dir]]
    : ['fusermount3', lazy ? ['-u', '-z', '--', dir] : ['-u', '--', dir]];
  await run(program, args);
}

/**
 * Takes away the mount of a daemon that died: every request waiting in it fails, which also frees
 * the threads of a daemon that was killed while the kernel waited for it; open files in it are of
 * no use any more. Nothing is asked of the mount itself: whoever touches it might wait for ever.
 *
 * @param device `major:minor` of the mount; only an ordinary user needs it, and a mounted fusectl
 */
export async function abandonKernel(dir: string, device?: string): Promise<void> {
  if (mountsItself()) {
    // MNT_FORCE aborts the connection, and then is refused as busy while files are open.
    const isGone = await run('umount', ['-i', '-f', dir]).then(
      () => true,
      () => false,
    );
    if (isGone) return;
  } else if (device !== undefined) {
    const [, minor] = device.split(':');
    await writeFile(`/sys/fs/fuse/connections/${minor}/abort`, '1').catch(() => undefined);
  }
  await unmountKernel(dir, true);
}

async function run(program: string, args: string[]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    execFile(program, args, { timeout: UMOUNT_MS_MAX }, (error, _stdout, stderr) => {
      if (error === null) return resolve();
      const reason = stderr.trim() || error.message;
      const code = /busy/i.test(reason) ? 'EBUSY' : 'EIO';
      reject(new Errno(code, `umount ${args.at(-1)}: ${reason}`));
    });
  });
}
