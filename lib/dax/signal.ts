/** The Waitable that parts of the engine make themselves, and waiting for several. */
import type { Task, Waitable } from './task.js';

export class Signal implements Waitable {
  private ready = false;
  private waiting: (() => void)[] = [];

  get isReady(): boolean {
    return this.ready;
  }

  whenReady(resume: () => void): void {
    if (this.ready) resume();
    else this.waiting.push(resume);
  }

  /** From now on it is ready; who waits is resumed. May be called twice. */
  set(): void {
    if (this.ready) return;
    this.ready = true;
    const { waiting } = this;
    this.waiting = [];
    for (const resume of waiting) resume();
  }
}

/** Waits for each; they proceed side by side. */
export function* allReady(waitables: readonly Waitable[]): Task<void> {
  for (const waitable of waitables) if (!waitable.isReady) yield waitable;
}
