// 2 MiB of a file, stored to between syncs again and again, or a hole: mapped by one entry where the
// kernel has a huge page, and right where it has none.
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { cannotMap, compiled, daxMount, Mapper } from './place.js';

const MIB = 1 << 20;
const ROUNDS_MAX = 40;

/** Why no huge page can be had here, for the options of a test; false when one can. */
const noHugePages = cannotMap !== false ? cannotMap : collapses();

function collapses(): string | false {
  const how = { input: 'collapse\n', encoding: 'utf8' } as const;
  const answer = spawnSync(compiled('mapper'), ['/'], how).stdout.trim();
  return answer === '0' ? false : `MADV_COLLAPSE of shared memory: ${answer}`;
}

/** Two times 2 MiB, mapped as `M` by a process whose answer to `before` is 0. */
async function mappedHuge(t: Test, before: string): Promise<{ mapper: Mapper; plain: Mapper }> {
  const { dir } = await daxMount(t, { commitSeconds: 3600 });
  const [mapper, plain] = [Mapper.direct(t, dir), Mapper.plain(t, dir)];
  await mapper.check(t, [
    [before, '0'],
    ['open A f rw+creat', '0'],
    [`fallocate A 0 0 ${4 * MIB}`, '0'],
    [`map M A 0 ${4 * MIB} shared`, '0'],
  ]);
  await plain.call('open A f rw');
  return { mapper, plain };
}

/** Stores to every page, syncs, and compares what another process reads. */
async function round(mapper: Mapper, plain: Mapper, letter: string): Promise<boolean> {
  await mapper.call(`fill M 0 ${letter} ${4 * MIB}`);
  await mapper.call(`msync M 0 ${4 * MIB}`);
  const places = [0, 2 * MIB - 4096, 2 * MIB, 4 * MIB - 4096];
  const seen = await Promise.all(places.map((at) => plain.call(`read A 4096 ${at}`)));
  return seen.every((text) => text === `<${letter}*4096>`);
}

const often = 'what is stored to and synced again and again is mapped by 2 MiB';
t.test(often, { skip: noHugePages }, async (t) => {
  const { mapper, plain } = await mappedHuge(t, 'huge M');
  let hugeKib = '0';
  for (let index = 0; index < ROUNDS_MAX && hugeKib === '0'; index++) {
    t.ok(await round(mapper, plain, 'abcd'[index % 4]!), 'all see all of it');
    await mapper.call(`fill M 0 x ${4 * MIB}`);
    hugeKib = await mapper.call('huge M');
  }
  t.not(hugeKib, '0');
  // What is stored afterwards is noted as ever.
  for (const letter of 'efgh') t.ok(await round(mapper, plain, letter), letter);
});

const never = 'a process that gets no huge pages stores and syncs as before';
t.test(never, { skip: cannotMap }, async (t) => {
  const { mapper, plain } = await mappedHuge(t, 'nohuge');
  for (let index = 0; index < 12; index++) {
    t.ok(await round(mapper, plain, 'abcd'[index % 4]!), 'all see all of it');
  }
  t.equal(await mapper.call('huge M'), '0');
});

for (const before of ['huge M', 'nohuge']) {
  const name = `a hole of 2 MiB reads as zeroes until it is stored to, after ${before}`;
  t.test(name, { skip: cannotMap }, async (t) => {
    const { dir } = await daxMount(t, { commitSeconds: 3600 });
    const [mapper, plain] = [Mapper.direct(t, dir), Mapper.plain(t, dir)];
    const [first, inside, last] = [2 * MIB, 3 * MIB, 4 * MIB - 4096];
    await mapper.check(t, [
      [before, '0'],
      ['open A f rw+creat', '0'],
      [`truncate A ${4 * MIB}`, '0'],
      [`map M A 0 ${4 * MIB} shared`, '0'],
      [`load M ${inside} 4096`, '<.*4096>'],
      [`load M ${first} 4096`, '<.*4096>'],
      [`load M ${last} 4096`, '<.*4096>'],
      [`store M ${inside} stored`, '0'],
      [`load M ${inside - 4} 12`, '<.*4>stored..'],
      [`load M ${last} 4096`, '<.*4096>'],
    ]);
    await plain.check(t, [
      ['open A f rw', '0'],
      [`read A 12 ${inside - 4}`, '<.*4>stored..'],
      [`write A written ${last}`, '7'],
      ['write A begin 0', '5'],
    ]);
    await mapper.check(t, [
      [`load M ${last} 8`, 'written.'],
      ['load M 0 6', 'begin.'],
      [`load M ${inside + 4096} 4096`, '<.*4096>'],
      [`load M ${first - 4096} 4096`, '<.*4096>'],
    ]);
  });
}
