/**
 * Whether a schedule can go on for ever although everybody who can go on does so in the end (weak
 * fairness). The states that were met and the steps between them are kept as a graph; in each part of
 * it in which every state leads back to every other one, an actor either makes a step, or is unable to
 * somewhere, or waits there for ever because the schedule was unfair to it. Only the last is none.
 */
import assert from 'node:assert/strict';

interface Edge {
  readonly actor: number;
  readonly to: number;
}

interface State {
  /** Actors that can go on, as bits. */
  readonly enabled: number;
  readonly edges: Edge[];
}

/** Actors from the first state on, and where the round begins. */
export interface Livelock {
  readonly actors: readonly number[];
  readonly start: number;
}

export class StateGraph {
  private readonly numbers = new Map<string, number>();
  private readonly states: State[] = [];

  /** The first state that is noted is the one in which schedules begin. */
  state(text: string, enabled: number): number {
    let number = this.numbers.get(text);
    if (number === undefined) {
      number = this.states.length;
      this.numbers.set(text, number);
      this.states.push({ enabled, edges: [] });
    }
    return number;
  }

  step(from: number, actor: number, to: number): void {
    const { edges } = this.states[from]!;
    if (!edges.some((edge) => edge.actor === actor)) edges.push({ actor, to });
  }

  /** A schedule that ends in a fair round. */
  findLivelock(): Livelock | undefined {
    for (const part of this.parts()) {
      const inside = new Set(part);
      const steps = part.flatMap((from) =>
        this.states[from]!.edges.filter(({ to }) => inside.has(to)).map((edge) => {
          return { from, ...edge };
        }),
      );
      if (steps.length === 0) continue;
      const actors = steps.map(({ actor }) => actor);
      const enabled = part.map((state) => this.states[state]!.enabled);
      if (isFairRound(actors, enabled)) return this.roundIn(part, steps);
    }
    return undefined;
  }

  /** From the first state into the part, and around in it with a step of each who makes one. */
  private roundIn(
    part: readonly number[],
    steps: readonly { from: number; actor: number; to: number }[],
  ): Livelock {
    const inside = new Set(part);
    const first = part[0]!;
    const actors = this.path(0, first, () => true);
    const start = actors.length;
    let at = first;
    const goTo = (state: number) => {
      actors.push(...this.path(at, state, (one) => inside.has(one)));
      at = state;
    };
    for (const actor of new Set(steps.map((step) => step.actor))) {
      const step = steps.find((one) => one.actor === actor)!;
      goTo(step.from);
      actors.push(actor);
      at = step.to;
    }
    const went = steps.reduce((bits, { actor }) => bits | (1 << actor), 0);
    const able = part.reduce((bits, state) => bits | this.states[state]!.enabled, 0);
    for (let idle = able & ~went; idle !== 0; idle &= idle - 1) {
      goTo(part.find((state) => (this.states[state]!.enabled & idle & -idle) === 0)!);
    }
    goTo(first);
    return { actors, start };
  }

  /** Actors of a shortest way. */
  private path(from: number, to: number, isAllowed: (state: number) => boolean): number[] {
    const cameBy = new Map<number, { from: number; actor: number } | undefined>([
      [from, undefined],
    ]);
    for (const at of cameBy.keys()) {
      if (at === to) break;
      for (const edge of this.states[at]!.edges) {
        if (!cameBy.has(edge.to) && isAllowed(edge.to)) {
          cameBy.set(edge.to, { from: at, actor: edge.actor });
        }
      }
    }
    const actors: number[] = [];
    assert(cameBy.has(to), 'there is a way');
    for (let step = cameBy.get(to); step !== undefined; step = cameBy.get(step.from)) {
      actors.unshift(step.actor);
    }
    return actors;
  }

  /** Strongly connected parts (Tarjan), without recursion. */
  private parts(): number[][] {
    const found: number[][] = [];
    const index = new Map<number, number>();
    const low = new Map<number, number>();
    const open: number[] = [];
    const isOpen = new Set<number>();
    for (const root of this.states.keys()) {
      if (index.has(root)) continue;
      const stack: { state: number; next: number }[] = [];
      const enter = (state: number) => {
        index.set(state, index.size);
        low.set(state, index.get(state)!);
        open.push(state);
        isOpen.add(state);
        stack.push({ state, next: 0 });
      };
      enter(root);
      while (stack.length > 0) {
        const top = stack.at(-1)!;
        const edge = this.states[top.state]!.edges[top.next++];
        if (edge !== undefined) {
          if (!index.has(edge.to)) enter(edge.to);
          else if (isOpen.has(edge.to)) {
            low.set(top.state, Math.min(low.get(top.state)!, index.get(edge.to)!));
          }
          continue;
        }
        stack.pop();
        const below = stack.at(-1);
        if (below !== undefined) {
          low.set(below.state, Math.min(low.get(below.state)!, low.get(top.state)!));
        }
        if (low.get(top.state) !== index.get(top.state)) continue;
        const part = open.splice(open.lastIndexOf(top.state));
        for (const state of part) isOpen.delete(state);
        found.push(part);
      }
    }
    return found;
  }
}

/** Whether a schedule that came back to where it was could go on so for ever, fairly. */
export function isFairRound(actors: readonly number[], enabled: readonly number[]): boolean {
  const went = actors.reduce((bits, actor) => bits | (1 << actor), 0);
  const always = enabled.reduce((bits, one) => bits & one, -1);
  return (always & ~went) === 0;
}
