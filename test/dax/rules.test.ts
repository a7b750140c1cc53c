// Fault rules and the calls that shims make for their programs, which are no requests of the kernel:
// msync counts as an fsync, fallocate as what it is.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { cannotMap, type DaxPlace, daxMount, Mapper } from './place.js';

const LENGTH = 65536;

async function mapped({ dir }: DaxPlace, mapper: Mapper, name: string): Promise<Mapper> {
  for (const call of [
    `open A ${name} rw+creat`,
    `truncate A ${LENGTH}`,
    `map M A 0 ${LENGTH} shared`,
    'fill M 0 x 8192',
  ])
    if ((await mapper.call(call)) !== '0') throw new Error(`${call} in ${dir}`);
  return mapper;
}

const msync = `msync M 0 ${LENGTH}`;

t.test('msync meets rules for fsync, however often it was made', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  const { mount, dir } = place;
  const mapper = await mapped(place, Mapper.direct(t, dir), 'f');
  const other = await mapped(place, Mapper.direct(t, dir), 'g');
  const commit = async (): Promise<string> => {
    await mapper.call('store M 0 new');
    return await mapper.call(msync);
  };
  // So often that most need no JavaScript, or no daemon.
  for (let i = 0; i < 100; i++) t.equal(await commit(), '0');
  const rule = await mount.fault.add({
    op: 'fsync',
    path: 'f',
    nth: 3,
    action: { do: 'error', code: 'EIO' },
  });
  const answers = [];
  for (let i = 0; i < 5; i++) answers.push(await commit());
  t.same(answers, ['0', '0', 'EIO', '0', '0']);
  t.equal(await other.call(msync), '0');
  t.match(await mount.fault.list(), [{ id: rule.id, matched: 5, fired: 1 }], 'those of f alone');
  t.equal(await mapper.call('fsync A'), '0');
  t.match(await mount.fault.list(), [{ matched: 6, fired: 1 }], 'fsync counts as before');
  await mount.fault.clear();
  for (let i = 0; i < 50; i++) t.equal(await commit(), '0');
  t.equal(await mapper.end(), 0);
  t.equal(await other.end(), 0);
});

t.test(
  'a delayed msync is carried out, and holds up nobody else',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t);
    const { mount, dir } = place;
    const mapper = await mapped(place, Mapper.direct(t, dir), 'f');
    const other = await mapped(place, Mapper.direct(t, dir), 'g');
    const delayed = (delayMs: number) =>
      mount.fault.add({ op: 'any', path: 'f', nth: 1, action: { do: 'delay', delayMs } });
    await delayed(50);
    t.equal(await mapper.call(msync), '0');
    await delayed(600_000);
    let isAnswered = false;
    const ended = () => {
      isAnswered = true;
    };
    // Ends with the process, and with the mount.
    mapper.call(msync).then(ended, ended);
    for (let i = 0; i < 10; i++) {
      await other.call('store M 0 new');
      t.equal(await other.call(msync), '0');
    }
    t.notOk(isAnswered);
    t.equal(await other.end(), 0);
  },
);

t.test('the power is cut at an msync, which is carried out', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t, { crashable: true });
  const { mount, dir } = place;
  const mapper = await mapped(place, Mapper.direct(t, dir), 'f');
  await mapper.check(t, [
    ['fsync A', '0'],
    ['store M 0 new', '0'],
    ['store M 4096 lost', '0'],
  ]);
  const action = { do: 'crash', keep: { keep: 'none' } } as const;
  await mount.fault.add({ op: 'fsync', path: 'f', action });
  await mapper.check(t, [
    ['msync M 0 4096', 'EIO'],
    ['load M 0 3', 'new'],
    ['load M 4096 4', '<x*4>'],
  ]);
  t.equal(await mapper.end(), 0);
});

t.test(
  'an msync that waits to cut the power is cut off by another',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t, { crashable: true });
    const { mount, dir } = place;
    const mapper = await mapped(place, Mapper.direct(t, dir), 'f');
    const point = { op: 'point', path: 'f', action: { do: 'delay', delayMs: 600_000 } } as const;
    const action = { do: 'crash', keep: { keep: 'none' } } as const;
    await mount.fault.add({ op: 'fsync', path: 'f', action });
    await mount.fault.add(point);
    const waiting = mapper.call(msync);
    while (((await mount.info()).daemon.dax?.waiting ?? 0) === 0) await sleep(5);
    await mount.crash({ keep: 'none' });
    t.equal(await waiting, 'EIO');
    const cuts = readFileSync(join(place.imageDir, 'daemon.log'), 'utf8').match(/power cut/g);
    t.equal(cuts?.length, 1);
    t.equal(await mapper.end(), 0);
  },
);

t.test('a fallocate that only shims have meets its rules', { skip: cannotMap }, async (t) => {
  const place = await daxMount(t);
  const { mount, dir } = place;
  const mapper = await mapped(place, Mapper.direct(t, dir), 'f');
  const action = { do: 'error', code: 'ENOSPC' } as const;
  await mount.fault.add({ op: 'fallocate', path: 'f', nth: 1, action });
  const collapse = 'fallocate A 8 0 4096';
  await mapper.check(t, [
    ['store M 4096 second', '0'],
    [collapse, 'ENOSPC'],
    ['load M 0 3', 'xxx'],
    [collapse, '0'],
    ['load M 0 6', 'second'],
  ]);
  t.equal(await mapper.end(), 0);
});
