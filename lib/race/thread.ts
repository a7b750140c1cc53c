/**
 * A thread of a scenario: the task that runs its script, and where it stands. The position is the place
 * in the script, then the points since the access or call began with what was seen there. A point met
 * again is a loop's next round, and what came since it was met before is forgotten: it says all that
 * the task goes by (lib/dax/task.ts).
 */
import type { Point, Step, Task, Waitable } from '../dax/task.js';
import { Command } from './command.js';
import type { Process } from './process.js';

interface Passed {
  readonly label: string;
  readonly saw: unknown;
}

const WAITS = 'waits';
const NOTHING = () => '';

export class Thread {
  task: Task<void> | undefined;
  /** Its CPU is its number. */
  isStarted = true;
  isDone = false;
  waitsFor: Waitable | undefined;
  /** SIGBUS, in order. */
  results: string[] = [];
  /** What the op at hand keeps in its head besides what its points tell. */
  keeps: () => string = NOTHING;
  private opIndex = 0;
  private passed: Passed[] = [];

  constructor(
    readonly cpu: number,
    readonly name: string,
    readonly process: Process,
  ) {}

  get isEnabled(): boolean {
    if (!this.isStarted || this.isDone) return false;
    return this.waitsFor === undefined || this.waitsFor.isReady;
  }

  begin(opIndex: number): void {
    this.opIndex = opIndex;
    this.passed = [];
    this.keeps = NOTHING;
  }

  beginAccess(): void {
    this.passed = [];
  }

  /** Takes in what the task yielded. */
  arrive(step: Step): void {
    if (isPoint(step)) {
      this.waitsFor = undefined;
      const { point: label, saw } = step;
      const before = this.passed.findIndex((one) => one.label === label);
      if (before >= 0) this.passed.length = before;
      this.passed.push({ label, saw });
    } else {
      this.waitsFor = step;
      this.passed.push({ label: WAITS, saw: step instanceof Command ? step.what : undefined });
    }
  }

  /** The point that it passed last: what its next step does. */
  get next(): string {
    for (let at = this.passed.length - 1; at >= 0; at--) {
      if (this.passed[at]!.label !== WAITS) return this.passed[at]!.label;
    }
    return '';
  }

  /** What it saw at the point that it passed last. */
  get saw(): unknown {
    const last = this.passed.at(-1);
    return last?.label === WAITS ? undefined : last?.saw;
  }

  text(): string {
    if (!this.isStarted) return 'not started';
    const end = this.isDone ? 'done' : `${this.opIndex}`;
    const passed = this.passed.map(({ label, saw }) =>
      saw === undefined ? label : `${label} ${JSON.stringify(saw)}`,
    );
    return `${end} ${this.results.join()} ${this.keeps()} ${passed.join(';')}`;
  }
}

function isPoint(step: Step): step is Point {
  return 'point' in step;
}
