// A process whose threads wait for the mount while they hold its address space (the kernel's
// mmap_lock), which the daemon needs to write-protect its memory: nobody waits for ever.
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMap, daxMount, Mapper } from './place.js';

const PAGE = 4096;

t.test(
  'a mapping of the page cache is written back in munmap while another file is synced',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t);
    for (const name of ['cached', 'direct']) writeFileSync(join(dir, name), Buffer.alloc(PAGE));
    // What is open before a run begins stays in the page cache.
    const kept = openSync(join(dir, 'cached'), 'r');
    t.teardown(() => closeSync(kept));
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A cached rw', '0'],
      ['open B direct rw', '0'],
      ['map M A 0 4096 shared', '0'],
      ['map N B 0 4096 shared', '0'],
      ['store M 0 cached', '0'],
      ['store N 0 direct', '0'],
      ['close A', '0'],
    ]);
    t.match((await mount.info()).daemon.dax, { mappings: 1 });
    const { id } = await mount.fault.add({
      op: 'write',
      path: 'cached',
      action: { do: 'delay', delayMs: 500 },
    });
    t.equal(await mapper.call('cover M'), '0');
    while ((await mount.fault.list()).find((rule) => rule.id === id)?.fired === 0);
    t.equal(await mapper.call('fsync B'), '0', 'its memory is protected when the write is done');
    t.equal(readFileSync(join(dir, 'cached'), 'latin1').slice(0, 6), 'cached');
    t.equal(await mapper.call('store N 0 again'), '0');
    t.equal(await mapper.end(), 0);
  },
);
