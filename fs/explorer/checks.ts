/**
 * What `--check` and `--continue` may say: a line for /bin/sh, or the name of a ready check and
 * what it looks at, `sqlite:data.db`. SPEC.md has what each ready check does. Those of `inChecker`
 * run in a long-lived process (fs/explorer/checker.ts), the others as shell commands around the
 * real program.
 */
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, isAbsolute, join, normalize, relative } from 'node:path';
import { UsageError } from '../options.js';

export type CheckerName = 'sqlite' | 'leveldb' | 'json';

export type Check =
  | { run: 'shell'; command: string }
  /** `path` is relative to the workload's directory. */
  | { run: 'checker'; name: CheckerName; path: string };

interface ReadyCheck {
  /** What has to be there, and how to get it. */
  needs: { program?: string; module?: string; install: string } | null;
  make(path: string): Check;
}

const inChecker =
  (name: CheckerName) =>
  (path: string): Check => ({ run: 'checker', name, path });

const READY: Readonly<Record<string, ReadyCheck>> = {
  sqlite: { needs: null, make: inChecker('sqlite') },
  json: { needs: null, make: inChecker('json') },
  leveldb: {
    needs: { module: 'classic-level', install: 'npm install classic-level' },
    make: inChecker('leveldb'),
  },
  lmdb: {
    needs: { program: 'mdb_stat', install: 'apt install lmdb-utils' },
    make: (path) => ({ run: 'shell', command: lmdbCommand(quote(path)) }),
  },
  git: {
    needs: { program: 'git', install: 'apt install git' },
    make: (path) => ({ run: 'shell', command: gitCommand(quote(path)) }),
  },
};

const READY_NAMES: readonly string[] = Object.keys(READY);

/** A name that could be a ready check's: one word, then a colon, then what it looks at. */
const READY_SHAPE = /^([A-Za-z][\w-]*):(?!\/\/)(.*)$/s;

/**
 * @param dir the workload's directory; a path inside it may be absolute
 * @throws {UsageError} no such ready check, a path outside `dir`, a program that is not installed
 */
export function parseCheck(text: string, dir: string): Check {
  const [, name, path] = READY_SHAPE.exec(text) ?? [];
  if (name === undefined || path === undefined) {
    if (text.trim() === '') throw new UsageError('the check is empty');
    return { run: 'shell', command: text };
  }
  const ready = READY[name];
  if (ready === undefined) {
    throw new UsageError(`${text}: no ready check "${name}"; there are ${READY_NAMES.join(', ')}`);
  }
  assertInstalled(text, ready.needs);
  return ready.make(insidePath(text, path, dir));
}

function insidePath(text: string, path: string, dir: string): string {
  if (path === '')
    throw new UsageError(`${text}: what is to be checked is missing after the colon`);
  const inside = normalize(isAbsolute(path) ? relative(dir, path) : path);
  if (inside === '..' || inside.startsWith('../') || isAbsolute(inside)) {
    throw new UsageError(`${text}: ${path} is not inside the workload's directory`);
  }
  return inside === '' ? '.' : inside;
}

function assertInstalled(text: string, needs: ReadyCheck['needs']): void {
  if (needs === null) return;
  const { program, module, install } = needs;
  const isThere = program === undefined ? hasModule(module ?? '') : hasProgram(program);
  if (!isThere) throw new UsageError(`${text}: ${program ?? module} is missing: ${install}`);
}

function hasProgram(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasModule(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** A word for /bin/sh. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** All of every database is read; a missing one passes. LMDB with MDB_NOSUBDIR is a file. */
function lmdbCommand(path: string): string {
  return [
    `set -- ${path}`,
    'if [ -d "$1" ]; then [ -e "$1/data.mdb" ] || { echo missing; exit 0; }; n=',
    'else [ -e "$1" ] || { echo missing; exit 0; }; n=-n; fi',
    'mdb_stat $n -ffa "$1" && mdb_dump $n -p "$1" && mdb_dump $n -p -a "$1"',
  ].join('\n');
}

/** The directory may be another user's: git would refuse it. */
function gitCommand(path: string): string {
  return [
    `set -- ${path}`,
    '[ -e "$1/.git" ] || [ -e "$1/HEAD" ] || { echo missing; exit 0; }',
    'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"',
    'git -C "$1" fsck --full --strict --no-dangling --no-progress || exit',
    'if [ "$(git -C "$1" rev-parse --is-bare-repository)" = false ]; then',
    '  git -C "$1" status --short || exit',
    'fi',
    `git -C "$1" for-each-ref --format='%(refname) %(objectname) %(subject)'`,
  ].join('\n');
}
