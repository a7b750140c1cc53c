/** relatime, as mount(8) describes it: when a read moves the access time. Pure. */
import type { Inode } from '../lib/metadata/inode.js';

const DAY_SEC = 24 * 3600;

/** A read at `nowSec` moves atime when it is not newer than the last change, or a day old. */
export function isAtimeDue(inode: Inode, nowSec: number): boolean {
  const newerThan = (sec: number, nsec: number): boolean =>
    inode.atimeSec > sec || (inode.atimeSec === sec && inode.atimeNsec > nsec);
  const fresh =
    newerThan(inode.mtimeSec, inode.mtimeNsec) &&
    newerThan(inode.ctimeSec, inode.ctimeNsec) &&
    nowSec - inode.atimeSec < DAY_SEC;
  return !fresh;
}
