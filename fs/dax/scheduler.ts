/**
 * Runs tasks (lib/dax/task.ts) on the filesystem's thread: each goes on until it has to wait, and is
 * continued by drain() once what it waits for is there; points are passed at once, but for those at
 * which a fault rule holds it. Nothing continues inside a task or inside
 * whoever made something ready: whoever calls in from outside, a request, an event or a timer, ends
 * with drain().
 */
import type { Task } from '../../lib/dax/task.js';
import type { Recorder } from '../../lib/addon/recorder.js';

export interface Ending<T> {
  done(value: T): void;
  /** What the task threw. */
  failed(error: unknown): void;
  /** The power was cut while it waited. */
  abandoned?(): void;
}

/** How long a task on a file stays at a point it has come to, in ms; undefined: not at all. */
export type PointDelay = (point: string, ino: number) => number | undefined;

interface Running {
  /** The file it works on; 0 for none or many. */
  readonly ino: number;
  advance(): void;
  abandon(): void;
}

/** Whose changes are recorded: nobody's on a mount that is not. */
const NOBODY: Pick<Recorder, 'serve'> = { serve: () => 0 };

export class LiveScheduler {
  readonly #calls: Pick<Recorder, 'serve'>;
  readonly #running = new Set<Running>();
  /** Those that a fault rule holds at a point. */
  readonly #held = new Map<Running, NodeJS.Timeout>();
  #ready: Running[] = [];
  #isDraining = false;
  #delayOf: PointDelay;

  /**
   * @param recorder of a recorded mount: each task goes on as part of the call that started it
   * @param delayOf asked at every point of a task
   */
  constructor(recorder: Recorder | undefined, delayOf: PointDelay) {
    this.#calls = recorder ?? NOBODY;
    this.#delayOf = delayOf;
  }

  /** Tasks that wait. */
  get waitingCount(): number {
    return this.#running.size;
  }

  /**
   * Runs a task as far as it goes now. `ending` is called once, perhaps before it returns.
   * @param ino the file it works on; 0 for none or many
   */
  start<T>(ino: number, task: Task<T>, ending: Ending<T>): void {
    const callId = this.#calls.serve(0);
    this.#calls.serve(callId);
    const running: Running = {
      ino,
      advance: () => {
        const before = this.#calls.serve(callId);
        try {
          this.#advance(running, task, ending);
        } finally {
          this.#calls.serve(before);
        }
      },
      abandon: () => {
        task.return(undefined as T);
        ending.abandoned?.();
      },
    };
    this.#running.add(running);
    running.advance();
  }

  #advance<T>(running: Running, task: Task<T>, ending: Ending<T>): void {
    let value: T;
    try {
      for (;;) {
        const step = task.next();
        if (step.done === true) {
          value = step.value;
          break;
        }
        if ('point' in step.value) {
          const delayMs = this.#delayOf(step.value.point, running.ino);
          if (delayMs === undefined) continue;
          this.#hold(running, delayMs);
          return;
        }
        if (step.value.isReady) continue;
        step.value.whenReady(() => this.#ready.push(running));
        return;
      }
    } catch (error) {
      this.#running.delete(running);
      ending.failed(error);
      return;
    }
    this.#running.delete(running);
    ending.done(value);
  }

  #hold(running: Running, delayMs: number): void {
    const release = (): void => {
      this.#held.delete(running);
      this.#ready.push(running);
      this.drain();
    };
    this.#held.set(running, setTimeout(release, delayMs));
  }

  /** From here on no task is held at a point. */
  holdNone(): void {
    this.#delayOf = () => undefined;
    this.release();
  }

  /** Tasks that are held at a point go on. */
  release(): void {
    for (const [running, timer] of this.#held) {
      clearTimeout(timer);
      this.#ready.push(running);
    }
    this.#held.clear();
    this.drain();
  }

  /** Continues what can go on, until nothing can. */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      while (this.#ready.length > 0) {
        const ready = this.#ready;
        this.#ready = [];
        // What was abandoned meanwhile is no longer there.
        for (const running of ready) if (this.#running.has(running)) running.advance();
      }
    } finally {
      this.#isDraining = false;
    }
  }

  /** The power goes: no task that waits is ever continued. */
  abandonAll(): void {
    const abandoned = [...this.#running];
    for (const timer of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    this.#running.clear();
    this.#ready = [];
    for (const running of abandoned) running.abandon();
    this.#ready = [];
  }
}
