// Where a file ends, for who appends to it, when that moved past the kernel's FUSE.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { FaultOp } from '../../fs/faults.js';
import { mounted } from '../fs/image.js';
import { cannotMap, daxMount, Mapper } from './place.js';

const PAGE = 4096;
const COLLAPSE = 0x8;
const INSERT = 0x20;

t.test(
  'what is appended after collapse and insert is at the end',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const path = join(dir, 'f');
    writeFileSync(path, Buffer.concat([Buffer.alloc(PAGE, 'a'), Buffer.alloc(PAGE, 'b')]));
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw', '0'],
      ['open B f rw,append', '0'],
      ['map M A 0 16384 shared', '0'],
      ['store M 0 A', '0'],
      [`fallocate A ${COLLAPSE} 0 4096`, '0'],
      ['write B collapsed 0', '9'],
      ['seek A end 0', String(PAGE + 9)],
      [`fallocate A ${INSERT} 0 8192`, '0'],
      ['write B inserted 0', '8'],
      ['seek B end 0', String(3 * PAGE + 17)],
      [`load M ${3 * PAGE - 2} 25`, 'bbcollapsedinserted<.*6>'],
    ]);
    t.equal(await mapper.end(), 0);
    const wanted = `${'\0'.repeat(2 * PAGE)}${'b'.repeat(PAGE)}collapsedinserted`;
    t.equal(readFileSync(path, 'latin1') === wanted, true, 'as another process reads it');
  },
);

t.test(
  'a new size is known also where an answer with it was under way when the kernel was told',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t);
    const path = join(dir, 'f');
    writeFileSync(path, Buffer.concat([Buffer.alloc(PAGE, 'a'), Buffer.alloc(PAGE, 'b')]));
    // What the kernel is told waits for a page of another file to be written back.
    const other = Mapper.plain(t, dir);
    await other.check(t, [
      ['open Q q rw+creat', '0'],
      [`truncate Q ${PAGE}`, '0'],
      [`map Q Q 0 ${PAGE} shared`, '0'],
      ['store Q 0 dirty', '0'],
    ]);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw', '0'],
      ['open B f rw,append', '0'],
    ]);
    const delay = (op: FaultOp, path: string, delayMs: number, nth: number) =>
      mount.fault.add({ op, path, nth, action: { do: 'delay', delayMs } });
    await delay('write', 'q', 4000, 1);
    const seek = other.call('seek Q data 0');
    while ((await mount.fault.list())[0]!.fired === 0) await sleep(5);
    await mount.fault.clear();
    // The call asks what f is, and once more when it has been answered.
    await delay('getattr', 'f', 5000, 2);
    await mapper.check(t, [
      [`fallocate A ${COLLAPSE} 0 ${PAGE}`, '0'],
      ['write B appended 0', '8'],
    ]);
    t.equal(await seek, '0');
    t.match(await mount.fault.list(), [{ matched: 2, fired: 1 }]);
    await mount.fault.clear();
    t.equal(readFileSync(path, 'latin1') === `${'b'.repeat(PAGE)}appended`, true);
  },
);

t.test('what is appended natively is seen through mappings', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  const mapper = Mapper.direct(t, dir);
  const native = async () => (await mount.info()).daemon.counters?.nativeWrites ?? 0;
  /** Writes to the beginning of each page, in order, and now and then a look at all of them. */
  const writes = async (from: number, end: number): Promise<number> => {
    const before = await native();
    for (let page = from; page < end; page++) {
      await mapper.check(t, [[`write A page-${page % 10} ${page * PAGE}`, '6']]);
      if (page % 4 !== 3) continue;
      for (let seen = page - 3; seen <= page; seen++) {
        await mapper.check(t, [[`load M ${seen * PAGE} 6`, `page-${seen % 10}`]]);
      }
    }
    return (await native()) - before;
  };
  await mapper.check(t, [
    ['open A f rw+creat', '0'],
    [`map M A 0 ${200 * PAGE} shared`, '0'],
  ]);
  await mapper.check(t, [[`truncate A ${60 * PAGE}`, '0']]);
  t.ok((await writes(0, 32)) > 8, 'into a hole');
  await mapper.check(t, [
    [`load M ${40 * PAGE} 8`, '<.*8>'],
    [`load M ${70 * PAGE} 1`, `SIGBUS ${70 * PAGE}`],
  ]);
  await writes(32, 60);
  for (let page = 0; page < 60; page++) {
    await mapper.check(t, [[`load M ${page * PAGE} 6`, `page-${page % 10}`]]);
  }
  const before = await native();
  const SHORT = 100;
  for (let at = 60 * PAGE; at < 70 * PAGE; at += SHORT) {
    await mapper.check(t, [[`write A ${'x'.repeat(SHORT)} ${at}`, String(SHORT)]]);
  }
  t.ok((await native()) - before > 300, 'beyond the end');
  await mapper.check(t, [
    [`load M ${60 * PAGE} ${10 * PAGE}`, `<x*${10 * PAGE}>`],
    [`load M ${70 * PAGE} 8`, '<x*8>'],
    [`load M ${71 * PAGE} 1`, `SIGBUS ${71 * PAGE}`],
    [`write A y ${70 * PAGE + 40}`, '1'],
    [`truncate A ${72 * PAGE}`, '0'],
    [`load M ${71 * PAGE} 8`, '<.*8>'],
  ]);
  t.equal(await mapper.end(), 0);
});

t.test(
  'a hole that is filled page by page by the queue shows what was written, whoever looks',
  { skip: cannotMap },
  async (t) => {
    const place = await daxMount(t, { commitSeconds: 3600 });
    const { dir, mount } = place;
    const path = join(dir, 'f');
    const mapper = Mapper.direct(t, dir);
    const queued = async () => (await mount.info()).daemon.dax?.queuedWrites ?? 0;
    const letter = (page: number) => String.fromCharCode(97 + (page % 26));
    const write = (page: number) =>
      mapper.check(t, [[`write A ${letter(page).repeat(PAGE)} ${page * PAGE}`, String(PAGE)]]);
    const load = (page: number, seen: string) =>
      mapper.check(t, [[`load M ${page * PAGE} ${PAGE}`, `<${seen}*${PAGE}>`]]);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      [`truncate A ${400 * PAGE}`, '0'],
      [`map M A 0 ${400 * PAGE} shared`, '0'],
    ]);
    for (let page = 0; page < 60; page++) await write(page);
    const before = await queued();
    for (let page = 60; page < 100; page++) await write(page);
    const bytes = readFileSync(path);
    t.ok(
      bytes.subarray(0, 100 * PAGE).every((byte, at) => byte === 97 + (Math.floor(at / PAGE) % 26)),
    );
    t.ok(bytes.subarray(100 * PAGE).every((byte) => byte === 0));
    t.ok((await queued()) - before > 20, 'they were in the queue');
    for (let page = 100; page < 200; page++) {
      await write(page);
      if (page % 9 === 0) await load(page, letter(page));
      if (page % 31 === 0) await load(page + 2, '.');
    }
    for (let page = 0; page < 200; page += 7) await load(page, letter(page));
    t.ok((await queued()) - before > 60, 'between looks too');
    for (let page = 200; page < 300; page++) await write(page);
    await mapper.check(t, [['fsync A', '0']]);
    await mount.kill();
    await mapper.end();
    await mounted(t, place);
    const kept = readFileSync(path);
    t.equal(kept.length, 400 * PAGE);
    t.ok(
      kept.subarray(0, 300 * PAGE).every((byte, at) => byte === 97 + (Math.floor(at / PAGE) % 26)),
    );
    t.ok(kept.subarray(300 * PAGE).every((byte) => byte === 0));
  },
);
