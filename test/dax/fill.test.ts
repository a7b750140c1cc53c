// A file that a program fills in order by stores: its pages are allocated ahead, in ever fewer faults.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMap, daxMount, Mapper } from './place.js';

const PAGE = 4096;
const PAGES = 100;
const BLOCKS_PER_PAGE = 8;

interface Filled {
  mapper: Mapper;
  plain: Mapper;
  faults: number;
  pages: number;
}

/** A hole of 1 MiB of whose pages the first hundred were stored to, in order. */
async function filled(t: Test, options: { crashable?: boolean }): Promise<Filled> {
  const { dir, mount } = await daxMount(t, { ...options, commitSeconds: 3600 });
  const [mapper, plain] = [Mapper.direct(t, dir), Mapper.plain(t, dir)];
  await mapper.check(t, [
    ['open A f rw+creat', '0'],
    [`truncate A ${256 * PAGE}`, '0'],
    [`map M A 0 ${256 * PAGE} shared`, '0'],
  ]);
  await plain.call('open A f rw');
  const faults = async () => (await mount.info()).daemon.dax?.faults ?? 0;
  const before = await faults();
  for (let page = 0; page < PAGES; page++) await mapper.call(`store M ${page * PAGE} ${page}x`);
  const { blocks } = statSync(join(dir, 'f'));
  return { mapper, plain, faults: (await faults()) - before, pages: blocks / BLOCKS_PER_PAGE };
}

t.test(
  'stores in order fault for every doubling, up to 32 pages',
  { skip: cannotMap },
  async (t) => {
    const { mapper, plain, faults, pages } = await filled(t, {});
    // 0, 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64-95, 96-127.
    t.equal(faults, 9);
    t.equal(pages, 128);
    await mapper.check(t, [[`msync M 0 ${256 * PAGE}`, '0']]);
    for (const page of [0, 1, 2, 3, 63, 64, PAGES - 1]) {
      t.equal(await plain.call(`read A 4 ${page * PAGE}`), `${page}x....`.slice(0, 4));
    }
    for (const page of [PAGES, 127, 128, 255]) {
      t.equal(await plain.call(`read A ${PAGE} ${page * PAGE}`), `<.*${PAGE}>`);
    }
  },
);

t.test('where stores are compared each allocates its own page', { skip: cannotMap }, async (t) => {
  const { faults, pages } = await filled(t, { crashable: true });
  t.equal(faults, PAGES);
  t.equal(pages, PAGES);
});
