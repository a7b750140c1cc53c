/**
 * Wall-clock time with nanosecond fields that never runs backwards while the system clock does
 * not: the monotonic clock, anchored again when the two drift apart (clock set, suspend).
 */

export interface Time {
  sec: number;
  nsec: number;
}

const DRIFT_MS_MAX = 20;

export class Clock {
  #anchorMs = performance.timeOrigin;

  now(): Time {
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
