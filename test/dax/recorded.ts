/**
 * `fauxdax record --dax` of small programs, end to end, for tests of recordings: what each did, in the
 * words of `fauxdax trace`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Test } from 'tap';
import { loadNative } from '../../lib/native.js';

/** Of one command, which takes a second: one that takes this long hangs, however busy the machine. */
const SECONDS_MAX = '400';
const MAIN = resolve('dist/tools/fauxdax.js');

export function missing(): string | false {
  if (process.geteuid?.() !== 0 || !existsSync('/dev/fuse')) return 'needs root and /dev/fuse';
  for (const library of ['libpmem', 'libpmem2', 'libpmemobj']) {
    if (!existsSync(`/usr/include/${library}.h`)) return `needs ${library}-dev`;
  }
  try {
    return loadNative().probeUserfault() !== 0 && 'this kernel has no direct mappings';
  } catch (error) {
    return `userfaultfd: ${(error as Error).message}`;
  }
}

/** A file of two pages, mapped, all of it durable; `at` is where. */
export const PMEM = {
  library: 'pmem',
  start: `#include <libpmem.h>
#include <stdio.h>
#include <string.h>
int main(void) {
  size_t bytes; int is_pmem;
  char* at = pmem_map_file("f", 8192, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
  if (at == NULL || !is_pmem) return 9;
  at[0] = '.'; at[4096] = '.'; pmem_persist(at, 8192); puts("start");`,
};

export interface Program {
  library: string;
  start: string;
}

/** Builds and records a program; the calls and lines after it printed `start`, in words. */
export function record(t: Test, body: string, options: string[] = [], made: Program = PMEM) {
  const dir = scratchFolder(t);
  const source = join(dir, 'p.c');
  writeFileSync(source, `${made.start}\n${body}\n  return 0;\n}\n`);
  return recordBuilt(t, dir, ['cc', '-O1', source, `-l${made.library}`], options);
}

/** The same of sources that `compile` builds; `words` are the program's. */
export function recordBuilt(
  t: Test,
  dir: string,
  compile: string[],
  options: string[] = [],
  words: string[] = [],
) {
  const [program, trace] = [join(dir, 'p'), join(dir, 'trace')];
  const [compiler = 'cc', ...flags] = compile;
  const built = spawnSync(compiler, [...flags, '-o', program], { encoding: 'utf8' });
  t.equal(built.status, 0, built.stderr);
  const workload = [program, ...words].join(' ');
  const { status, stderr } = run(
    ...['record', '--dax', ...options, '-o', trace, '--workload', workload],
  );
  const shown = run('trace', trace, '--calls');
  const lines = shown.stdout.split('\n').map((line) => line.slice(43).trim());
  const start = lines.indexOf("prints 'start'");
  const seen = lines.slice(start + 1);
  const isOfMapping = (line: string) => /^(store|flush|drain|msync|prints|end)/.test(line);
  const before = lines[start - 1] ?? '';
  return { status, stderr, seen: seen.filter(isOfMapping), before, trace, dir };
}

export function scratchFolder(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function run(...args: string[]) {
  return spawnSync('timeout', [SECONDS_MAX, process.execPath, MAIN, ...args], { encoding: 'utf8' });
}

export const END = 'end of the workload: status 0';
export const store = (offset: number) =>
  `store to a mapping of f (offset ${offset}, 64 bytes, line ${offset / 64})`;
export function flush(offset: number, length: number): string {
  const [first, last] = [offset, offset + length - 1].map((byte) => Math.floor(byte / 64));
  const lines = first === last ? `line ${first}` : `lines ${first} to ${last}`;
  return `flush of f (offset ${offset}, ${length} ${length === 1 ? 'byte' : 'bytes'}, ${lines})`;
}
