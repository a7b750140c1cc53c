/**
 * The gate of one file: any number of tasks inside `shared`, or one `exclusive`. First come, first
 * served: who comes after one that waits for exclusive entry waits behind it, so neither kind is
 * starved. Who is inside must not enter again. It is what the kernel calls the invalidate lock.
 */
import assert from 'node:assert/strict';
import { Signal } from './signal.js';
import type { Task } from './task.js';

export type GateMode = 'shared' | 'exclusive';

/** A place in the queue; when it is ready, its owner is inside. */
export class Entrant extends Signal {
  constructor(readonly mode: GateMode) {
    super();
  }
}

export class Gate {
  private readonly queue: Entrant[] = [];
  private sharedCount = 0;
  private exclusive = false;

  /** Waits until it may go in. A task that is ended while it waits leaves the queue. */
  *enter(mode: GateMode): Task<void> {
    yield* this.wait(this.queueUp(mode));
  }

  /** Takes a place at once; wait() must follow. */
  queueUp(mode: GateMode): Entrant {
    const entrant = new Entrant(mode);
    this.queue.push(entrant);
    this.admit();
    return entrant;
  }

  *wait(entrant: Entrant): Task<void> {
    let isIn = entrant.isReady;
    try {
      if (!isIn) yield entrant;
      assert(entrant.isReady, 'resumed before the gate let it in');
      isIn = true;
    } finally {
      if (!isIn) this.withdraw(entrant);
    }
  }

  leave(mode: GateMode): void {
    if (mode === 'shared') {
      assert(this.sharedCount > 0);
      this.sharedCount--;
    } else {
      assert(this.exclusive);
      this.exclusive = false;
    }
    this.admit();
  }

  /** Nobody is inside or waits. */
  get isIdle(): boolean {
    return this.sharedCount === 0 && !this.exclusive && this.queue.length === 0;
  }

  /** For a person: who is inside, and how many wait. */
  get state(): { sharedCount: number; isExclusive: boolean; waitingCount: number } {
    const { sharedCount, exclusive, queue } = this;
    return { sharedCount, isExclusive: exclusive, waitingCount: queue.length };
  }

  private admit(): void {
    for (let next = this.queue[0]; next !== undefined && this.admits(next); next = this.queue[0]) {
      this.queue.shift();
      if (next.mode === 'shared') this.sharedCount++;
      else this.exclusive = true;
      next.set();
    }
  }

  private admits(entrant: Entrant): boolean {
    return !this.exclusive && (entrant.mode === 'shared' || this.sharedCount === 0);
  }

  private withdraw(entrant: Entrant): void {
    const index = this.queue.indexOf(entrant);
    if (index < 0) {
      this.leave(entrant.mode);
    } else {
      this.queue.splice(index, 1);
      this.admit();
    }
  }
}
