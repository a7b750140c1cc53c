/**
 * Whether files of a mount can be mapped directly at all, which is decided once, when it is made.
 * Pages are shown write-protected by userfaultfd, and the kernel has that only for memory: the
 * region must be a file of tmpfs.
 */
import { statfsSync } from 'node:fs';
import type { MountOptions } from '../options.js';

export const TMPFS_MAGIC = 0x01021994;

/**
 * @param regionPath of an image that is there
 * @returns why not, and what to do, as the end of a sentence; undefined when they can
 */
export function whyNotDax(options: MountOptions, regionPath: string): string | undefined {
  if (options.dax === 'never') {
    return 'it is mounted with -o dax=never: mount it with dax=inode, the default, or dax=always';
  }
  if (options.readOnly) return 'it is mounted read-only: mount it with -o rw';
  if (options.transport !== 'kernel') {
    return `it is mounted with transport=${options.transport}: mount it with transport=kernel`;
  }
  if (statfsSync(regionPath).type !== TMPFS_MAGIC) {
    return (
      `${regionPath} is not in memory (tmpfs), and only memory can be mapped directly: ` +
      'umount it, move the image to /dev/shm, and mount it from there'
    );
  }
  return undefined;
}
