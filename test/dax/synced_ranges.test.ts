/**
 * Syncs of a part of a file under `fauxdax test --dax`: what msync of a range and a write through
 * O_DSYNC make durable of what mappings stored, and that they promise nothing else.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { missing, run, scratchFolder } from './recorded.js';

/** Two files of 16 KiB, the first mapped; all of it zero and durable. */
const START = `#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  int f = open("f", O_RDWR), dsync = open("f", O_RDWR | O_DSYNC), g = open("g", O_RDWR);
  volatile char* at = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);`;

const SETUP = 'head -c 16384 /dev/zero >f; head -c 16384 /dev/zero >g';
const MODELS = ['dax', 'sector', 'posix'];

/** Byte `at` of a file in a check. */
const byte = (file: string, at: number) =>
  `$(tail -c +${at + 1} ${file} | head -c 1 | tr -d '\\0')`;
const PRINTED = 'grep -q done "$FAUXDAX_ACKED"';

/** What `fauxdax test` says of a program, under each of the models. */
function explored(t: Test, body: string, check: string, models = MODELS) {
  const dir = scratchFolder(t);
  const [source, program] = [join(dir, 'p.c'), join(dir, 'p')];
  writeFileSync(source, `${START}\n${body}\n  puts("done");\n  return 0;\n}\n`);
  const built = spawnSync('cc', ['-O1', source, '-o', program], { encoding: 'utf8' });
  t.equal(built.status, 0, built.stderr);
  return models.map((model) => {
    const what = ['--setup', SETUP, '--workload', program, '--check', check, '--model', model];
    const { status, stdout, stderr } = run('test', '--dax', ...what, '--keep', join(dir, 'kept'));
    t.ok(status === 0 || status === 1, `${model}: status ${status} ${stderr}`);
    return { model, status, text: stdout.replace(/\s+/g, ' ') };
  });
}

/** The models under which a crash breaks the check. */
function brokenUnder(t: Test, body: string, check: string, models = MODELS): string[] {
  const broken = explored(t, body, check, models).filter(({ status }) => status === 1);
  return broken.map(({ model }) => model);
}

t.test('syncs of a part', { skip: missing() }, async (t) => {
  t.test('msync of a range makes no other page durable', async (t) => {
    const body = `at[0] = 'a'; at[4096] = 'b'; msync((void*)at, 4096, MS_SYNC);`;
    const holds = (at: number, what: string) => `! ${PRINTED} || test "${byte('f', at)}" = ${what}`;
    t.same(brokenUnder(t, body, holds(0, 'a')), []);
    t.same(brokenUnder(t, body, holds(4096, 'b')), MODELS);
  });

  t.test('msync over mappings of several files makes each of its pages durable', async (t) => {
    const body = `
      mmap((char*)at + 4096, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g, 8192);
      at[0] = 'a'; at[4096] = 'b'; at[8192] = 'c'; at[12288] = 'd';
      msync((void*)at, 12288, MS_SYNC);`;
    const all = `test "${byte('f', 0)}${byte('g', 8192)}${byte('f', 8192)}" = abc`;
    t.same(brokenUnder(t, body, `! ${PRINTED} || ${all}`), []);
    t.same(brokenUnder(t, body, `! ${PRINTED} || test "${byte('f', 12288)}" = d`), MODELS);
  });

  t.test('msync by way of syscall() is one', async (t) => {
    const body = `at[0] = 'a'; if (syscall(SYS_msync, at, 4096L, MS_SYNC) != 0) return 1;`;
    t.same(brokenUnder(t, body, `! ${PRINTED} || test "${byte('f', 0)}" = a`, ['dax']), []);
  });

  t.test('a write through O_DSYNC makes durable what mappings stored to its pages', async (t) => {
    const body = `at[0] = 'a'; at[4096] = 'b'; pwrite(dsync, "c", 1, 1024);`;
    const all = `test "${byte('f', 0)}${byte('f', 1024)}" = ac`;
    t.same(brokenUnder(t, body, `! ${PRINTED} || ${all}`), []);
    t.same(brokenUnder(t, body, `! ${PRINTED} || test "${byte('f', 4096)}" = b`), MODELS);
  });

  t.test('until it is done, what it writes may be there without what was stored', async (t) => {
    const body = `at[0] = 'a'; pwrite(dsync, "c", 1, 1024);`;
    const inOrder = `test "${byte('f', 1024)}" != c || test "${byte('f', 0)}" = a`;
    t.same(brokenUnder(t, body, inOrder), MODELS);
  });

  t.test('of a store that a later sync was to flush, that sync is named', async (t) => {
    const inOrder = `test "${byte('f', 4096)}" != b || test "${byte('f', 0)}" = a`;
    for (const [sync, name] of [
      ['msync((void*)at, 8192, MS_SYNC)', 'msync\\(f, offset 0, 8192 bytes\\)'],
      ['fsync(f)', 'fsync\\(f\\)'],
    ] as const) {
      const [found] = explored(t, `at[0] = 'a'; at[4096] = 'b'; ${sync};`, inOrder, ['dax']);
      t.match(found?.text, new RegExp(`had not been flushed when .*: \`${name}\` comes later`));
    }
  });

  t.test('fallocate through O_DSYNC makes nothing durable that mappings stored', async (t) => {
    const body = `at[0] = 'a'; fallocate(dsync, 0, 32768, 4096);`;
    t.same(brokenUnder(t, body, `! ${PRINTED} || test "${byte('f', 0)}" = a`), MODELS);
  });
});
