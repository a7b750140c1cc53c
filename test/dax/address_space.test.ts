// A process whose threads wait for the mount while they hold its address space (the kernel's
// mmap_lock), which the daemon needs to write-protect its memory: nobody waits for ever. And what
// lies where a mapping was while the daemon does not know that it is gone.
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { cannotMap, type DaxPlace, daxMount, Mapper, mapperPids, stop } from './place.js';

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

/** A process that maps the one page of a file and has stored to it. */
async function stored(t: Test): Promise<DaxPlace & { mapper: Mapper }> {
  const place = await daxMount(t);
  writeFileSync(join(place.dir, 'f'), Buffer.alloc(PAGE));
  const mapper = Mapper.direct(t, place.dir);
  await mapper.check(t, [
    ['open F f rw', '0'],
    ['map M F 0 4096 shared', '0'],
    ['store M 0 stored', '0'],
  ]);
  return { ...place, mapper };
}

t.test(
  'addresses of a mapping that is unmapped stay taken until the daemon knows',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount, mapper } = await stored(t);
    const maps = () => readFileSync(`/proc/${mapperPids(dir)[0]}/maps`, 'latin1').split('\n');
    const shown = maps().filter((line) => / rw-s .*\/region$/.test(line));
    t.equal(shown.length, 1, 'the mapping shows the region');
    const [address = 0, end = 0] = (shown[0] as string)
      .split(/[- ]/)
      .map((text) => Number(`0x${text}`));
    // What lies there, be it part of something larger.
    const there = () =>
      maps().find((line) => {
        const [from = 0, to = 0] = line.split(/[- ]/, 2).map((text) => Number(`0x${text}`));
        return from <= address && end <= to;
      });

    const { pid } = (await mount.info()).daemon;
    t.teardown(() => process.kill(pid, 'SIGCONT'));
    await stop(pid);
    const unmapped = mapper.call('unmap M 0 4096');
    while (there() === shown[0]) await sleep(1);
    t.match(there(), / ---p /, 'nothing can be put there by chance');
    process.kill(pid, 'SIGCONT');
    t.equal(await unmapped, '0');
    t.equal(there(), undefined, 'then they are free');
    t.equal(await mapper.end(), 0);
  },
);

t.test(
  'what is mapped where a mapping is seen to be gone stays there',
  { skip: cannotMap },
  async (t) => {
    const { mount, mapper } = await stored(t);
    t.equal(await mapper.call('await M'), '0');
    const { pid } = (await mount.info()).daemon;
    t.teardown(() => process.kill(pid, 'SIGCONT'));
    await stop(pid);
    const unmapped = mapper.call('unmap M 0 4096');
    // The other thread sees it at once, and is not to get there first.
    await sleep(200);
    process.kill(pid, 'SIGCONT');
    t.equal(await unmapped, '0');
    await mapper.check(t, [
      ['awaited', '0'],
      ['load M 0 1', 'n'],
    ]);
    t.equal(await mapper.end(), 0);
  },
);
