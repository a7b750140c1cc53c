/**
 * Mount options: the words of `-o`, their types and defaults, and which contradict each other.
 * Parsed once by tools and by the API, passed to the daemon as JSON, never interpreted again.
 */
import { BUG_NAMES, type BugSwitches, NO_BUGS, namesOfBugs, parseBugs } from '../lib/dax/bugs.js';

export type DaxMode = 'never' | 'inode' | 'always';

export interface MountOptions {
  readOnly: boolean;
  /** Users other than the mounting one may enter (FUSE's allow_other). */
  allowOther: boolean;
  /** Which files `fauxdax run` may map directly; `inode` follows chattr +x. */
  dax: DaxMode;
  /** Keep durable values apart from stored ones, so that `fauxdax crash` can drop the latter. */
  crashable: boolean;
  /** Fill pages with the stale canary when they become free. */
  canary: boolean;
  /** The running transaction is committed at least this often. */
  commitSeconds: number;
  /** `process`: survives kill -9 and simulated power cuts. `host`: also a real power cut. */
  durable: 'process' | 'host';
  bugs: BugSwitches;
  transport: 'kernel' | 'fuse-native';
  /** Flags of mount(2) by name, as mount(8) gives them. */
  mountFlags: string[];
}

export const DEFAULT_OPTIONS: MountOptions = {
  readOnly: false,
  allowOther: false,
  dax: 'inode',
  crashable: false,
  canary: false,
  commitSeconds: 5,
  durable: 'process',
  bugs: NO_BUGS,
  transport: 'kernel',
  mountFlags: [],
};

const COMMIT_SECONDS_MAX = 3600;

/** A mistake in what the user typed; exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** mount(2) flag words that are passed on, and the words they contradict. */
const MOUNT_FLAGS: Record<string, string | undefined> = {
  nosuid: 'suid',
  nodev: 'dev',
  noexec: 'exec',
  noatime: 'atime',
  nodiratime: 'diratime',
  relatime: 'norelatime',
  strictatime: 'nostrictatime',
  sync: 'async',
  dirsync: undefined,
};

/** Words of fstab and mount(8) that mean nothing to a mounted filesystem. */
const IGNORED = new Set([
  'defaults',
  'auto',
  'noauto',
  'user',
  'users',
  'nouser',
  'nofail',
  '_netdev',
  'owner',
  'group',
  'suid',
  'dev',
  'exec',
  'atime',
  'diratime',
  'norelatime',
  'nostrictatime',
  'async',
  'default_permissions',
  'loud',
  'silent',
]);

/**
 * Reads the words of one or more `-o` arguments.
 *
 * @param lists each a comma-separated list, as given
 * @throws {UsageError} naming the word that is unknown, malformed or contradicts an earlier one
 */
export function parseMountOptions(lists: readonly string[]): MountOptions {
  const options: MountOptions = { ...DEFAULT_OPTIONS, bugs: { ...NO_BUGS }, mountFlags: [] };
  const seen = new Map<string, string>(); // setting → the word that set it
  for (const word of lists.flatMap((list) => list.split(',')).filter((w) => w !== '')) {
    applyWord(options, seen, word);
  }
  return options;
}

/**
 * The words that say the same as `options`, with the defaults that matter written out:
 * `rw,crashable,dax=inode,commit=5,durable=process`. Read back, they give equal options.
 */
export function mountOptionWords(options: MountOptions): string[] {
  const words = [options.readOnly ? 'ro' : 'rw'];
  if (options.allowOther) words.push('allow_other');
  if (options.crashable) words.push('crashable');
  if (options.canary) words.push('canary');
  words.push(`dax=${options.dax}`, `commit=${options.commitSeconds}`, `durable=${options.durable}`);
  if (options.transport !== DEFAULT_OPTIONS.transport) words.push(`transport=${options.transport}`);
  words.push(...namesOfBugs(options.bugs).map((name) => `bug=${name}`));
  return [...words, ...options.mountFlags];
}

function applyWord(options: MountOptions, seen: Map<string, string>, word: string): void {
  const equals = word.indexOf('=');
  const key = equals < 0 ? word : word.slice(0, equals);
  const value = equals < 0 ? undefined : word.slice(equals + 1);
  if (key.startsWith('x-') || key.startsWith('comment')) return;
  switch (key) {
    case 'ro':
    case 'rw':
      noValue(word, value);
      once(seen, 'ro/rw', word);
      options.readOnly = key === 'ro';
      return;
    case 'allow_other':
      noValue(word, value);
      options.allowOther = true;
      return;
    case 'crashable':
      noValue(word, value);
      options.crashable = true;
      return;
    case 'canary':
      noValue(word, value);
      options.canary = true;
      return;
    case 'dax':
      once(seen, 'dax', word);
      options.dax = oneOf(word, value ?? 'always', ['never', 'inode', 'always']);
      return;
    case 'durable':
      once(seen, 'durable', word);
      options.durable = oneOf(word, value, ['process', 'host']);
      return;
    case 'transport':
      once(seen, 'transport', word);
      options.transport = oneOf(word, value, ['kernel', 'fuse-native']);
      return;
    case 'commit':
      once(seen, 'commit', word);
      options.commitSeconds = seconds(word, value);
      return;
    case 'bug': {
      if (!BUG_NAMES.includes(value ?? '')) {
        throw new UsageError(`-o ${word}: expected one of ${BUG_NAMES.join(', ')}`);
      }
      const on = parseBugs([value ?? '']);
      for (const name of Object.keys(on) as (keyof BugSwitches)[]) options.bugs[name] ||= on[name];
      return;
    }
    default:
      applyMountWord(options, seen, word, value);
  }
}

function applyMountWord(
  options: MountOptions,
  seen: Map<string, string>,
  word: string,
  value: string | undefined,
): void {
  const known = Object.hasOwn(MOUNT_FLAGS, word) || IGNORED.has(word);
  if (!known || value !== undefined) throw new UsageError(`-o ${word}: unknown mount option`);
  for (const [flag, opposite] of Object.entries(MOUNT_FLAGS)) {
    if (word === flag || word === opposite) once(seen, flag, word);
  }
  if (Object.hasOwn(MOUNT_FLAGS, word)) options.mountFlags.push(word);
}

function once(seen: Map<string, string>, setting: string, word: string): void {
  const earlier = seen.get(setting);
  if (earlier !== undefined && earlier !== word) {
    throw new UsageError(`-o ${word} contradicts -o ${earlier}`);
  }
  seen.set(setting, word);
}

function noValue(word: string, value: string | undefined): void {
  if (value !== undefined) throw new UsageError(`-o ${word}: takes no value`);
}

function oneOf<T extends string>(word: string, value: string | undefined, of: readonly T[]): T {
  const found = of.find((candidate) => candidate === value);
  if (found === undefined) throw new UsageError(`-o ${word}: expected one of ${of.join(', ')}`);
  return found;
}

function seconds(word: string, value: string | undefined): number {
  const number = /^\d+(\.\d+)?$/.test(value ?? '') ? Number(value) : Number.NaN;
  if (!(number > 0 && number <= COMMIT_SECONDS_MAX)) {
    throw new UsageError(`-o ${word}: expected seconds between 0 and ${COMMIT_SECONDS_MAX}`);
  }
  return number;
}
