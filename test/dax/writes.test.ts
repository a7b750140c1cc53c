// Writes that are served in the process, under `fauxdax run`: the cases are those of writer.c and
// writers.c. All of
// them with and without. What others see, and what is kept when the daemon ends, is looked at here.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { mounted } from '../fs/image.js';
import { cannotMap, type DaxPlace, daxMount } from './place.js';
import { Served } from './served.js';

/** By program. */
const CASES = {
  writer: [
    ['served', 'writes go where they are to go'],
    ['full', 'more than the queue holds'],
    ['same', 'writes between truncations, punches, reads and mappings'],
    ['errors', 'descriptors that are not for writing, buffers that are not there'],
    ['refused', 'what grows, allocates, appends, syncs or drops privileges'],
    ['limit', 'RLIMIT_FSIZE'],
    ['times', 'mtime and ctime are those of the write'],
    ['spliced', 'splice and sendfile, which read through the page cache'],
    ['cached', 'a private mapping of the page cache'],
  ],
  writers: [
    ['fork', 'children, made by fork or without its handlers'],
    ['turns', 'what one process answers another is never taken back'],
    ['killed', 'writers that are killed'],
    ['stopped', 'writers that are stopped'],
    ['handler', 'signal handlers that write'],
    ['kept', 'a write that has returned is there, while the map changes'],
    ['torture', 'never a byte of another file, or half a write'],
  ],
} as const;

for (const isServed of [true, false]) {
  const where = isServed ? 'in the process' : 'by the kernel, with --no-data';
  t.test(`writes are served ${where}`, { skip: cannotMap }, async (t) => {
    const { dir, mount } = await daxMount(t);
    for (const [program, cases] of Object.entries(CASES)) {
      const served = new Served(t, program, dir, isServed);
      for (const [name, what] of cases) t.equal(await served.run(name), 'ok', `${name}: ${what}`);
    }
    const { queuedWrites } = (await mount.info()).daemon.dax ?? { queuedWrites: -1 };
    t.equal(queuedWrites > 0, isServed, 'info counts what was queued');
  });
}

const HERE = 3 * 4096;
/** The word that writer.c writes at HERE. */
const isWritten = ({ dir }: DaxPlace): boolean =>
  readFileSync(join(dir, 'outside')).readBigUInt64LE(HERE) === 7n;

t.test('a process without the shim sees a write at once', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  t.equal(await new Served(t, 'writer', place.dir, true).run('outside'), 'ok');
  t.ok(isWritten(place));
});

t.test('what was synced outlives the daemon', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t, { commitSeconds: 3600 });
  const writer = new Served(t, 'writer', place.dir, true);
  t.equal(await writer.run('synced'), 'ok');
  await place.mount.kill();
  await mounted(t, place);
  t.ok(isWritten(place));
});

t.test('a mount that ends in order keeps what was not synced', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t, { commitSeconds: 3600 });
  const writer = new Served(t, 'writer', place.dir, true);
  t.equal(await writer.run('outside'), 'ok');
  await writer.end();
  await place.mount.unmount();
  await mounted(t, place);
  t.ok(isWritten(place));
});

t.test('a crashable mount sees every write', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t, { crashable: true });
  t.match(await new Served(t, 'writer', dir, true).run('served'), 'the kernel served 100');
});

t.test('while a rule waits for writes the daemon sees them all', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  const writer = new Served(t, 'writer', dir, true);
  t.equal(await writer.run('served'), 'ok');
  const rule = { op: 'write', path: '*', nth: 9999, action: { do: 'error', code: 'EIO' } } as const;
  await mount.fault.add(rule);
  t.match(await writer.run('served'), 'the kernel served 100');
});
