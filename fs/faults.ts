/**
 * Fault injection: rules that say which operation on which path, the how-manieth time, meets which
 * fault. Matching runs on the filesystem's thread before an operation is carried out; while a rule
 * names reads or writes, no file is served natively, so that every one of them passes here. Rules
 * for points hold back tasks of the engine that serves mapped files, so that others run in between.
 */
import picomatch from 'picomatch';
import { Errno, type ErrnoName } from '../lib/errno.js';
import { Random } from '../lib/random.js';
import type { Keep } from '../lib/region.js';
import { checkKeep } from './keep.js';
import { UsageError } from './options.js';

export const FAULT_OPS = [
  'any',
  'lookup',
  'getattr',
  'setattr',
  'truncate',
  'create',
  'open',
  'read',
  'write',
  'fsync',
  'unlink',
  'rmdir',
  'mkdir',
  'mknod',
  'symlink',
  'link',
  'rename',
  'readdir',
  'readlink',
  'setxattr',
  'getxattr',
  'listxattr',
  'removexattr',
  'fallocate',
  'lseek',
  'copy',
  'ioctl',
  'statfs',
  'point',
] as const;
/** `any` is any request; a `point` is none, but a step of the engine that serves mapped files. */
export type FaultOp = (typeof FAULT_OPS)[number];

/** What happens to a matching operation. Byte counts are of the operation's own data. */
export type FaultAction =
  | { do: 'error'; code: ErrnoName }
  /** A read or write carries out only the first `bytes` (half when absent) and says so. */
  | { do: 'short'; bytes?: number }
  /** A write stores only the first `bytes` (half, to a whole line, when absent), then fails EIO. */
  | { do: 'torn'; bytes?: number }
  | { do: 'delay'; delayMs: number }
  /** The region pages under the read or write become poisoned first. */
  | { do: 'poison' }
  /** The operation is carried out, then the power goes; the caller sees EIO. */
  | { do: 'crash'; keep: Keep };

export interface FaultRule {
  op: FaultOp;
  /** Glob over the path inside the mount; without a slash it matches the last name. */
  path: string;
  /** Only the n-th matching operation, counted from 1 when the rule was added. */
  nth?: number;
  /** Every n-th matching operation. */
  every?: number;
  /** Of the operations whose turn it is only so many of one, at random. */
  chance?: number;
  /** What `chance` goes by; 0. */
  seed?: number;
  /** With `point`: only points whose name (lib/dax/task.ts) has this in it. */
  point?: string;
  action: FaultAction;
}

export interface FaultState extends FaultRule {
  id: number;
  matched: number;
  fired: number;
}

interface Armed extends FaultState {
  matches: (path: string) => boolean;
  random: Random;
}

const RULES_MAX = 1000;
const REQUESTS = FAULT_OPS.filter((op) => op !== 'point');
const DATA_OPS: ReadonlySet<FaultOp> = new Set(['any', 'read', 'write']);

export class Faults {
  /** Called when rules have come or gone. */
  onChange: (() => void) | undefined;
  readonly #rules: Armed[] = [];
  #pointRules = 0;
  #nextId = 1;

  /** Checked before every operation; false costs nothing more. */
  get armed(): boolean {
    return this.#rules.length > this.#pointRules;
  }

  /** Checked at every point of a task; false costs nothing more. */
  get watchesPoints(): boolean {
    return this.#pointRules > 0;
  }

  /** True while reads and writes must not be served natively. */
  get watchesData(): boolean {
    return this.#rules.some((rule) => DATA_OPS.has(rule.op));
  }

  /** @throws {UsageError} naming what is wrong with the rule */
  add(rule: FaultRule): FaultState {
    checkRule(rule);
    if (this.#rules.length >= RULES_MAX) throw new UsageError(`more than ${RULES_MAX} fault rules`);
    const glob = picomatch(rule.path, { dot: true, basename: !rule.path.includes('/') });
    const armed: Armed = {
      ...rule,
      id: this.#nextId,
      matched: 0,
      fired: 0,
      matches: (path) => glob(path) || glob(path.slice(1)),
      random: new Random(rule.seed ?? 0),
    };
    this.#nextId += 1;
    this.#rules.push(armed);
    this.#count();
    return state(armed);
  }

  list(): FaultState[] {
    return this.#rules.map(state);
  }

  /** Removes one rule, or all when `id` is absent; returns how many went. */
  clear(id?: number): number {
    const before = this.#rules.length;
    const kept = id === undefined ? [] : this.#rules.filter((rule) => rule.id !== id);
    this.#rules.splice(0, before, ...kept);
    this.#count();
    return before - this.#rules.length;
  }

  #count(): void {
    this.#pointRules = this.#rules.filter(({ op }) => op === 'point').length;
    this.onChange?.();
  }

  /** Counts the operation against every rule and returns the first whose turn it is. */
  match(op: FaultOp, path: string): FaultAction | undefined {
    const action = this.#turn((rule) => {
      const isOp = rule.op === op || (rule.op === 'any' && op !== 'point');
      return isOp && rule.matches(path);
    });
    if (action !== undefined && action.action.do === 'crash') this.clear(action.id);
    return action?.action;
  }

  /**
   * As match(), for a task that has come to a point.
   * @returns milliseconds that it stays there
   */
  matchPoint(point: string, path: string): number | undefined {
    const action = this.#turn(
      (rule) => rule.op === 'point' && point.includes(rule.point ?? '') && rule.matches(path),
    )?.action;
    return action?.do === 'delay' ? action.delayMs : undefined;
  }

  #turn(matches: (rule: Armed) => boolean): Armed | undefined {
    let first: Armed | undefined;
    for (const rule of this.#rules) {
      if (!matches(rule)) continue;
      rule.matched += 1;
      if (rule.nth !== undefined && rule.matched !== rule.nth) continue;
      if (rule.every !== undefined && rule.matched % rule.every !== 0) continue;
      if (rule.chance !== undefined && rule.random.next() / 2 ** 32 >= rule.chance) continue;
      if (first !== undefined) continue;
      rule.fired += 1;
      first = rule;
    }
    return first;
  }
}

function state({ matches: _matches, random: _random, ...rule }: Armed): FaultState {
  return { ...rule };
}

function checkRule(rule: FaultRule): void {
  if (!FAULT_OPS.includes(rule.op)) {
    throw new UsageError(`fault: no operation '${rule.op}'; one of ${FAULT_OPS.join(', ')}`);
  }
  if (typeof rule.path !== 'string' || rule.path === '') throw new UsageError('fault: empty path');
  for (const [name, count] of [
    ['nth', rule.nth],
    ['every', rule.every],
  ] as const) {
    if (count !== undefined && !(Number.isSafeInteger(count) && count > 0)) {
      throw new UsageError(`fault: ${name} must be a whole number above 0`);
    }
  }
  if (rule.nth !== undefined && rule.every !== undefined) {
    throw new UsageError('fault: nth and every contradict each other');
  }
  checkChance(rule);
  checkAction(rule.op, rule.action);
}

function checkChance({ op, chance, seed, point }: FaultRule): void {
  if (chance !== undefined && !(chance > 0 && chance <= 1)) {
    throw new UsageError('fault: chance must be above 0, and 1 at most');
  }
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new UsageError('fault: seed must be a whole number');
  }
  if (seed !== undefined && chance === undefined) {
    throw new UsageError('fault: a seed needs a chance');
  }
  if (point !== undefined && (op !== 'point' || typeof point !== 'string' || point === '')) {
    throw new UsageError('fault: the name of a point goes with op point');
  }
}

function checkAction(op: FaultOp, action: FaultAction): void {
  const allowed: Record<FaultAction['do'], readonly FaultOp[]> = {
    error: REQUESTS,
    short: ['read', 'write'],
    torn: ['write'],
    delay: FAULT_OPS,
    poison: ['read', 'write'],
    crash: REQUESTS,
  };
  const ops = allowed[action?.do];
  if (ops === undefined) throw new UsageError(`fault: no fault '${String(action?.do)}'`);
  if (!ops.includes(op)) {
    throw new UsageError(`fault: ${action.do} applies to ${ops.join(', ')}, not to ${op}`);
  }
  if (action.do === 'error') {
    try {
      new Errno(action.code, '');
    } catch {
      throw new UsageError(`fault: no error named '${action.code}'`);
    }
  }
  if (action.do === 'crash') checkKeep(action.keep);
  const bytes = action.do === 'short' || action.do === 'torn' ? action.bytes : undefined;
  if (bytes !== undefined && !(Number.isSafeInteger(bytes) && bytes >= 0)) {
    throw new UsageError('fault: bytes must be a whole number');
  }
  if (action.do === 'delay' && !(action.delayMs >= 0 && action.delayMs <= 600_000)) {
    throw new UsageError('fault: delay must be between 0 and 600000 milliseconds');
  }
}
