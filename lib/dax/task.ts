/**
 * Tasks: the operations of the DAX engine as generators that give the thread up where they have to
 * wait, and at named points where others may run in between. Who steps them decides what runs next:
 * in the daemon the live scheduler (fs), in the race lab a chooser. Between two steps a task is
 * alone on the thread.
 */

/** Something that becomes true once and stays so, for whoever waits for it now. */
export interface Waitable {
  readonly isReady: boolean;
  /** Calls `resume` once, as soon as it is ready; at once when it is. */
  whenReady(resume: () => void): void;
}

/** Nothing to wait for. */
export const READY: Waitable = { isReady: true, whenReady: (resume) => resume() };

/** A moment at which other tasks may run; the live scheduler goes on unless a fault rule holds it. */
export interface Point {
  /** `file function: what comes next`, for a person who reads a schedule. */
  readonly point: string;
  /**
   * What the task found since its last point and goes by after this one, as plain data. A point that
   * is met again in a loop tells all of it. With it a schedule can be read, and the race lab knows
   * two tasks that stand at one point apart.
   */
  readonly saw?: unknown;
}

export type Step = Waitable | Point;

export type Task<T> = Generator<Step, T, void>;
