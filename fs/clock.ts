/**
 * Wall-clock time with nanosecond fields that never runs backwards while the system clock does
 * not. With a session that is the session's clock, so that times given here and by native service
 * are in order; else the monotonic clock, anchored again when the two drift apart (clock set, suspend).
 */
import type { Session } from '../lib/addon/session.js';

export interface Time {
  sec: number;
  nsec: number;
}

/** A clock that was set back by more than this is followed, times before that wait for it. */
const SET_BACK_SEC = 1;

/** The later of a change's time and of one that the inode has already. */
export function laterTime(change: Time, last: Time): Time {
  const behindSec = last.sec - change.sec + (last.nsec - change.nsec) / 1e9;
  return behindSec > 0 && behindSec < SET_BACK_SEC ? last : change;
}

const DRIFT_MS_MAX = 20;

export class Clock {
  #anchorMs = performance.timeOrigin;
  #session: Session | undefined;
  readonly #now = new Float64Array(2);

  attach(session: Session): void {
    this.#session = session;
  }

  now(): Time {
    if (this.#session !== undefined) {
      this.#session.now(this.#now);
      const [sec = 0, nsec = 0] = this.#now;
      return { sec, nsec };
    }
    let ms = this.#anchorMs + performance.now();
    const driftMs = Date.now() - ms;
    if (Math.abs(driftMs) > DRIFT_MS_MAX) {
      this.#anchorMs += driftMs;
      ms += driftMs;
    }
    const sec = Math.floor(ms / 1000);
    return { sec, nsec: Math.min(999_999_999, Math.floor((ms - sec * 1000) * 1e6)) };
  }
}
