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
/** Processes that may be killed one after the other. */
const KILLS_MAX = 10_000;

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
    const giveUp = Date.now() + WAIT_MS_MAX;
    let pid = native.attachedProcess(fd);
    for (let kills = 0; pid !== 0; pid = native.attachedProcess(fd)) {
      if (Date.now() >= giveUp) {
        kills += 1;
        if (pid < 0 || kills > KILLS_MAX || !killed(pid)) {
          throw new Errno('EBUSY', `a process still has pages of the image, pid ${pid}: end it`);
        }
        log.warn({ pid }, 'killed: it did not let go of pages after its daemon had ended');
      }
      await sleep(LOOK_MS);
    }
  } finally {
    closeSync(fd);
  }
}

function killed(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
