/**
 * `fauxdax record --dax` of libpmem programs, end to end: which lines were stored, flushed and fenced,
 * by which file and offset, in the order of the program; and what is refused.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { loadNative } from '../../lib/native.js';
import { tmpdir } from 'node:os';

const MAIN = resolve('dist/tools/fauxdax.js');

function missing(): string | false {
  if (process.geteuid?.() !== 0 || !existsSync('/dev/fuse')) return 'needs root and /dev/fuse';
  if (!existsSync('/usr/include/libpmem.h')) return 'needs libpmem-dev';
  try {
    return loadNative().probeUserfault() !== 0 && 'this kernel has no direct mappings';
  } catch (error) {
    return `userfaultfd: ${(error as Error).message}`;
  }
}

const START = `#include <libpmem.h>
#include <stdio.h>
#include <string.h>
int main(void) {
  size_t bytes; int is_pmem;
  char* at = pmem_map_file("f", 8192, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
  if (at == NULL || !is_pmem) return 9;
  at[0] = '.'; at[4096] = '.'; pmem_persist(at, 8192); puts("start");`;

/** Builds and records a program; the calls and lines after it printed `start`, in words. */
function record(t: Test, body: string, options: string[] = []) {
  const dir = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const [source, program, trace] = ['p.c', 'p', 'trace'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(source, `${START}\n${body}\n  return 0;\n}\n`);
  const built = spawnSync('cc', ['-O1', source, '-o', program, '-lpmem'], { encoding: 'utf8' });
  t.equal(built.status, 0, built.stderr);
  const args = [MAIN, 'record', '--dax', ...options, '-o', trace, '--workload', program];
  const { status, stderr } = spawnSync('timeout', ['60', process.execPath, ...args], {
    encoding: 'utf8',
  });
  const shown = spawnSync(process.execPath, [MAIN, 'trace', trace, '--calls'], {
    encoding: 'utf8',
  });
  const lines = shown.stdout.split('\n').map((line) => line.slice(43).trim());
  const seen = lines.slice(lines.indexOf("prints 'start'") + 1);
  const isOfMapping = (line: string) => /^(store|flush|drain|prints|end)/.test(line);
  return { status, stderr, seen: seen.filter(isOfMapping) };
}

const END = 'end of the workload: status 0';
const store = (offset: number) =>
  `store to a mapping of f (offset ${offset}, 64 bytes, line ${offset / 64})`;
const flush = (offset: number, length: number) =>
  `flush of f (offset ${offset}, ${length} bytes, line ${Math.floor(offset / 64)})`;

t.test('recordings of mappings', { skip: missing() }, async (t) => {
  t.test('stores, flushes, drains and prints come in the order of the program', async (t) => {
    const body = `at[64] = 'a'; pmem_flush(at + 64, 8); at[4160] = 'b'; pmem_drain();
      puts("one"); at[128] = 'c'; puts("two"); pmem_memcpy(at + 192, "xy", 2, PMEM_F_MEM_NODRAIN);`;
    const { status, stderr, seen } = record(t, body);
    t.equal(status, 0, stderr);
    t.same(seen, [
      ...[store(64), flush(64, 8), store(4160), 'drain()', "prints 'one'"],
      ...[store(128), "prints 'two'", store(192), flush(192, 2), END],
    ]);
  });

  t.test('what was never flushed is in the trace before the end of the workload', async (t) => {
    t.same(record(t, "at[640] = 'a';").seen, [store(640), END]);
  });

  t.test('a program that flushes by itself is refused, or its flushes are ignored', async (t) => {
    const body = `at[64] = 'a'; __asm__ volatile("clflush (%0)" :: "r"(at + 64) : "memory");`;
    const refused = record(t, body);
    t.equal(refused.status, 2);
    t.match(refused.stderr, /flushes by itself \(clflush at/);
    const { status, stderr, seen } = record(t, body, ['--own-flushes', 'ignore']);
    t.equal(status, 0, stderr);
    t.same(seen, [store(64), END]);
  });
});
