/**
 * A schedule told step by step: who, in which file and function, what came of it, and how page tables,
 * entries and the map look afterwards. Made by running it again with the journal kept.
 */
import type { Extent } from '../space/extent_list.js';
import { WRITTEN } from '../space/extent_list.js';
import { STEPS_MAX } from './explorer.js';
import { isFairRound } from './livelock.js';
import { span } from './page_table.js';
import { type Picture, pictureOf } from './picture.js';
import { CutViolation, cutText } from './recovery.js';
import type { Schedule } from './schedule.js';
import type { Thread } from './thread.js';
import { LivelockViolation, Violation } from './violation.js';

export interface StoryStep {
  /** Number of the actor. */
  readonly actor: number;
  /** Thread in whose column it is told. */
  readonly column: number;
  /** `file function: what`, or what a program does. */
  readonly label: string;
  /** What came of it. */
  readonly notes: readonly string[];
  readonly after: Picture;
}

export interface Story {
  readonly columns: readonly { name: string; process: string }[];
  /** Before the first step. */
  readonly before: Picture;
  readonly steps: readonly StoryStep[];
  readonly violation: Violation | undefined;
  /** How the power was cut, when that broke it. */
  readonly cut: string | undefined;
}

/** @throws {RangeError} the schedule cannot be run: an actor in it cannot go on */
export function tell(schedule: Schedule, actors: readonly number[]): Story {
  const { world } = schedule;
  const steps: StoryStep[] = [];
  const states: State[] = [];
  let before: Picture = [];
  let violation: Violation | undefined;
  world.journal.isKept = true;
  try {
    schedule.reset();
    before = pictureOf(world);
    schedule.checkState();
    if (actors.length > STEPS_MAX) throw new RangeError('the schedule is too long');
    for (const actor of actors) {
      if (actor >= schedule.actorCount || !schedule.isEnabled(actor)) {
        throw new RangeError(`step ${steps.length + 1}: actor ${actor} cannot go on`);
      }
      states.push(stateOf(schedule));
      const thread = schedule.threads[actor];
      const label = thread?.next ?? 'page table';
      world.journal.take();
      try {
        schedule.step(actor);
      } finally {
        const notes = [...world.journal.take(), ...sawOf(thread)];
        steps.push({
          actor,
          column: columnOf(schedule, actor),
          label,
          notes,
          after: pictureOf(world),
        });
      }
      schedule.checkState();
    }
    states.push(stateOf(schedule));
    if (schedule.enabled() === 0) schedule.checkEnd();
    else violation = livelockIn(actors, states);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error;
  } finally {
    world.journal.isKept = false;
  }
  const columns = schedule.threads.map(({ name, process }) => ({ name, process: process.name }));
  const cut = violation instanceof CutViolation ? cutText(violation.cut) : undefined;
  return { columns, before, steps, violation, cut };
}

interface State {
  readonly text: string;
  readonly enabled: number;
}

function stateOf(schedule: Schedule): State {
  return { text: schedule.text(), enabled: schedule.enabled() };
}

/** The end is where the schedule was before, and nobody was left out since. */
function livelockIn(
  actors: readonly number[],
  states: readonly State[],
): LivelockViolation | undefined {
  const end = states.at(-1)!;
  const start = states.findIndex(({ text }) => text === end.text);
  const round = states.slice(start).map(({ enabled }) => enabled);
  if (start === actors.length || !isFairRound(actors.slice(start), round)) return undefined;
  return new LivelockViolation({ actors, start });
}

/** A process's commands are told beside its first thread that waits, or its first. */
function columnOf(schedule: Schedule, actor: number): number {
  if (actor < schedule.threads.length) return actor;
  const process = schedule.world.mmu.all()[actor - schedule.threads.length]!;
  const own = schedule.threads.filter((thread) => thread.process === process);
  return (own.find(({ waitsFor }) => waitsFor !== undefined) ?? own[0]!).cpu;
}

function sawOf(thread: Thread | undefined): string[] {
  if (thread === undefined || thread.isDone) return [];
  if (thread.waitsFor !== undefined && !thread.waitsFor.isReady) return ['waits'];
  const text = describe(thread.saw);
  return text === undefined ? [] : [text];
}

/** The plain data that the engine's points show (lib/dax/fault.ts, writeback.ts). */
function describe(saw: unknown): string | undefined {
  if (saw === undefined || saw === null || typeof saw !== 'object') return undefined;
  if (Array.isArray(saw)) {
    return `dirty: ${saw.map((range) => `${range.isHuge ? 'PMD' : 'page'} ${span(range)}`).join(', ')}`;
  }
  if ('wish' in saw) {
    const { state, window, regionPage, isHuge } = saw.wish as {
      state: string;
      window: { filePage: number; pageCount: number };
      regionPage: number | undefined;
      isHuge: boolean;
    };
    const where = regionPage === undefined ? '' : ` at region page ${regionPage}`;
    return `looks: page ${span(window)} is ${state === 'hole' ? 'a hole' : state}${where}; wishes a ${isHuge ? 'PMD' : 'PTE'}`;
  }
  if ('regionPage' in saw) {
    const extent = saw as Extent;
    const what = extent.state === WRITTEN ? 'written' : 'unwritten';
    return `has region page ${extent.regionPage} for page ${span(extent)}, ${what}`;
  }
  return undefined;
}
