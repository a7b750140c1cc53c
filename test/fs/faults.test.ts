/** Fault rules on a live mount: each fault is seen by the caller as what it names, and only then. */
import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
  fsyncSync,
  mkdirSync,
  readdirSync,
  statSync,
  existsSync,
} from 'node:fs'; // prettier-ignore
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import type { FaultAction, FaultRule, Keep } from '../../fs/index.js';
import { makePlace, mounted } from './image.js';

const error = (code: 'EIO' | 'ENOSPC' | 'EACCES'): FaultAction => ({ do: 'error', code });

t.test('an error rule fails its operation by path and by count', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const at = (name: string) => join(place.dir, name);
  mkdirSync(at('d'));
  let made = 0;
  const table: { rule: FaultRule; fails: () => void; code: string; passes: () => void }[] = [
    {
      rule: { op: 'create', path: '*.db', action: error('ENOSPC') },
      fails: () => writeFileSync(at('x.db'), ''),
      code: 'ENOSPC',
      passes: () => writeFileSync(at('x.txt'), ''),
    },
    {
      rule: { op: 'rename', path: '/d/*', action: error('EIO') },
      fails: () => {
        writeFileSync(at('d/a'), '');
        renameSync(at('d/a'), at('d/b'));
      },
      code: 'EIO',
      passes: () => {
        writeFileSync(at('x.txt'), '');
        renameSync(at('x.txt'), at('y.txt'));
      },
    },
    {
      rule: { op: 'read', path: 'y.txt', action: error('EIO') },
      fails: () => {
        writeFileSync(at('y.txt'), 'unread');
        readFileSync(at('y.txt'));
      },
      code: 'EIO',
      passes: () => {
        writeFileSync(at('z.txt'), 'z');
        t.equal(readFileSync(at('z.txt'), 'utf8'), 'z');
      },
    },
    {
      rule: { op: 'fsync', path: '**', action: error('EIO') },
      fails: () => {
        const fd = openSync(at('y.txt'), 'r+');
        try {
          fsyncSync(fd);
        } finally {
          closeSync(fd);
        }
      },
      code: 'EIO',
      passes: () => writeFileSync(at('y.txt'), 'w'),
    },
    {
      rule: { op: 'mkdir', path: 'e', action: error('EACCES') },
      fails: () => mkdirSync(at('e')),
      code: 'EACCES',
      passes: () => mkdirSync(at(`f${made++}`)),
    },
  ];
  for (const { rule, fails, code, passes } of table) {
    const { id } = await fs.fault.add(rule);
    t.throws(fails, { code }, `${rule.op} ${rule.path}`);
    passes();
    const state = (await fs.fault.list()).find((each) => each.id === id);
    t.ok((state?.fired ?? 0) >= 1, 'counted');
    t.equal(await fs.fault.clear(id), 1);
    passes();
  }
});

t.test('nth fires once, every fires again and again', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const fd = openSync(join(place.dir, 'f'), 'w+');
  const outcomes = (count: number): string => {
    let seen = '';
    for (let index = 0; index < count; index += 1) {
      try {
        writeSync(fd, 'x', 0);
        seen += '.';
      } catch {
        seen += 'E';
      }
    }
    return seen;
  };
  await fs.fault.add({ op: 'write', path: 'f', nth: 3, action: error('EIO') });
  t.equal(outcomes(6), '..E...');
  await fs.fault.clear();
  await fs.fault.add({ op: 'write', path: 'f', every: 2, action: error('EIO') });
  t.equal(outcomes(6), '.E.E.E');
  await fs.fault.clear();
  t.equal(outcomes(6), '......');
  closeSync(fd);
});

t.test(
  'short reads and writes carry out what they say; torn writes store a part and fail',
  async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place);
    const fd = openSync(join(place.dir, 'f'), 'w+');
    writeSync(fd, Buffer.alloc(1024, '-'), 0, 1024, 0);
    const content = () => readFileSync(join(place.dir, 'f'), 'latin1');
    await fs.fault.add({ op: 'write', path: 'f', action: { do: 'short', bytes: 100 } });
    // libuv goes on after a short write; python3 shows what write(2) returned.
    const program =
      'import os,sys; print(os.pwrite(os.open(sys.argv[1], os.O_RDWR), b"s" * 300, 0))';
    const run = spawnSync('python3', ['-c', program, join(place.dir, 'f')], { encoding: 'utf8' });
    t.equal(run.stdout, '100\n', run.stderr);
    await fs.fault.clear();
    t.equal(content(), 's'.repeat(100) + '-'.repeat(924));
    await fs.fault.add({ op: 'write', path: 'f', action: { do: 'torn' } });
    t.throws(() => writeSync(fd, Buffer.alloc(300, 't'), 0, 300, 0), { code: 'EIO' });
    await fs.fault.clear();
    const direct = openSync(join(place.dir, 'f'), 'r');
    t.equal(content().slice(128, 300), '-'.repeat(172), 'whole lines of the first half only');
    closeSync(direct);
    closeSync(fd);
  },
);

t.test('a poisoned page fails reads until it is overwritten whole', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const path = join(place.dir, 'f');
  writeFileSync(path, Buffer.alloc(8192, 'a'));
  await fs.fault.add({ op: 'write', path: 'f', nth: 1, action: { do: 'poison' } });
  const fd = openSync(path, 'r+');
  t.throws(() => writeSync(fd, 'part', 4096), { code: 'EIO' }, 'a partial store does not heal');
  await fs.fault.clear();
  t.equal((await fs.info()).daemon.poisonedPages, 1);
  await fs.unmount().catch(() => undefined);
  closeSync(fd);
});

t.test('a delayed operation is carried out, later, and others are not held up', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  writeFileSync(join(place.dir, 'other'), 'o');
  await fs.fault.add({ op: 'mkdir', path: 'slow', action: { do: 'delay', delayMs: 300 } });
  const before = Date.now();
  mkdirSync(join(place.dir, 'slow'));
  t.ok(Date.now() - before >= 295);
  t.same(readdirSync(place.dir).sort(), ['other', 'slow']);
  await fs.fault.add({ op: 'write', path: 'w', action: { do: 'delay', delayMs: 50 } });
  writeFileSync(join(place.dir, 'w'), 'payload is kept');
  t.equal(readFileSync(join(place.dir, 'w'), 'utf8'), 'payload is kept');
});

t.test('a rule that makes no sense is refused by name and changes nothing', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const bad: [unknown, RegExp][] = [
    [{ op: 'frobnicate', path: '*', action: error('EIO') }, /no operation 'frobnicate'/],
    [{ op: 'mkdir', path: '*', action: { do: 'torn' } }, /torn applies to write/],
    [{ op: 'write', path: '', action: error('EIO') }, /empty path/],
    [{ op: 'write', path: '*', nth: 0, action: error('EIO') }, /nth/],
    [{ op: 'write', path: '*', nth: 1, every: 2, action: error('EIO') }, /contradict/],
    [{ op: 'write', path: '*', action: { do: 'error', code: 'EWHAT' } }, /no error named/],
    [{ op: 'write', path: '*', action: { do: 'crash', keep: { keep: 'none' } } }, /crashable/],
  ];
  for (const [rule, message] of bad) await t.rejects(fs.fault.add(rule as FaultRule), { message });
  t.same(await fs.fault.list(), []);
});

t.test('a power cut that does not say what it keeps is refused, and nothing is cut', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, { crashable: true });
  writeFileSync(join(place.dir, 'f'), 'not synced');
  const bad: [unknown, RegExp][] = [
    [undefined, /keep must be/],
    [{ keep: 'some' }, /keep must be/],
    [{ keep: 'seed' }, /needs a seed/],
    [{ keep: 'seed', seed: 1.5 }, /needs a seed/],
  ];
  for (const [keep, message] of bad) {
    const rule = { op: 'write', path: '*', action: { do: 'crash', keep } } as FaultRule;
    await t.rejects(fs.fault.add(rule), { message });
    if (keep !== undefined) await t.rejects(fs.crash(keep as Keep), { message });
  }
  t.equal(readFileSync(join(place.dir, 'f'), 'utf8'), 'not synced');
});

t.test('while a rule watches data, native service rests; afterwards it goes on', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const fd = openSync(join(place.dir, 'f'), 'w+');
  const seen = Buffer.alloc(4096);
  writeSync(fd, Buffer.alloc(4096, 'a'), 0, 4096, 0);
  const native = async () => (await fs.info()).daemon.counters?.nativeWrites ?? 0;
  const write = () => writeSync(fd, Buffer.alloc(4096, 'b'), 0, 4096, 0);
  write();
  const first = await native();
  write();
  t.equal(await native(), first + 1);
  await fs.fault.add({ op: 'read', path: 'elsewhere', action: error('EIO') });
  write();
  t.equal(await native(), first + 1);
  await fs.fault.clear();
  write();
  write();
  t.ok((await native()) >= first + 2);
  readSync(fd, seen, 0, 4096, 0);
  t.equal(seen.toString('latin1'), 'b'.repeat(4096));
  closeSync(fd);
  t.ok(existsSync(place.dir) && statSync(place.dir).isDirectory());
});
