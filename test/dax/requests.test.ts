// Requests on files that are mapped directly: what they do to what mappings show, and those that have to
// wait, for a fault that a rule holds.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { FaultAction } from '../../fs/index.js';
import { cannotMap, daxMount, type DaxPlace, Mapper } from './place.js';

type Row = readonly [call: string, answer: string];

const COLLAPSE = 8;
const BEYOND = 2 ** 52;

const tables: [title: string, rows: Row[]][] = [
  [
    'open with O_TRUNC takes all pages away, own ones too',
    [
      ['open A trunc rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map M A 0 16384 shared', '0'],
      ['map P A 0 16384 private', '0'],
      ['fill M 0 x 16384', '0'],
      ['store P 4096 own', '0'],
      ['open B trunc rw,trunc', '0'],
      ['load M 0 1', 'SIGBUS 0'],
      ['load P 4096 1', 'SIGBUS 4096'],
      ['truncate A 16384', '0'],
      ['load M 0 4', '<.*4>'],
      ['load P 4096 4', '<.*4>'],
    ],
  ],
  [
    'copy_file_range: what its target shows follows, but for own pages',
    [
      ['open A from rw+creat', '0'],
      ['write A text 0', '4'],
      ['truncate A 8192', '0'],
      ['open B to rw+creat', '0'],
      ['truncate B 16384', '0'],
      ['map M B 0 32768 shared', '0'],
      ['map P B 0 16384 private', '0'],
      ['load M 4096 4', '<.*4>'],
      ['load P 4096 4', '<.*4>'],
      ['store P 8192 own', '0'],
      ['load M 16384 1', 'SIGBUS 16384'],
      ['copy A B 0 4096 8192', '8192'],
      ['load M 4096 5', 'text.'],
      ['load P 4096 5', 'text.'],
      ['load P 8192 3', 'own'],
      ['copy A B 0 16384 4096', '4096'],
      ['load M 16384 5', 'text.'],
    ],
  ],
  [
    'what makes no sense is refused, and everything goes on',
    [
      ['open A odd rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map M A 0 16384 shared', '0'],
      ['store M 0 kept', '0'],
      [`fallocate A ${COLLAPSE} 1 4096`, 'EINVAL'],
      [`fallocate A ${COLLAPSE} 4096 16384`, 'EINVAL'],
      [`fallocate A ${COLLAPSE} ${BEYOND} 4096`, 'EFBIG'],
      [`fallocate A 0 ${BEYOND} 4096`, 'EFBIG'],
      [`truncate A ${BEYOND + 4096}`, 'EFBIG'],
      ['load M 0 5', 'kept.'],
      ['store M 4096 more', '0'],
      ['read A 4 4096', 'more'],
    ],
  ],
];

t.test('what requests do to what is shown', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const mapper = Mapper.direct(t, dir);
  for (const [title, rows] of tables) await t.test(title, (t) => mapper.check(t, rows));
  t.equal(await mapper.end(), 0);
});

/** A process that maps the two pages of f, holes, as F; a fault of it is held at `store F 0`. */
async function holding(t: Test, place: DaxPlace): Promise<{ held: Promise<string> }> {
  const mapper = Mapper.direct(t, place.dir);
  await mapper.check(t, [
    ['open F f rw+creat', '0'],
    ['truncate F 8192', '0'],
    ['fsync F', '0'],
    ['map F F 0 8192 shared', '0'],
  ]);
  const action: FaultAction = { do: 'delay', delayMs: 600_000 };
  await place.mount.fault.add({ op: 'point', path: 'f', point: 'lock the entry', nth: 1, action });
  const held = mapper.call('store F 0 held');
  await waiting(place, 1);
  return { held };
}

async function waiting({ mount }: DaxPlace, count: number): Promise<void> {
  while ((await mount.info()).daemon.dax?.waiting !== count) await sleep(5);
}

/** A process without mappings that has f open as F. */
async function other(t: Test, { dir }: DaxPlace): Promise<Mapper> {
  const mapper = Mapper.plain(t, dir);
  await mapper.check(t, [['open F f rw', '0']]);
  return mapper;
}

t.test(
  'what waits is carried out as it was asked, whatever came meanwhile',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const { held } = await holding(t, place);
    const [late, early] = [await other(t, place), Mapper.plain(t, place.dir)];
    const write = late.call('write F late 8192');
    await waiting(place, 2);
    await early.check(t, [
      ['open G g rw+creat', '0'],
      ['write G earlier 100', '7'],
      ['truncate G 5000', '0'],
      ['read G 7 100', 'earlier'],
    ]);
    await place.mount.fault.clear();
    t.equal(await write, '4');
    t.equal(await held, '0');
    await early.check(t, [
      ['open F f rw', '0'],
      ['read F 8 8190', '..late'],
      ['read F 5 0', 'held.'],
      ['read G 9 99', '.earlier.'],
      ['seek G end 0', '5000'],
    ]);
  },
);

t.test('times are those of when it is carried out', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  const path = join(place.dir, 'f');
  const { held } = await holding(t, place);
  const [late, storer] = [await other(t, place), Mapper.direct(t, place.dir)];
  await storer.check(t, [
    ['open F f rw', '0'],
    ['map F F 0 8192 shared', '0'],
    ['store F 4096 a', '0'],
    ['msync F 4096 4096', '0'],
  ]);
  const truncate = late.call('truncate F 8000');
  await waiting(place, 2);
  t.equal(await storer.call('store F 4096 b'), '0', 'a store that only the fault server notes');
  await sleep(100);
  const before = Date.now();
  await place.mount.fault.clear();
  t.same([await truncate, await held], ['0', '0']);
  for (let look = 0; look < 2; look++) t.ok(statSync(path).mtimeMs > before - 50);
});

t.test('a power cut ends what waits with EIO', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t, { crashable: true });
  const { held } = await holding(t, place);
  const [late, shifter] = [await other(t, place), Mapper.direct(t, place.dir)];
  await shifter.check(t, [['open F f rw', '0']]);
  const write = late.call('write F late 8192');
  await waiting(place, 2);
  const shift = shifter.call(`fallocate F ${COLLAPSE} 0 4096`);
  await waiting(place, 3);
  await place.mount.crash();
  t.same([await write, await shift, await held], ['EIO', 'EIO', '0']);
  await waiting(place, 0);
  await late.check(t, [
    ['seek F end 0', '8192'],
    ['write F again 8192', '5'],
  ]);
});

t.test("a process's call that waits keeps no other of it", { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  const { held } = await holding(t, place);
  const shifter = Mapper.direct(t, place.dir);
  await shifter.check(t, [
    ['open F f rw', '0'],
    ['open G g rw+creat', '0'],
    ['truncate G 8192', '0'],
    ['shift F', '0'],
  ]);
  await waiting(place, 2);
  await shifter.check(t, [
    ['map G G 0 8192 shared', '0'],
    ['store G 4096 made', '0'],
    ['msync G 0 8192', '0'],
    ['unmap G 0 4096', '0'],
  ]);
  await waiting(place, 2);
  await place.mount.fault.clear();
  t.equal(await held, '0');
  await waiting(place, 0);
});

const FAILED: [action: FaultAction, sizeBytes: number][] = [
  [{ do: 'torn', bytes: 2 }, 8194],
  [{ do: 'crash', keep: { keep: 'all' } }, 8192],
];

t.test('a fault rule fails a write that waits', { skip: cannotMap }, async (t) => {
  for (const [action, sizeBytes] of FAILED) {
    const place = await daxMount(t, { crashable: true });
    const { held } = await holding(t, place);
    const late = await other(t, place);
    await place.mount.fault.add({ op: 'write', path: 'f', nth: 1, action });
    const write = late.call('write F late 8192');
    if (action.do === 'torn') {
      await waiting(place, 2);
      await place.mount.fault.clear();
    }
    t.same([await write, await held], ['EIO', '0'], action.do);
    // Not by lseek(2): the kernel takes no size from an answer while it is told that attributes moved.
    t.equal(statSync(join(place.dir, 'f')).size, sizeBytes, action.do);
    await late.check(t, [['write F again 8192', '5']]);
  }
});
