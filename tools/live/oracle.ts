/**
 * Whether a round can be explained: some order of its events, in which one that ended before another began
 * comes first, has every load see what the plainest filesystem (model.ts) would show. Each access and
 * call counts as one step at some moment between its beginning and its end. What was seen is first
 * looked at by itself: no word of a file may be another's, or a removed file's.
 *
 * A power cut is an event too. It takes a while until nobody sees what was before it, so what is loaded
 * or read while it is under way may be old or new; a call that it failed has happened, or not.
 */
import type { Scenario } from '../../lib/race/scenario.js';
import { type Action, FileModel, type Seen } from './model.js';
import { type LiveMap, mapsOf } from './script.js';
import { valueText } from './values.js';
import type { LiveViolation } from './violation.js';

export interface Event {
  /** Thread; the number of threads for what is done to all, or after all. */
  column: number;
  action: Action;
  /** On the monotonic clock. */
  beginNs: number;
  endNs: number;
  seen: Seen;
}

/** @returns what cannot be explained; undefined when all can */
export function judge(scenario: Scenario, events: readonly Event[]): LiveViolation | undefined {
  const maps = mapsOf(scenario);
  return (
    foreignWord(scenario, maps, events) ??
    new Explanation(scenario, maps, events).find() ??
    untoldStore(maps, events)
  );
}

/** The words that a file may hold. */
export function ownValues(
  scenario: Scenario,
  maps: ReadonlyMap<string, LiveMap>,
): Map<string, Set<number>> {
  const own = new Map(
    Object.entries(scenario.files).map(([name, { fill = 0 }]) => [name, new Set([0, fill])]),
  );
  for (const op of scenario.threads.flatMap(({ script }) => script)) {
    if (op.op === 'store') own.get(maps.get(op.map)!.file)!.add(op.value);
    if (op.op === 'write') own.get(op.file)!.add(op.value);
  }
  return own;
}

function foreignWord(
  scenario: Scenario,
  maps: ReadonlyMap<string, LiveMap>,
  events: readonly Event[],
): LiveViolation | undefined {
  const own = ownValues(scenario, maps);
  for (const { action, seen } of events) {
    const file = fileOf(action, maps);
    if (file === undefined) continue;
    const values = seen.kind === 'value' ? [seen.value] : seen.kind === 'values' ? seen.values : [];
    const foreign = values.find((value) => !own.get(file)!.has(value));
    if (foreign === undefined) continue;
    const other = [...own].find(([, others]) => others.has(foreign))?.[0];
    const page = 'page' in action ? `page ${action.page} of ` : '';
    return other === undefined
      ? { invariant: 'foreign', message: `${page}${file} shows ${valueText(foreign)}` }
      : {
          invariant: 'other-file',
          message: `${page}${file} shows ${foreign}, which was stored to ${other}`,
        };
  }
  return undefined;
}

/**
 * A sync leaves no page of the file storable without the filesystem being told, which moves the mtime: it is
 * not what it was before a sync when somebody stored after it. (The clock of mtimes has ticks; and the
 * page of a store that is under way beside a sync stays storable, and dirty for the next one.)
 */
function untoldStore(
  maps: ReadonlyMap<string, LiveMap>,
  events: readonly Event[],
): LiveViolation | undefined {
  const isStoreTo = (file: string, { action, seen }: Event): boolean => {
    if (action.op !== 'store' || seen.kind === 'bus') return false;
    const map = maps.get(action.map)!;
    return map.file === file && !map.isPrivate;
  };
  for (const { action, seen } of events) {
    if (action.op !== 'times' || seen.kind !== 'time') continue;
    const { file } = action;
    for (const sync of events) {
      if (sync.action.op !== 'fsync' || sync.action.file !== file) continue;
      if (sync.seen.kind !== 'time' || sync.seen.us < seen.us) continue;
      const isBeside = ({ beginNs, endNs }: Event) =>
        beginNs <= sync.endNs && sync.beginNs <= endNs;
      if (events.some((event) => isStoreTo(file, event) && isBeside(event))) continue;
      const isLater = ({ beginNs }: Event) =>
        beginNs > sync.endNs && beginNs - sync.beginNs > TICK_NS;
      const store = events.find((event) => isStoreTo(file, event) && isLater(event));
      if (store === undefined) continue;
      const ms = ((store.beginNs - sync.endNs) / 1e6).toFixed(1);
      return {
        invariant: 'times',
        message: `${ms} ms after a sync of ${file} had returned a store to it was not told: its mtime is the one from before the sync`,
      };
    }
  }
  return undefined;
}

const TICK_NS = 5e6;

function fileOf(action: Action, maps: ReadonlyMap<string, LiveMap>): string | undefined {
  if ('file' in action) return action.file;
  return 'map' in action ? maps.get(action.map)!.file : undefined;
}

class Explanation {
  private readonly events: Event[];
  private readonly tried = new Set<string>();
  /** Of the order that explains most: how much, and why it goes no further. */
  private best: { count: number; why: LiveViolation } = {
    count: -1,
    why: { invariant: 'load', message: 'nothing explains it' },
  };

  constructor(scenario: Scenario, maps: ReadonlyMap<string, LiveMap>, events: readonly Event[]) {
    const cuts = events.filter(({ action }) => action.op === 'cut');
    const isDuringCut = ({ beginNs, endNs }: Event) =>
      cuts.some((cut) => beginNs <= cut.endNs && cut.beginNs <= endNs);
    // Optional ones were failed by a cut.
    this.events = events.filter((event) => !(LOOKS.has(event.action.op) && isDuringCut(event)));
    this.events.sort((a, b) => a.beginNs - b.beginNs);
    this.optional = new Set(
      this.events.filter(
        (event) => event.seen.kind === 'error' && event.seen.code === 'EIO' && isDuringCut(event),
      ),
    );
    this.start = new FileModel(scenario, maps);
  }

  private readonly optional: Set<Event>;
  private readonly start: FileModel;

  find(): LiveViolation | undefined {
    return this.goesOn(this.start, new Set()) ? undefined : this.best.why;
  }

  /** Whether the rest can follow. @param done events that came already */
  private goesOn(model: FileModel, done: ReadonlySet<Event>): boolean {
    const rest = this.events.filter((event) => !done.has(event));
    if (rest.length === 0) return true;
    const key = `${rest.map((event) => this.events.indexOf(event)).join()} ${model.text()}`;
    if (this.tried.has(key)) return false;
    this.tried.add(key);
    const firstEndNs = Math.min(...rest.map(({ endNs }) => endNs));
    for (const event of rest) {
      if (event.beginNs > firstEndNs) break;
      if (this.canFollow(model, done, event)) return true;
    }
    return false;
  }

  private canFollow(model: FileModel, done: ReadonlySet<Event>, event: Event): boolean {
    const after = new Set(done).add(event);
    const { action } = event;
    if (action.op === 'cut')
      return model.afterCut(action.keep).some((left) => this.goesOn(left, after));
    const isOptional = this.optional.has(event);
    if (isOptional && this.goesOn(model, after)) return true;
    const next = model.copy();
    const why = next.apply(action, isOptional ? { kind: 'done' } : event.seen);
    if (why === undefined) return this.goesOn(next, after);
    if (done.size > this.best.count) this.best = { count: done.size, why };
    return false;
  }
}

/** What only looks. */
const LOOKS: ReadonlySet<string> = new Set(['load', 'read', 'scan', 'scanfile']);
