/**
 * One round of a scenario on its stage: fresh files, mappings of them, the scripts run by real threads from
 * one moment on, perhaps a power cut, then a look at everything through every mapping and by read(2).
 * What a round does at random comes from its seed; when threads meet is the machine's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../lib/random.js';
import { INVARIANTS, type Scenario } from '../../lib/race/scenario.js';
import type { Keep } from '../../lib/region.js';
import { WRITTEN } from '../../lib/space/extent_list.js';
import { ActorLost, type Line } from './actor.js';
import { DELAY_MS_MAX, delayRules, type Hints } from './delays.js';
import type { Action, Look, Seen } from './model.js';
import { type Event, judge } from './oracle.js';
import {
  actorName,
  actorOf,
  callOf,
  type LiveOp,
  type LiveMap,
  mapsOf,
  pagesNamed,
  scriptsOf,
  wordsNamed,
} from './script.js';
import { type Stage, WAIT_MS_MAX } from './stage.js';
import { Values } from './values.js';
import type { LiveViolation } from './violation.js';

/** From when actors are told to when they begin. */
const START_MS = 3;
const NS_PER_MS = 1e6;
/** Calls are begun in the order of the lab's counterexample, or at random: far apart, or close. */
type Pace = 'lab' | 'loose' | 'tight';
/** Less than a task is held, more than what is not held takes. */
const SLOT_MS = 5;
const JITTER_MS = DELAY_MS_MAX * 1.2;
/** The power goes so long after the beginning, or after a call; one that never ends is not waited for. */
const CUT_MS_MAX = DELAY_MS_MAX * 2;
const CUT_WAIT_MS_MAX = 100;
const CUT_CHANCES = 4;
/** No page is free that a round could use beside its own: only said of such small regions. */
const BALLAST_PAGES_MAX = 64;

export interface Round {
  number: number;
  seed: number;
  events: Event[];
  /** When the scripts began, on the monotonic clock. */
  startNs: number;
  violation?: LiveViolation;
}

export async function runRound(
  stage: Stage,
  scenario: Scenario,
  { number, seed, hints }: { number: number; seed: number; hints: Hints | undefined },
): Promise<Round> {
  return await new LiveRound(stage, scenario, number, seed, hints).run();
}

class LiveRound {
  private readonly random: Random;
  private readonly values: Values;
  private readonly maps: Map<string, LiveMap>;
  private readonly events: Event[] = [];
  private startNs = 0;

  constructor(
    private readonly stage: Stage,
    private readonly scenario: Scenario,
    private readonly number: number,
    private readonly seed: number,
    /** Undefined: the engine is held back nowhere. */
    private readonly hints: Hints | undefined,
  ) {
    this.random = new Random(seed);
    this.values = new Values(number);
    this.maps = mapsOf(scenario);
  }

  async run(): Promise<Round> {
    const { scenario, events } = this;
    const violation = await this.played();
    const { number, seed, startNs } = this;
    const found = violation ?? judge(scenario, events);
    return { number, seed, events, startNs, ...(found === undefined ? {} : { violation: found }) };
  }

  /** @returns what kept the round from its end, or what its processes left behind when they let go */
  private async played(): Promise<LiveViolation | undefined> {
    const { control } = this.stage.mounted;
    await this.makeFiles();
    await this.openAll();
    if (this.hints !== undefined) {
      for (const rule of delayRules(this.hints, this.seed)) await control.faultAdd(rule);
    }
    try {
      await this.runScripts();
    } catch (error) {
      if (!(error instanceof ActorLost)) throw error;
      return { invariant: 'progress', message: error.message };
    }
    await control.faultClear();
    if (!this.events.some(isCut)) {
      await this.lookAtTimes();
      if (this.scenario.hasCrash === true) {
        // A cut takes all mappings away, and with them what they should not show.
        await this.look();
        await this.cutPower();
      }
    }
    await this.look();
    await this.letGo();
    return await this.stage.exitCounters(this.scenario.watch ?? INVARIANTS);
  }

  private path(name: string): string {
    return `round-${this.number}-${name}`;
  }

  /** As the scenario says, committed. */
  private async makeFiles(): Promise<void> {
    const { stage, scenario, values } = this;
    const calls: string[] = [];
    let usedPages = 0;
    for (const [name, { pages, extents = [], fill = 0 }] of Object.entries(scenario.files)) {
      calls.push(`create ${name} ${this.path(name)}`, `truncate ${name} ${pages}`);
      for (const { filePage, pageCount, state } of extents) {
        usedPages += pageCount;
        // In one piece, and on 2 MiB where it is as long.
        calls.push(`allocate ${name} ${filePage} ${pageCount}`);
        if (state === WRITTEN)
          calls.push(`fill ${name} ${filePage} ${pageCount} ${values.stored(fill)}`);
      }
      calls.push(`fsync ${name}`);
    }
    await stage.hand.must(calls, WAIT_MS_MAX);
    const { control } = stage.mounted;
    await control.commit();
    await this.poison();
    const { regionPages = Infinity } = scenario;
    if (regionPages > BALLAST_PAGES_MAX) return;
    const { free } = await control.info();
    const ballastPages = free.pages - (regionPages - 1 - usedPages);
    await stage.hand.must(
      [
        `create ballast ${this.path('ballast')}`,
        `allocate ballast 0 ${ballastPages}`,
        'fsync ballast',
      ],
      WAIT_MS_MAX,
    );
    await control.commit();
  }

  /** The pages of files that lie in bad pages of the scenario's region. */
  private poisonedPages(): { file: string; page: number }[] {
    const { files, poisoned = [] } = this.scenario;
    return Object.entries(files).flatMap(([file, { extents = [] }]) =>
      extents.flatMap(({ filePage, regionPage, pageCount }) =>
        poisoned
          .filter((bad) => regionPage <= bad && bad < regionPage + pageCount)
          .map((bad) => ({ file, page: filePage + bad - regionPage })),
      ),
    );
  }

  private async poison(): Promise<void> {
    const { control } = this.stage.mounted;
    for (const { file, page } of this.poisonedPages()) {
      const { id } = await control.faultAdd({
        op: 'read',
        path: this.path(file),
        action: { do: 'poison' },
      });
      // Of an unwritten page it gives zeroes all the same.
      await this.stage.hand.ask([`read ${file} ${page} 0`], WAIT_MS_MAX);
      await control.faultClear(id);
    }
  }

  private async openAll(): Promise<void> {
    const { stage, scenario } = this;
    const opened = [...stage.actors].map(async ([process, actor]) => {
      const calls = Object.keys(scenario.files).map((name) => `open ${name} ${this.path(name)}`);
      for (const { name, file, page, pageCount, isPrivate, isSync } of this.mapsIn(process)) {
        const kind = isPrivate ? 'private' : isSync ? 'sync' : 'shared';
        calls.push(`map ${name} ${file} ${page} ${pageCount} ${kind}`);
      }
      await actor.must(calls, WAIT_MS_MAX);
    });
    await Promise.all(opened);
  }

  private mapsIn(process: string): LiveMap[] {
    return [...this.maps.values()].filter((map) => map.process === process);
  }

  private async runScripts(): Promise<void> {
    const { stage, scenario, maps, values } = this;
    const scripts = scriptsOf(scenario);
    const pace = this.pace();
    for (const [thread, { process }] of scenario.threads.entries()) {
      const actor = stage.actors.get(actorOf(scenario, process))!;
      let atNs = 0;
      for (const { op, index } of scripts[thread]!) {
        const call = callOf(op, scenario, maps, (value) => values.stored(value));
        atNs = this.nextNs(pace, atNs, this.hints?.ranks?.[thread]?.[index]);
        actor.note(thread, atNs, call);
      }
    }
    const cut = this.plannedCut();
    this.startNs = nowNs() + START_MS * NS_PER_MS;
    const going = [...stage.actors.values()].map((actor) => actor.go(this.startNs, WAIT_MS_MAX));
    const all = await Promise.allSettled([...going, cut]);
    for (const actor of stage.actors.values()) {
      for (const line of actor.lines) this.events.push(this.eventOf(line, scripts));
    }
    const failed = all.find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
  }

  private pace(): Pace {
    const { random } = this;
    if (this.hints?.ranks !== undefined && random.oneIn(2)) return 'lab';
    return random.oneIn(2) ? 'loose' : 'tight';
  }

  /** When the next call begins at the earliest, from the start. @param rank of it in the lab */
  private nextNs(pace: Pace, beforeNs: number, rank: number | undefined): number {
    const { random } = this;
    if (pace === 'lab') return rank! * SLOT_MS * NS_PER_MS + random.below(NS_PER_MS);
    const maxMs = pace === 'loose' && random.oneIn(2) ? JITTER_MS : 1;
    return beforeNs + random.below(maxMs * NS_PER_MS);
  }

  /**
   * The power goes in the middle, at some time or right after some call, or not before the end. More often
   * in the middle where the lab's counterexample needs that.
   */
  private plannedCut(): Promise<void> {
    const { scenario, random, stage } = this;
    const isLater = random.below(CUT_CHANCES) >= (this.hints?.cutAfter === undefined ? 1 : 3);
    if (scenario.hasCrash !== true || isLater) return Promise.resolve();
    const afterMs = random.below(CUT_MS_MAX);
    if (random.oneIn(2)) return sleep(START_MS + afterMs).then(() => this.cutPower());
    const cutAfter = random.oneIn(2) ? this.hints?.cutAfter : undefined;
    const thread = cutAfter?.thread ?? random.below(scenario.threads.length);
    const index = cutAfter?.index ?? random.below(scenario.threads[thread]!.script.length);
    const actor = stage.actors.get(actorOf(scenario, scenario.threads[thread]!.process))!;
    const isThere = (line: Line) => line.thread === thread && line.index === index;
    return actor.told(isThere, CUT_WAIT_MS_MAX).then(() => this.cutPower());
  }

  private async cutPower(): Promise<void> {
    const keep = this.keep();
    const beginNs = nowNs();
    await this.stage.mounted.control.crash(keep);
    this.events.push({
      column: this.scenario.threads.length,
      action: { op: 'cut', keep },
      beginNs,
      endNs: nowNs(),
      seen: { kind: 'done' },
    });
  }

  private keep(): Keep {
    const { random } = this;
    switch (random.below(4)) {
      case 0:
        return { keep: 'none' };
      case 1:
        return { keep: 'all' };
      default:
        return { keep: 'seed', seed: random.below(1 << 30) };
    }
  }

  private eventOf(line: Line, scripts: readonly (readonly LiveOp[])[]): Event {
    const { thread, index, beginNs, endNs, text } = line;
    const action = scripts[thread]![index]!.op;
    return { column: thread, action, beginNs, endNs, seen: this.seenOf(action, text) };
  }

  private seenOf(action: Action, text: string): Seen {
    const [word = '', ...numbers] = text.split(' ');
    if (word === 'SIGBUS') return { kind: 'bus' };
    if (word === 'end') return { kind: 'end' };
    if (word !== 'ok') return { kind: 'error', code: word };
    if (TIMED.has(action.op)) return { kind: 'time', us: Number(numbers[0]) };
    const values = numbers.map((number) => this.values.named(Number(number)));
    if (action.op === 'scan' || action.op === 'scanfile') return { kind: 'values', values };
    return values.length === 0 ? { kind: 'done' } : { kind: 'value', value: values[0]! };
  }

  private async lookAtTimes(): Promise<void> {
    const looks = Object.keys(this.scenario.files).map((file) => ({ op: 'times', file }) as const);
    const calls = looks.map(({ file }) => `times ${file}`);
    this.addLooks(looks, await this.stage.hand.ask(calls, WAIT_MS_MAX));
  }

  /** Every page and word that scripts name, through every mapping that is left, and by read(2). */
  private async look(): Promise<void> {
    const { stage, scenario, maps } = this;
    const pages = pagesNamed(scenario);
    const words = wordsNamed(scenario);
    const unmapped = new Set(
      scenario.threads.flatMap(({ script }) =>
        script.flatMap((op) => (op.op === 'unmap' ? [op.map] : [])),
      ),
    );
    for (const [process, actor] of stage.actors) {
      const looks = this.mapsIn(process)
        .filter(({ name }) => !unmapped.has(name))
        .flatMap(({ name: map, file, page: first, pageCount }) =>
          [...pages.get(file)!]
            .filter((page) => first <= page && page < first + pageCount)
            .flatMap((page): (Action & { map: string; page: number })[] => [
              ...[...words.get(file)!].map((word) => ({ op: 'load', map, page, word }) as const),
              { op: 'scan', map, page },
            ]),
        );
      const calls = looks.map((look) =>
        look.op === 'scan'
          ? `scan ${actorName(maps, look.map)} ${look.page - maps.get(look.map)!.page}`
          : callOf(look as never, scenario, maps, Number),
      );
      this.addLooks(looks, await actor.ask(calls, WAIT_MS_MAX));
    }
    const looks = Object.keys(scenario.files).flatMap((file) =>
      [...pages.get(file)!].flatMap((page): Action[] => [
        ...[...words.get(file)!].map((word) => ({ op: 'read', file, page, word }) as const),
        { op: 'scanfile', file, page } satisfies Look,
      ]),
    );
    const calls = looks.map((look) => Object.values(look).join(' '));
    this.addLooks(looks, await stage.hand.ask(calls, WAIT_MS_MAX));
  }

  /** One after the other, after all that was before. */
  private addLooks(looks: readonly Action[], answers: readonly string[]): void {
    let lastNs = Math.max(nowNs(), ...this.events.map(({ endNs }) => endNs));
    const column = this.scenario.threads.length;
    for (const [index, action] of looks.entries()) {
      const [beginNs, endNs] = [lastNs + 1, lastNs + 2];
      lastNs = endNs;
      this.events.push({
        column,
        action,
        beginNs,
        endNs,
        seen: this.seenOf(action, answers[index]!),
      });
    }
  }

  /** All is unmapped, closed and removed, and the pages are free. */
  private async letGo(): Promise<void> {
    const { stage, scenario } = this;
    const names = Object.keys(scenario.files);
    for (const [process, actor] of stage.actors) {
      const calls = this.mapsIn(process).map(({ name }) => `unmap ${name}`);
      // One that a script unmapped is not there any more.
      const isMapped = (call: string) => !this.unmappedCalls().has(call);
      await actor.must(
        [...calls.filter(isMapped), ...names.map((name) => `close ${name}`)],
        WAIT_MS_MAX,
      );
    }
    const heal = this.poisonedPages().map(({ file, page }) => `fill ${file} ${page} 1 0`);
    const remove = names.flatMap((name) => [`close ${name}`, `unlink ${this.path(name)}`]);
    const hasBallast = (scenario.regionPages ?? Infinity) <= BALLAST_PAGES_MAX;
    const ballast = hasBallast ? ['close ballast', `unlink ${this.path('ballast')}`] : [];
    await stage.hand.must([...heal, ...remove, ...ballast], WAIT_MS_MAX);
    await stage.mounted.control.commit();
  }

  private unmappedCalls(): Set<string> {
    return new Set(
      this.scenario.threads.flatMap(({ script }) =>
        script.flatMap((op) => (op.op === 'unmap' ? [`unmap ${op.map}`] : [])),
      ),
    );
  }
}

/** Whose answer is an mtime. */
const TIMED: ReadonlySet<string> = new Set(['fsync', 'writeback', 'times']);

function isCut({ action }: Event): boolean {
  return action.op === 'cut';
}

function nowNs(): number {
  return Number(process.hrtime.bigint());
}
