// What a power cut keeps of stores through direct mappings, and that programs go on after it.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { mounted } from '../fs/image.js';
import { FaultClient } from '../native/fault_peer.js';
import { cannotMap, compiled, daxMount, Mapper, program } from './place.js';
import { missing, scratchFolder } from './recorded.js';

const CRASHABLE = { crashable: true, commitSeconds: 3600 };

t.test(
  'msync keeps what was stored before it, and takes nothing with it that came after',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t, CRASHABLE);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 65536', '0'],
      ['map M A 0 65536 shared', '0'],
      ['store M 0 kept', '0'],
      ['store M 8192 kept', '0'],
      ['msync M 0 4096', '0'],
      ['msync M 8192 4096', '0'],
      ['store M 0 lost', '0'],
      ['store M 4096 lost', '0'],
      ['store M 8192 lost', '0'],
    ]);
    const report = await mount.crash({ keep: 'none' });
    t.ok(report.undecidedLines >= 2, 'the cut knows of stores that nobody told it of');
    await mapper.check(t, [
      ['load M 0 5', 'kept.'],
      ['load M 4096 5', '<.*5>'],
      ['load M 8192 5', 'kept.'],
      ['read A 5 8192', 'kept.'],
      ['store M 4096 again', '0'],
      ['read A 5 4096', 'again'],
      ['msync M 0 65536', '0'],
    ]);
    await mount.crash({ keep: 'none' });
    t.equal(await mapper.call('load M 4096 5'), 'again', 'it goes on as after a reboot');
  },
);

t.test('msync over mappings of two files keeps both', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t, CRASHABLE);
  const mapper = Mapper.direct(t, dir);
  await mapper.check(t, [
    ['open A f rw+creat', '0'],
    ['truncate A 8192', '0'],
    ['open B g rw+creat', '0'],
    ['truncate B 8192', '0'],
    ['map M A 0 8192 shared', '0'],
    ['mapover N B 0 4096 M 4096', '0'],
    ['store M 0 one', '0'],
    ['store N 0 two', '0'],
    ['msync M 0 8192', '0'],
  ]);
  await mount.crash({ keep: 'none' });
  await mapper.check(t, [
    ['load M 0 4', 'one.'],
    ['load N 0 4', 'two.'],
  ]);
});

t.test(
  'O_DSYNC: what mappings stored to the pages goes with it',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t, CRASHABLE);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 32768', '0'],
      ['map M A 0 32768 shared', '0'],
      ['fill M 0 o 32768', '0'],
      ['open C from rw+creat', '0'],
      ['write C copied 0', '6'],
      ['fsync C', '0'],
      ['fsync A', '0'],
      ['open B f rw,dsync', '0'],
      ['store M 0 kept', '0'],
      ['store M 4096 lost', '0'],
      ['write B written 64', '7'],
      ['store M 8192 kept', '0'],
      ['copy C B 0 8256 6', '6'],
    ]);
    await mount.crash({ keep: 'none' });
    await mapper.check(t, [
      ['load M 0 4', 'kept'],
      ['load M 64 7', 'written'],
      ['load M 4096 4', '<o*4>'],
      ['load M 8192 4', 'kept'],
      ['load M 8256 6', 'copied'],
    ]);
  },
);

t.test('fsync of the descriptor keeps stores of every process', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t, CRASHABLE);
  const [a, b] = [Mapper.direct(t, dir), Mapper.direct(t, dir)];
  const plain = Mapper.plain(t, dir);
  for (const mapper of [a, b]) {
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map M A 0 16384 shared', '0'],
    ]);
  }
  await a.call('store M 0 one');
  await b.call('store M 64 two');
  await b.call('store M 8192 three');
  await plain.check(t, [
    ['open A f rw', '0'],
    ['fsync A', '0'],
  ]);
  await a.call('store M 128 late');
  await mount.crash({ keep: 'none' });
  for (const mapper of [a, b]) {
    await mapper.check(t, [
      ['load M 0 4', 'one.'],
      ['load M 64 4', 'two.'],
      ['load M 128 4', '<.*4>'],
      ['load M 8192 6', 'three.'],
    ]);
  }
});

t.test(
  'a daemon that is killed lost nothing that an msync without JavaScript promised',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t, { commitSeconds: 3600 });
    const [mapper, other] = [Mapper.direct(t, place.dir), Mapper.direct(t, place.dir)];
    for (const each of [mapper, other]) {
      await each.check(t, [
        ['open A f rw+creat', '0'],
        ['truncate A 65536', '0'],
        ['map M A 0 65536 shared', '0'],
      ]);
    }
    const rungSyncs = async () => (await place.mount.info()).daemon.dax?.rungSyncs;
    const settledSyncs = async () => (await place.mount.info()).daemon.dax?.settledSyncs;
    t.equal(await mapper.call('fill M 0 a 65536'), '0');
    t.equal(await other.call('store M 8192 first'), '0');
    await mapper.check(t, [
      ['msync M 0 65536', '0'],
      ['msync M 0 65536', '0'],
    ]);
    const before = (await settledSyncs()) ?? 0;
    t.ok(before > 0, 'nothing was left to be committed');
    await other.check(t, [
      ['store M 8192 other', '0'], // through a page that is shown: nothing to be committed
      ['open B made rw+creat', '0'],
      ['write B bytes 4096', '5'],
    ]);
    t.equal(await mapper.call('msync M 0 4096'), '0');
    t.equal(await settledSyncs(), before, 'the new file is committed');
    await mapper.check(t, [
      ['store M 0 one', '0'],
      ['msync M 0 4096', '0'],
      ['msync M 0 65536', '0'],
      ['store M 4096 two', '0'],
      ['msync M 0 65536', '0'],
    ]);
    t.ok(((await settledSyncs()) ?? 0) > before, 'then it is as before');
    t.equal(await rungSyncs(), 6, 'by the threads themselves');
    await place.mount.kill();
    await mounted(t, place);
    const plain = Mapper.plain(t, place.dir);
    await plain.check(t, [
      ['open A f rw', '0'],
      ['read A 4 0', 'onea'],
      ['read A 4 4096', 'twoa'],
      ['read A 6 8192', 'othera'],
      ['open B made rw', '0'],
      ['read B 6 4096', 'bytes'],
    ]);
  },
);

t.test(
  'MAP_SYNC makes pages durable as they are first stored to, a plain mapping does not',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t, CRASHABLE);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A synced rw+creat', '0'],
      ['truncate A 8192', '0'],
      ['map M A 0 8192 sync', '0'],
      ['store M 4096 x', '0'],
      ['open B plain rw+creat', '0'],
      ['truncate B 8192', '0'],
      ['map N B 0 8192 shared', '0'],
      ['store N 4096 x', '0'],
    ]);
    await mount.crash({ keep: 'none' });
    await mapper.check(t, [
      ['seek A data 0', '4096'],
      ['load M 4096 2', '..'],
      ['read B 2 4096', 'ESTALE'],
      ['load N 0 1', 'SIGBUS 0'],
    ]);
  },
);

t.test(
  'every line of a store that was not synced is old or new',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t, CRASHABLE);
    writeFileSync(join(dir, 'f'), 'o'.repeat(8192), { flush: true });
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw', '0'],
      ['map M A 0 8192 shared', '0'],
      ['fill M 0 n 8192', '0'],
    ]);
    await mount.crash({ keep: 'seed', seed: 3 });
    for (const page of [0, 4096]) {
      const seen = new Set<string>();
      for (let offset = page; offset < page + 4096; offset += 64) {
        const line = await mapper.call(`load M ${offset} 64`);
        t.match(line, /^<[on]\*64>$/);
        seen.add(line);
      }
      t.equal(seen.size, 2, 'some lines of each page survived and some did not');
    }
  },
);

t.test(
  'after a cut no store goes through, however late its process is',
  { skip: cannotMap },
  async (t) => {
    const { dir, imageDir, mount } = await daxMount(t, CRASHABLE);
    const path = join(dir, 'f');
    writeFileSync(path, 'o'.repeat(4096), { flush: true });
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [['open A f rw', '0']]);
    const words = [compiled('../native/fault_client', '-Inative', '-U_GNU_SOURCE'), 'dax'];
    const client = new FaultClient(words, imageDir);
    t.teardown(() => client.kill());
    await client.ask('hello');
    t.equal(await client.ask(`map ${statSync(path).ino} 0 1 1`), 'map 0');
    t.equal(await client.ask('store 0 1'), 'store 0 1');
    await client.ask('silent');
    const cut = mount.crash({ keep: 'none' });
    await client.says('disobeyed');
    client.tell('store 0 2');
    await sleep(200);
    t.same(client.said, [], 'it waits');
    t.equal(await mapper.call('read A 4 0'), '<o*4>');
    await client.ask('obey');
    await cut;
    t.equal(await client.says('store'), 'store 0 2', 'and is made on what the cut left');
    t.equal(await mapper.call('read A 4 0'), '\u0002...');
  },
);

t.test('a fence keeps what its own thread flushed, nobody else', { skip: missing() }, async (t) => {
  const { dir, mount } = await daxMount(t, CRASHABLE);
  const folder = scratchFolder(t);
  const [source, flusher] = [join(folder, 'flusher.c'), join(folder, 'flusher')];
  writeFileSync(
    source,
    `#include <fcntl.h>
    #include <libpmem.h>
    #include <pthread.h>
    #include <sys/mman.h>
    #include <unistd.h>
    static char* at;
    static void* Drain(void* none) { pmem_drain(); return none; }
    static void* Persist(void* none) { at[256] = 'e'; pmem_persist(at + 256, 1); return none; }
    static void Run(void* (*what)(void*)) {
      pthread_t thread;
      pthread_create(&thread, NULL, what, NULL);
      pthread_join(thread, NULL);
    }
    int main(void) {
      int f = open("f", O_RDWR), g = open("g", O_RDWR | O_CREAT, 0600);
      at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
      at[0] = 'a'; pmem_flush(at, 1); pmem_drain();
      at[64] = 'b'; pmem_flush(at + 64, 1); Run(Drain);
      at[128] = 'c'; pmem_flush(at + 128, 1); fsync(g);
      at[192] = 'd'; pmem_flush(at + 192, 1);
      Run(Persist);
      return 0;
    }`,
  );
  execFileSync('cc', [source, '-o', flusher, '-lpmem', '-pthread']);
  const file = openSync(join(dir, 'f'), 'w');
  writeSync(file, Buffer.alloc(4096));
  fsyncSync(file);
  closeSync(file);
  execFileSync(process.execPath, [program, 'run', dir, '--', 'sh', '-c', `cd ${dir}; ${flusher}`]);
  await mount.crash({ keep: 'none' });
  const bytes = readFileSync(join(dir, 'f'));
  const lines = [0, 64, 128, 192, 256].map((at) => String.fromCharCode(bytes[at] ?? 0));
  t.same(lines, ['a', '\0', '\0', '\0', 'e']);
});
