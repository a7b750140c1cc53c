/**
 * Fault rules and crash triggers as a person types them, turned into the rules of fs/faults.ts.
 * What a rule may combine is checked there; here only the spelling.
 */
import type { FaultAction, FaultOp, FaultRule } from '../fs/faults.js';
import { UsageError } from '../fs/options.js';
import type { ErrnoName } from '../lib/errno.js';
import type { Keep } from '../lib/region.js';
import { parseSize } from './size.js';

export const ACTION_HELP = `  eio, enospc, erofs, ...   fails with that error; nothing is carried out
  short, short=BYTES        a read or write carries out only a part, and says so
  torn, torn=BYTES          a write stores only a part, then fails with EIO
  delay=250ms, delay=2s     carried out later
  poison                    the region pages under it go bad: EIO until overwritten whole`;

/**
 * `--do`: what happens to a matching operation.
 * @throws {UsageError} naming the word
 */
export function parseAction(text: string): FaultAction {
  const [word = '', value] = split(text, '=');
  switch (word) {
    case 'short':
    case 'torn':
      return value === undefined ? { do: word } : { do: word, bytes: parseSize(value) };
    case 'delay':
      return { do: 'delay', delayMs: parseDelayMs(value ?? '') };
    case 'poison':
      if (value !== undefined) throw new UsageError(`--do ${text}: poison takes no value`);
      return { do: 'poison' };
    default:
      if (value !== undefined || !/^e[a-z0-9]+$/i.test(word)) {
        throw new UsageError(`--do ${text}: expected an error (eio), short, torn, delay or poison`);
      }
      return { do: 'error', code: word.toUpperCase() as ErrnoName };
  }
}

/** @returns milliseconds */
function parseDelayMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s)?$/.exec(text);
  if (match === null) throw new UsageError(`--do delay=${text}: write delay=250ms or delay=2s`);
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}

/** `--keep none|all|seed:N`. @throws {UsageError} */
export function parseKeep(text: string): Keep {
  if (text === 'none' || text === 'all') return { keep: text };
  const match = /^seed:(\d+)$/.exec(text);
  const seed = Number(match?.[1] ?? Number.NaN);
  if (!Number.isSafeInteger(seed)) {
    throw new UsageError(`--keep ${text}: expected none, all or seed:N`);
  }
  return { keep: 'seed', seed };
}

/**
 * `--at OP:GLOB:N`: the N-th OP on a path that GLOB matches. A glob may hold colons.
 * @throws {UsageError}
 */
export function parseTrigger(text: string): { op: FaultOp; path: string; nth: number } {
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  const nth = Number(text.slice(last + 1));
  const path = text.slice(first + 1, last);
  if (first < 1 || last <= first || path === '' || !Number.isSafeInteger(nth) || nth < 1) {
    throw new UsageError(`--at ${text}: expected OP:GLOB:N, for example 'write:*.wal:3'`);
  }
  return { op: text.slice(0, first) as FaultOp, path, nth };
}

/** A rule as it would be typed: `write *.db every 3: torn=64`. */
export function describeRule(rule: FaultRule): { when: string; action: string } {
  const turn =
    rule.nth !== undefined
      ? `number ${rule.nth}`
      : rule.every !== undefined
        ? `every ${rule.every}`
        : 'always';
  const at = rule.point === undefined ? '' : ` at '${rule.point}'`;
  const chance = rule.chance === undefined ? '' : `, chance ${rule.chance}`;
  return { when: `${turn}${at}${chance}`, action: describeAction(rule.action) };
}

function describeAction(action: FaultAction): string {
  switch (action.do) {
    case 'error':
      return action.code.toLowerCase();
    case 'short':
    case 'torn':
      return action.bytes === undefined ? action.do : `${action.do}=${action.bytes}`;
    case 'delay':
      return `delay=${action.delayMs}ms`;
    case 'poison':
      return 'poison';
    case 'crash':
      return `crash, keep ${describeKeep(action.keep)}`;
  }
}

export function describeKeep(keep: Keep): string {
  return keep.keep === 'seed' ? `seed:${keep.seed}` : keep.keep;
}

function split(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}
