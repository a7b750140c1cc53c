/**
 * Processes under `fauxdax run` that outlive their daemon. Each lets go of the region as soon as it
 * hears of the end, and has a lock of the region file until then (WIRE_ATTACHED_AT, native/wire.h).
 * One that is stopped, or does not get to run, hears of nothing: it would go on with pages that the
 * next daemon gives to other files.
 */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Errno } from '../lib/errno.js';
import type { Log } from '../lib/log.js';
import type { Native } from '../lib/native.js';

const WAIT_MS_MAX = 2000;
const LOOK_MS = 10;
/** Of a process that was killed, until it is gone. */
const END_MS_MAX = 10_000;

/**
 * To be awaited before the first byte of a region that was just opened changes. Who does not let go
 * of it in 2 s is killed.
 *
 * @param regionPath the region's file
 * @throws {Errno} EBUSY when one cannot be killed
 */
export async function endAttached(
  regionPath: string,
  native: Pick<Native, 'attachedProcess'>,
  log: Log,
): Promise<void> {
  const fd = openSync(regionPath, 'r+');
  try {
    const killed = new Map<number, number>();
    const letGoMs = Date.now() + WAIT_MS_MAX;
    for (let pid = native.attachedProcess(fd); pid !== 0; pid = native.attachedProcess(fd)) {
      const killedMs = killed.get(pid);
      if (killedMs === undefined && Date.now() >= letGoMs) {
        if (pid < 0 || !kill(pid)) throw new Errno('EBUSY', stillThere(pid));
        killed.set(pid, Date.now());
        log.warn({ pid }, 'killed: it did not let go of pages after its daemon had ended');
      }
      if (Date.now() - (killedMs ?? Infinity) > END_MS_MAX)
        throw new Errno('EBUSY', stillThere(pid));
      await sleep(LOOK_MS);
    }
  } finally {
    closeSync(fd);
  }
}

const stillThere = (pid: number): string =>
  `a process still has pages of the image, pid ${pid}: end it`;

function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
