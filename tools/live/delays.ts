/**
 * Where the engine of a live mount is held back so that the window of a race opens: at the points at which
 * the lab's own counterexample leaves a task standing while others go on, and a little, at random,
 * everywhere. The rules are those of `fauxdax fault --op point`.
 */
import type { FaultRule } from '../../fs/faults.js';
import { INVARIANTS, type Invariant, opText, type Scenario } from '../../lib/race/scenario.js';
import { find, scheduleOf } from '../../lib/race/search.js';
import { type StoryStep, tell } from '../../lib/race/story.js';

/** Long against all that others do meanwhile. */
const HELD_MS = 12;
const HELD_CHANCE = 0.5;
const SHORT_MS = 3;
const SHORT_CHANCE = 0.1;
/** The lab finds each of its bugs in less. */
const LAB_MS_MAX = 20_000;

/** The longest that a rule holds a task, in ms. */
export const DELAY_MS_MAX = HELD_MS;

/** What the names of the engine's points begin with; others are the lab's own. */
const ENGINE = 'dax/';

/** What a program can see of a broken invariant, a power cut shows, or counters tell at exit. */
const VISIBLE: readonly Invariant[] = [
  'load',
  'other-file',
  'bus',
  'media',
  'synced',
  'foreign',
  'pte-under-pmd',
  'pmd-over-pte',
];

/** What a schedule of the lab that shows the bug so says of where to look. */
export interface Hints {
  /**
   * Points of the engine, by name, at which somebody stands while others go on; when the power has to
   * go, those too at which somebody stands then.
   */
  points: readonly string[];
  /** The call or access after which the power has to go. */
  cutAfter?: { thread: number; index: number };
  /** By thread, for each op of its script: how many begin before it. */
  ranks?: readonly (readonly number[])[];
}

/** Empty for a scenario without a bug, or where nobody can see it. */
export function hintsOf(scenario: Scenario): Hints {
  const { bug } = scenario;
  if (bug === undefined) return { points: [] };
  const watched = scenario.watch ?? INVARIANTS;
  const visible = { ...scenario, watch: watched.filter((one) => VISIBLE.includes(one)) };
  const limits = { now: () => performance.now(), milliseconds: LAB_MS_MAX };
  const { failure } = find(scheduleOf(visible, bug), limits);
  if (failure === undefined) return { points: [] };
  const schedule = scheduleOf(visible, bug);
  const { steps, cut } = tell(schedule, failure.actors);
  const held = steps.flatMap(({ actor }, at) =>
    at > 0 && steps[at - 1]!.actor !== actor ? nextPoint(steps, at) : [],
  );
  const standing = cut === undefined ? [] : schedule.threads.map(({ next }) => next);
  const labels = [...new Set([...held, ...standing])];
  const cutAfter = cut === undefined ? undefined : lastOp(scenario, steps);
  return {
    points: labels.filter((label) => label.startsWith(ENGINE)),
    ranks: ranksOf(scenario, steps),
    ...(cutAfter === undefined ? {} : { cutAfter }),
  };
}

/**
 * Where to hold who goes on at step `at` after others did: the point at which it stood, or where it waited
 * for a process, which takes no time that counts, the one that it comes to next.
 */
function nextPoint(steps: readonly StoryStep[], at: number): string[] {
  const { actor, label } = steps[at]!;
  if (label.startsWith(ENGINE)) return [label];
  const before = steps.slice(0, at).findLast((step) => step.actor === actor);
  const next = steps[at + 1];
  const hasWaited = before?.label === label && next?.actor === actor;
  return hasWaited && next.label.startsWith(ENGINE) ? [next.label] : [];
}

/** An op begins with a step of its own name; who waits in one makes it again. */
function ranksOf(scenario: Scenario, steps: readonly StoryStep[]): number[][] {
  const ranks: number[][] = scenario.threads.map(() => []);
  const last: string[] = [];
  let begun = 0;
  for (const { actor, label } of steps) {
    const op = scenario.threads[actor]?.script[ranks[actor]?.length ?? 0];
    if (op !== undefined && label === opText(op) && last[actor] !== label)
      ranks[actor]!.push(begun++);
    last[actor] = label;
  }
  for (const [thread, { script }] of scenario.threads.entries()) {
    while (ranks[thread]!.length < script.length) ranks[thread]!.push(begun++);
  }
  return ranks;
}

/** That of the thread which made the last step. */
function lastOp(scenario: Scenario, steps: readonly StoryStep[]): Hints['cutAfter'] {
  const thread = steps.at(-1)!.actor;
  const texts = new Set(scenario.threads[thread]?.script.map(opText));
  const begun = steps.filter(({ actor, label }) => actor === thread && texts.has(label)).length;
  return begun === 0 ? undefined : { thread, index: begun - 1 };
}

/** @param seed of the round */
export function delayRules({ points }: Hints, seed: number): FaultRule[] {
  const rule = (chance: number, delayMs: number, number: number): FaultRule => ({
    op: 'point',
    path: '**',
    chance,
    seed: seed * 100 + number,
    action: { do: 'delay', delayMs },
  });
  return [
    ...points.map((point, index) => ({ ...rule(HELD_CHANCE, HELD_MS, index), point })),
    rule(SHORT_CHANCE, SHORT_MS, points.length),
  ];
}
