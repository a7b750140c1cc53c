/**
 * Goes through the schedules of a scenario. A schedule is run from the beginning each time (tasks cannot
 * be copied), depth first: the next one shares all but its last steps with the one before. Three things
 * make it short, each of which can be switched off to compare:
 *
 * - a state that was met before, in text, is not left again: what follows is known;
 * - of two steps that do not touch the same things only one order is tried (sleep sets of Godefroid,
 *   over the footprints that the steps had). States are all still met. Where a state is met again with
 *   fewer actors asleep, those are tried then;
 * - with a bound on preemptions, only so many switches away from an actor that could have gone on.
 *
 * What goes round in circles is looked for at the end (livelock.ts): sleep sets may leave out steps of a
 * round, so a scenario with retries is gone through without them.
 *
 * A counterexample is made short by going on below its length: what is printed is one of the shortest
 * with the fewest preemptions that break the invariant, as far as time allows.
 */
import assert from 'node:assert/strict';
import { Random } from '../random.js';
import { areIndependent, type Touched } from './footprint.js';
import { StateGraph } from './livelock.js';
import type { Schedule } from './schedule.js';
import { LivelockViolation, Violation } from './violation.js';

export interface ExploreOptions {
  /** No schedule is longer. */
  stepsMax?: number;
  /** In all. */
  schedulesMax?: number;
  statesMax?: number;
  /** Wall clock, told by `now`. */
  milliseconds?: number;
  preemptionsMax?: number;
  /** At random, from this seed, until a limit. */
  seed?: number;
  /** States that were met are not left again; true unless given. */
  cutsStates?: boolean;
  /** Sleep sets; unless given, where the scenario has no retries. */
  reducesOrders?: boolean;
  /** Called at each end of a schedule, with the state there. */
  atEnd?: (text: string) => void;
  now?: () => number;
}

export type End = 'space-exhausted' | 'failure-found' | 'limit-reached' | 'time-exhausted';

export interface Failure {
  readonly actors: readonly number[];
  readonly violation: Violation;
}

export interface Exploration {
  end: End;
  failure: Failure | undefined;
  schedules: number;
  states: number;
  /** The longest schedule. */
  depth: number;
  steps: number;
  milliseconds: number;
  /** Power cuts looked at. */
  cuts: number;
}

interface Node {
  /** Actors still to be tried, as bits. */
  todo: number;
  asleep: number;
  /** What the next step of an actor touches, of those that were tried here or sleep. */
  readonly touched: (Touched | undefined)[];
  /** Number of its state in the graph. */
  readonly state: number;
  readonly preemptions: number;
}

export const STEPS_MAX = 400;

export class Explorer {
  private readonly met = new Map<string, number>();
  private readonly graph = new StateGraph();
  private readonly nodes: Node[] = [];
  private readonly actors: number[] = [];
  private readonly counts = { schedules: 0, states: 0, depth: 0, steps: 0 };
  private readonly started: number;
  private failure: Failure | undefined;
  private stepsMax: number;
  /** Steps of the schedule that are made. */
  private made = 0;

  constructor(
    private readonly schedule: Schedule,
    private readonly options: ExploreOptions = {},
  ) {
    this.stepsMax = options.stepsMax ?? STEPS_MAX;
    this.started = this.now();
  }

  run(): Exploration {
    if (this.schedule.recovery !== undefined) this.schedule.recovery.count = 0;
    const end =
      this.options.seed === undefined ? this.goThrough() : this.drawFrom(this.options.seed);
    return {
      ...this.counts,
      end: this.failure === undefined ? end : 'failure-found',
      failure: this.failure,
      milliseconds: this.now() - this.started,
      cuts: this.schedule.recovery?.count ?? 0,
    };
  }

  private goThrough(): End {
    const { schedule, nodes } = this;
    let isCut = false;
    this.restart();
    if (!this.attempt(() => schedule.checkState())) return 'failure-found';
    this.enter(0, 0, []);
    while (nodes.length > 0) {
      const limit = this.limit();
      if (limit !== undefined) return limit;
      const node = nodes.at(-1)!;
      const actor = this.choose(node);
      if (actor === undefined) {
        this.leave();
        continue;
      }
      if (nodes.length > this.stepsMax) {
        // Deeper is of no interest when something shorter was found, otherwise it is not known.
        if (this.failure === undefined) isCut = true;
        this.leave();
        continue;
      }
      this.goTo(nodes.length - 1);
      this.take(node, actor);
    }
    if (isCut) return 'limit-reached';
    this.checkLivelock();
    return 'space-exhausted';
  }

  private checkLivelock(): void {
    const round = this.failure === undefined ? this.graph.findLivelock() : undefined;
    if (round === undefined) return;
    this.failure = { actors: round.actors, violation: new LivelockViolation(round) };
  }

  /** The next actor to be tried at a node. */
  private choose(node: Node): number | undefined {
    const open = node.todo & ~node.asleep;
    if (open === 0) return undefined;
    // Going on with the same actor first makes the first schedules the plain ones.
    const last = this.actors[this.nodes.length - 2];
    if (last !== undefined && (open & (1 << last)) !== 0) return last;
    return 31 - Math.clz32(open & -open);
  }

  private take(node: Node, actor: number): void {
    const { schedule, nodes, actors } = this;
    const depth = nodes.length;
    actors.length = depth - 1;
    const enabled = schedule.enabled();
    const last = actors.at(-1);
    const isPreemption = last !== undefined && last !== actor && (enabled & (1 << last)) !== 0;
    const preemptions = node.preemptions + (isPreemption ? 1 : 0);
    node.todo &= ~(1 << actor);
    if (preemptions > (this.options.preemptionsMax ?? Infinity)) return;
    actors.push(actor);
    const held = this.attempt(() => {
      schedule.step(actor);
      schedule.checkState();
    });
    this.made++;
    this.counts.steps++;
    if (!held) {
      // The schedule is over; what the step touched is not known.
      this.made = -1;
      return;
    }
    const { touched } = schedule;
    let asleep = 0;
    const asleepTouched: (Touched | undefined)[] = [];
    if (this.reducesOrders && !this.isBounded) {
      for (let other = 0; other < schedule.actorCount; other++) {
        const isDone = (node.asleep & (1 << other)) !== 0 || other < node.touched.length;
        const known = node.touched[other];
        if (!isDone || known === undefined || other === actor) continue;
        if (!areIndependent(known, touched)) continue;
        asleep |= 1 << other;
        asleepTouched[other] = known;
      }
    }
    node.touched[actor] = touched;
    this.enter(asleep, preemptions, asleepTouched);
  }

  /** A state is reached: it is met, or left alone. */
  private enter(asleep: number, preemptions: number, touched: (Touched | undefined)[]): void {
    const { schedule, nodes } = this;
    const depth = nodes.length;
    this.counts.depth = Math.max(this.counts.depth, depth);
    const enabled = schedule.enabled();
    if (enabled === 0) {
      this.end();
      return;
    }
    let todo = enabled;
    let state = 0;
    if (this.options.cutsStates !== false) {
      const text = this.keyOf();
      state = this.noteState(text, enabled);
      const before = this.met.get(text);
      if (before === undefined) {
        this.counts.states++;
        this.met.set(text, this.note(asleep, preemptions, depth));
      } else {
        const again = this.openAgain(before, asleep, preemptions, depth);
        if (again === 0) {
          this.counts.schedules++;
          return;
        }
        todo &= again;
        this.met.set(text, this.noteAgain(before, asleep, preemptions, depth));
      }
    }
    nodes.push({ todo, asleep, touched, state, preemptions });
  }

  /** Nobody can go on. */
  private end(): void {
    const { schedule, options } = this;
    this.counts.schedules++;
    if (!this.attempt(() => schedule.checkEnd())) return;
    if (options.atEnd === undefined && options.cutsStates === false) return;
    const text = schedule.text();
    options.atEnd?.(text);
    if (this.met.has(text)) return;
    this.met.set(text, 0);
    this.counts.states++;
  }

  private noteState(text: string, enabled: number): number {
    const state = this.graph.state(text, enabled);
    const before = this.nodes.at(-1);
    if (before !== undefined) this.graph.step(before.state, this.actors.at(-1)!, state);
    return state;
  }

  /**
   * What is kept of a state that was met: which actors slept there; with a bound or below a
   * counterexample, how much was left of it.
   */
  private note(asleep: number, preemptions: number, depth: number): number {
    return this.isBounded ? preemptions * 1000 + depth : asleep;
  }

  private noteAgain(before: number, asleep: number, preemptions: number, depth: number): number {
    if (!this.isBounded) return before & asleep;
    return Math.min(before, preemptions * 1000 + depth);
  }

  /** Actors to be tried at a state that was met before. */
  private openAgain(before: number, asleep: number, preemptions: number, depth: number): number {
    if (!this.isBounded) return before & ~asleep;
    const wasFewer = Math.floor(before / 1000) <= preemptions && before % 1000 <= depth;
    return wasFewer ? 0 : -1;
  }

  private get reducesOrders(): boolean {
    const { hasRetries = false } = this.schedule.world.scenario;
    return this.options.reducesOrders ?? !hasRetries;
  }

  private get isBounded(): boolean {
    return this.options.preemptionsMax !== undefined;
  }

  private keyOf(): string {
    const text = this.schedule.text();
    // With a bound it matters whose turn it is.
    return this.isBounded ? `${this.actors.at(-1)}\n${text}` : text;
  }

  private leave(): void {
    this.nodes.pop();
    this.actors.length = Math.max(0, this.nodes.length - 1);
  }

  /** Runs the schedule up to a depth again, if it is elsewhere. */
  private goTo(depth: number): void {
    if (this.made === depth) return;
    this.restart();
    for (let at = 0; at < depth; at++) this.schedule.step(this.actors[at]!);
    this.made = depth;
    this.counts.steps += depth;
  }

  private restart(): void {
    this.schedule.reset();
    this.made = 0;
  }

  /** @returns false when an invariant broke */
  private attempt(step: () => void): boolean {
    try {
      step();
      return true;
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.fail(error);
      return false;
    }
  }

  private fail(violation: Violation): void {
    this.counts.schedules++;
    const length = this.actors.length;
    if (this.failure !== undefined && this.failure.actors.length <= length) return;
    this.failure = { actors: [...this.actors], violation };
    // Only shorter ones are of interest now.
    this.stepsMax = length - 1;
  }

  private drawFrom(seed: number): End {
    const { schedule } = this;
    const random = new Random(seed);
    for (;;) {
      const limit = this.limit();
      if (limit !== undefined) return limit;
      this.restart();
      this.actors.length = 0;
      for (;;) {
        const enabled = schedule.enabled();
        if (enabled === 0) {
          this.attempt(() => schedule.checkEnd());
          break;
        }
        if (this.actors.length >= this.stepsMax) break;
        const able: number[] = [];
        for (let actor = 0; actor < schedule.actorCount; actor++) {
          if ((enabled & (1 << actor)) !== 0) able.push(actor);
        }
        const actor = able[random.below(able.length)]!;
        this.actors.push(actor);
        this.counts.steps++;
        const held = this.attempt(() => {
          schedule.step(actor);
          schedule.checkState();
        });
        if (!held) break;
      }
      this.counts.schedules++;
      this.counts.depth = Math.max(this.counts.depth, this.actors.length);
      if (this.failure !== undefined) return 'failure-found';
    }
  }

  private limit(): End | undefined {
    const { schedulesMax, statesMax, milliseconds } = this.options;
    if (schedulesMax !== undefined && this.counts.schedules >= schedulesMax) return 'limit-reached';
    if (statesMax !== undefined && this.counts.states >= statesMax) return 'limit-reached';
    if (milliseconds !== undefined && this.now() - this.started > milliseconds) {
      return 'time-exhausted';
    }
    return undefined;
  }

  private now(): number {
    return this.options.now?.() ?? 0;
  }
}

assert(STEPS_MAX < 1000);
