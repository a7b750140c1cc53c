/**
 * One schedule of a scenario as it is run: who can go on, the next step of one of them, and the state
 * as text. Actors are numbered: first the threads, then for each process who carries out its commands.
 * Nothing is chosen here.
 */
import { AssertionError } from 'node:assert';
import type { Step } from '../dax/task.js';
import { THREADS, type Touched } from './footprint.js';
import { checkerOf } from './invariants.js';
import { checkCounters, Program } from './program.js';
import { Recovery } from './recovery.js';
import { Thread } from './thread.js';
import { Violation } from './violation.js';
import type { World } from './world.js';

export class Schedule {
  readonly recovery: Recovery | undefined;
  threads: Thread[] = [];
  private readonly check: (world: World) => void;
  /** Threads that wait, in the order in which they began to. */
  private waiting: number[] = [];
  /** Of the last step. */
  touched: Touched = { reads: 0, writes: 0 };

  constructor(readonly world: World) {
    const { scenario } = world;
    this.check = checkerOf(scenario.watch);
    if (scenario.hasCrash === true) this.recovery = new Recovery(world);
    this.reset();
  }

  /** Back to the beginning. */
  reset(): void {
    const { world } = this;
    world.reset();
    const { threads } = world.scenario;
    const forked = new Set(
      threads.flatMap(({ script }) => script.flatMap((op) => (op.op === 'fork' ? [op.child] : []))),
    );
    const program = new Program(world, (name) => {
      this.threads.find((thread) => thread.name === name)!.isStarted = true;
    });
    this.waiting = [];
    this.threads = threads.map(({ name, process, script }, cpu) => {
      const thread = new Thread(cpu, name, world.processes.get(process)!);
      thread.isStarted = !forked.has(name);
      thread.task = program.run(thread, script);
      this.advance(thread);
      return thread;
    });
    world.footprint.clear();
  }

  get actorCount(): number {
    return this.threads.length + this.world.mmu.all().length;
  }

  isEnabled(actor: number): boolean {
    const thread = this.threads[actor];
    if (thread !== undefined) return thread.isEnabled;
    return this.world.mmu.all()[actor - this.threads.length]!.queue.length > 0;
  }

  /** Actors that can go on, as bits. */
  enabled(): number {
    let mask = 0;
    for (let actor = 0; actor < this.actorCount; actor++) {
      if (this.isEnabled(actor)) mask |= 1 << actor;
    }
    return mask;
  }

  /** One step of an actor that can go on. @throws {Violation} of what the step itself sees */
  step(actor: number): void {
    const { world } = this;
    const { footprint } = world;
    footprint.clear();
    const thread = this.threads[actor];
    try {
      if (thread === undefined) world.mmu.step(world.mmu.all()[actor - this.threads.length]!);
      else this.advance(thread);
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      throw new Violation('progress', `an assertion of the engine failed: ${error.message}`);
    }
    this.touched = { reads: footprint.reads, writes: footprint.writes };
  }

  /** What must hold after every step. @throws {Violation} */
  checkState(): void {
    this.check(this.world);
    this.recovery?.check();
  }

  get isOver(): boolean {
    return this.threads.every(({ isDone, isStarted }) => isDone || !isStarted);
  }

  /** When nobody can go on: all are done, and leave nothing behind. @throws {Violation} */
  checkEnd(): void {
    if (!this.isOver) {
      const stuck = this.threads.filter(({ isDone, isStarted }) => isStarted && !isDone);
      throw new Violation(
        'progress',
        `nobody can go on: ${stuck.map(({ name, next }) => `${name} waits (${next})`).join(', ')}`,
      );
    }
    const { watch } = this.world.scenario;
    if (watch !== undefined && !watch.includes('page-table')) return;
    for (const process of this.world.mmu.all()) {
      for (const [mapping, table] of process.tables) {
        checkCounters(this.world.nameOf(mapping), table.exitCounters());
      }
    }
  }

  /** The same text, the same state, and the same of every step from here on. */
  text(): string {
    const threads = this.threads.map((thread) => thread.text());
    return `${this.world.text()}\n${this.world.stored.text()}\n${threads.join('\n')}\n${this.waiting.join()}`;
  }

  private advance(thread: Thread): void {
    const { footprint } = this.world;
    const { done, value } = thread.task!.next() as IteratorResult<Step, void>;
    const { cpu } = thread;
    const at = this.waiting.indexOf(cpu);
    if (at >= 0) this.waiting.splice(at, 1);
    if (done === true) {
      thread.isDone = true;
      thread.begin(0);
      thread.waitsFor = undefined;
      return;
    }
    thread.arrive(value);
    if (thread.waitsFor !== undefined && !thread.waitsFor.isReady) {
      this.waiting.push(cpu);
      footprint.writes |= THREADS;
    }
  }
}
