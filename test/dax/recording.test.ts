/**
 * `fauxdax record --dax` of libpmem programs, end to end: which lines were stored, flushed and fenced,
 * by which file and offset, in the order of the program; and what is refused.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { END, flush, missing, PMEM, record, run, store } from './recorded.js';

/** The same by libpmem2, with its functions. */
const PMEM2 = {
  library: 'pmem2',
  start: `#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  int fd = open("f", O_RDWR | O_CREAT, 0600);
  struct pmem2_source* source; struct pmem2_config* config; struct pmem2_map* map;
  if (ftruncate(fd, 8192) != 0 || pmem2_source_from_fd(&source, fd) != 0) return 9;
  if (pmem2_config_new(&config) != 0) return 9;
  pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_CACHE_LINE);
  if (pmem2_map_new(&map, config, source) != 0) return 9;
  char* at = pmem2_map_get_address(map);
  pmem2_persist_fn persist = pmem2_get_persist_fn(map);
  pmem2_flush_fn flush = pmem2_get_flush_fn(map);
  pmem2_drain_fn drain = pmem2_get_drain_fn(map);
  pmem2_memcpy_fn copy = pmem2_get_memcpy_fn(map);
  pmem2_memset_fn set = pmem2_get_memset_fn(map);
  at[0] = '.'; at[4096] = '.'; persist(at, 8192); puts("start");`,
};

/** Loads libpmem by itself, and finds its functions by dlsym. */
const DLOPENED = {
  library: 'dl',
  start: `#include <dlfcn.h>
#include <stdio.h>
int main(void) {
  void* pmem = dlopen("libpmem.so.1", RTLD_NOW);
  void* (*map)() = (void* (*)())dlsym(pmem, "pmem_map_file");
  void (*flush)() = (void (*)())dlsym(pmem, "pmem_flush");
  void (*drain)() = (void (*)())dlsym(pmem, "pmem_drain");
  size_t bytes; int is_pmem;
  char* at = map("f", 8192UL, 1, 0600, &bytes, &is_pmem);
  if (at == NULL) return 9;
  puts("start");`,
};

/** A pool of libpmemobj with a root of eight lines. */
const PMEMOBJ = {
  library: 'pmemobj',
  start: `#include <libpmemobj.h>
#include <stdio.h>
struct root { char line[8][64]; };
int main(void) {
  PMEMobjpool* pool = pmemobj_create("f", "lines", PMEMOBJ_MIN_POOL, 0600);
  if (pool == NULL) return 9;
  PMEMoid oid = pmemobj_root(pool, sizeof(struct root));
  struct root* root = pmemobj_direct(oid);
  printf("%zu\\n", (size_t)oid.off); puts("start");`,
};

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

  t.test('so is one that finds the functions of libpmem past the shim', async (t) => {
    const body = `at[64] = 'a'; flush(at + 64, 8UL); drain();`;
    const refused = record(t, body, [], DLOPENED);
    t.equal(refused.status, 2);
    t.match(refused.stderr, /libpmem\.so\.1 is loaded by dlopen.*--own-flushes=ignore/);
    const { status, stderr, seen } = record(t, body, ['--own-flushes', 'ignore'], DLOPENED);
    t.equal(status, 0, stderr);
    t.same(seen, [store(64), END]);
  });

  t.test('of a library that is linked, dlsym may find functions past the shim', async (t) => {
    const body = `void (*flush)() = (void (*)())dlsym(dlopen("libpmem.so.1", RTLD_NOW), "pmem_flush");
      at[64] = 'a'; flush(at + 64, 8UL); pmem_drain();`;
    const made = { ...PMEM, start: `#include <dlfcn.h>\n${PMEM.start}` };
    const { status, stderr, seen } = record(t, body, [], made);
    t.equal(status, 0, stderr);
    t.same(seen, [store(64), 'drain()', END], 'what they flush counts as never flushed');
  });

  t.test('each way of libpmem2 is seen', async (t) => {
    const body = `at[64] = 'a'; flush(at + 64, 8); drain(); at[128] = 'b'; persist(at + 128, 1);
      copy(at + 192, "xy", 2, 0); copy(at + 256, "xy", 2, PMEM2_F_MEM_NODRAIN); drain();
      set(at + 320, 1, 64, PMEM2_F_MEM_NOFLUSH); pmem2_deep_flush(map, at + 320, 64);`;
    const { status, stderr, seen, trace } = record(t, body, [], PMEM2);
    t.equal(status, 0, stderr);
    t.notMatch(run('lint', trace).stdout, /redundant/);
    t.same(seen, [
      ...[store(64), flush(64, 8), 'drain()', store(128), flush(128, 1), 'drain()'],
      ...[store(192), flush(192, 2), 'drain()', store(256), flush(256, 2), 'drain()'],
      ...[store(320), 'msync(f, offset 0, 4096 bytes)', END],
    ]);
  });

  t.test('what was stored before a copy to its line is a value of that line', async (t) => {
    const body = `at[64] = 'a'; pmem_memcpy_persist(at + 65, "xy", 2);
      at[128] = 'b'; pmem_memset(at + 129, 1, 2, PMEM_F_MEM_NODRAIN); pmem_drain();`;
    t.same(record(t, body).seen, [
      ...[store(64), store(64), flush(65, 2), 'drain()'],
      ...[store(128), store(128), flush(129, 2), 'drain()', END],
    ]);
    const body2 = `at[64] = 'a'; copy(at + 65, "xy", 2, 0); at[128] = 'b'; set(at + 129, 1, 2, 0);`;
    t.same(record(t, body2, [], PMEM2).seen, [
      ...[store(64), store(64), flush(65, 2), 'drain()'],
      ...[store(128), store(128), flush(129, 2), 'drain()', END],
    ]);
  });

  t.test('each way to copy and persist flushes once, and then drains once', async (t) => {
    const body = `pmem_memcpy_persist(at + 64, "xy", 2); pmem_memmove_persist(at + 128, "xy", 2);
      pmem_memset_persist(at + 192, 1, 2); pmem_memcpy(at + 256, "xy", 2, 0);
      pmem_memset_nodrain(at + 320, 1, 2); pmem_drain(); at[384] = 'a'; puts("stored");
      pmem_deep_persist(at + 384, 1);`;
    const { seen, trace } = record(t, body);
    const copied = (at: number) => [store(at), flush(at, 2), 'drain()'];
    t.same(seen, [
      ...[64, 128, 192, 256, 320].flatMap(copied),
      ...[store(384), "prints 'stored'", flush(384, 1)],
      ...['msync(f, offset 0, 4096 bytes)', 'drain()', END],
    ]);
    t.notMatch(run('lint', trace).stdout, /redundant/);
  });

  t.test('a mapping of libpmem2 flushes what was stored through another', async (t) => {
    const body = `struct pmem2_map* other;
      if (pmem2_map_new(&other, config, source) != 0) return 9;
      char* there = pmem2_map_get_address(other);
      at[64] = 'a'; persist(there + 64, 1); at[4160] = 'b'; flush(there + 4095, 66); drain();`;
    t.same(record(t, body, [], PMEM2).seen, [
      ...[store(64), flush(64, 1), 'drain()', store(4160), flush(4095, 66), 'drain()', END],
    ]);
  });

  t.test('what libpmemobj persists is flushed and drained', async (t) => {
    const body = `root->line[1][0] = 'a'; pmemobj_persist(pool, root->line[1], 8); puts("done");`;
    const { status, stderr, seen, before } = record(t, body, [], PMEMOBJ);
    t.equal(status, 0, stderr);
    const at = 64 + Number(/'(\d+)'/.exec(before)?.[1]);
    t.same(seen.slice(0, 4), [
      store(Math.floor(at / 64) * 64),
      flush(at, 8),
      'drain()',
      "prints 'done'",
    ]);
  });

  t.test('a transaction of libpmemobj makes durable what it added, and nothing else', async (t) => {
    const body = `TX_BEGIN(pool) {
        pmemobj_tx_add_range_direct(root->line[1], 8);
        root->line[1][0] = 'a'; root->line[4][0] = 'b';
      } TX_END puts("done");`;
    const { status, stderr, seen, before, trace } = record(t, body, [], PMEMOBJ);
    t.equal(status, 0, stderr);
    const done = seen.slice(0, seen.indexOf("prints 'done'"));
    const root = Number(/'(\d+)'/.exec(before)?.[1]);
    const lineOf = (index: number) => store(Math.floor((root + 64 * index) / 64) * 64);
    const added = done.indexOf(flush(root + 64, 8));
    t.ok(done.indexOf(lineOf(1)) < added, 'the store to what was added comes before its flush');
    t.equal(done[added + 1], 'drain()');
    const log = done.findIndex((line) => line.startsWith('flush'));
    t.ok(log < done.indexOf(lineOf(1)), 'the log was flushed before');
    t.ok(done.includes(lineOf(4)), 'what was not added was stored');
    t.notOk(done.includes(flush(root + 256, 8)), 'and not flushed');
    const lints = JSON.parse(run('lint', '--json', trace).stdout) as {
      lint: string;
      text: string;
    }[];
    const early = lints.filter((one) => one.lint === 'acknowledged-before-durable');
    t.ok(early.some((one) => one.text.startsWith(`'done' was printed before ${lineOf(4)}`)));
    t.notOk(early.some((one) => one.text.includes(lineOf(1))));
  });

  t.test('a flush of pages that nobody has touched is none', async (t) => {
    const body = `pmem_unmap(at, 8192);
      at = pmem_map_file("g", 8192, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
      pmem_flush(at, 8192); pmem_drain(); at[4096] = 'a'; pmem_flush(at, 8192); pmem_drain();`;
    const { status, stderr, seen } = record(t, body);
    t.equal(status, 0, stderr);
    const ofG = (text: string) => text.replace(' f (', ' g (');
    t.same(seen, ['drain()', ofG(store(4096)), ofG(flush(4096, 4096)), 'drain()', END]);
  });

  t.test('lints of a mapping: what the program made durable is clean', async (t) => {
    const persisted = record(t, `at[64] = 'a'; pmem_persist(at + 64, 1); puts("one");`);
    t.match(run('lint', persisted.trace).stdout, /: clean/);
    const late = record(t, `at[64] = 'a'; puts("one"); pmem_persist(at + 64, 1);`);
    const { status, stdout } = run('lint', late.trace);
    t.equal(status, 1);
    t.match(stdout, /^error +'one' was printed before store to a mapping of f \(offset 64/);
    const idle = record(t, `pmem_flush(at + 64, 1); pmem_drain(); pmem_drain(); puts("one");`);
    t.match(run('lint', idle.trace).stdout, /redundant-flush.*redundant-drain.*: clean, 2 notes/s);
  });

  t.test('eadr says nothing about a trace of mappings', async (t) => {
    const { trace, dir } = record(t, `at[64] = 'a'; puts("one");`);
    const check = `test ! -s "$FAUXDAX_ACKED" || ! grep -q one "$FAUXDAX_ACKED" || grep -q a f`;
    const refused = run('explore', trace, '--check', check, '--model', 'eadr');
    t.equal(refused.status, 2);
    t.match(refused.stderr, /--dax contradicts --model eadr: stores of a mapping are found by/);
    const [json, keep] = [join(dir, 'result.json'), join(dir, 'kept')];
    const found = run('explore', trace, '--check', check, '--json', json, '--keep', keep);
    t.equal(found.status, 1, found.stderr);
    const { failures } = JSON.parse(readFileSync(json, 'utf8'));
    t.ok(failures[0].models.includes('dax'));
    t.notOk(failures[0].models.includes('eadr'));
  });
});
