/** The allocator against sets of page numbers. */
import assert from 'node:assert/strict';
import t from 'tap';
import { Random } from '../../lib/random.js';
import { Allocator, type FreedRun, type PageRun } from '../../lib/space/allocator.js';
import { PAGES_PER_HUGE } from '../../lib/units.js';

function pagesOf(runs: Iterable<PageRun>): number[] {
  const pages: number[] = [];
  for (const { page, pageCount } of runs) {
    for (let index = 0; index < pageCount; index++) pages.push(page + index);
  }
  return pages.sort((a, b) => a - b);
}

const sorted = (pages: Iterable<number>) => [...pages].sort((a, b) => a - b);

function longestRun(free: Set<number>): number {
  let longest = 0;
  let length = 0;
  let last = -1;
  for (const page of sorted(free)) {
    length = page === last + 1 ? length + 1 : 1;
    longest = Math.max(longest, length);
    last = page;
  }
  return longest;
}

t.test('free, used and busy pages are those of a model under random requests', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now());
  t.comment(`SEED=${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 30; round++) {
    const pageCount = 40 + random.below(3000);
    const allocator = new Allocator(pageCount);
    const free = new Set(pagesOf([{ page: 1, pageCount: pageCount - 1 }]));
    const owned: PageRun[] = [];
    let busy: FreedRun[] = [];
    let saved = { free: new Set(free), owned: [...owned] };
    for (let step = 0; step < 300; step++) {
      const kind = random.below(20);
      if (kind < 10) {
        const pageCountMax = 1 + random.below(random.oneIn(5) ? 1200 : 40);
        const pageCountMin = random.oneIn(3) ? pageCountMax : 1;
        const goalPage = random.oneIn(2) ? random.below(pageCount + 50) : undefined;
        const alignHuge = random.oneIn(4);
        const run = allocator.allocate({ pageCountMin, pageCountMax, goalPage, alignHuge });
        if (run === undefined) {
          assert(pageCountMin > longestRun(free));
        } else {
          assert(run.pageCount >= pageCountMin && run.pageCount <= pageCountMax);
          for (const page of pagesOf([run])) {
            assert(free.delete(page), `page ${page} was not free`);
          }
          owned.push(run);
        }
      } else if (kind < 17 && owned.length > 0) {
        const [run] = owned.splice(random.below(owned.length), 1) as [PageRun];
        allocator.free(run, step);
        busy.push({ ...run, ownerIno: step });
      } else if (kind === 17 && owned.length > 0 && owned.at(-1) !== saved.owned.at(-1)) {
        const run = owned.pop()!;
        allocator.cancel(run);
        for (const page of pagesOf([run])) free.add(page);
      } else if (kind === 18) {
        assert.deepEqual(allocator.releaseBusy(), busy);
        for (const page of pagesOf(busy)) free.add(page);
        busy = [];
        saved = { free: new Set(free), owned: [...owned] };
      } else if (kind === 19) {
        allocator.rollback();
        free.clear();
        for (const page of saved.free) free.add(page);
        owned.splice(0, owned.length, ...saved.owned);
        busy = [];
      }
      assert.deepEqual(pagesOf(allocator.freeRuns()), sorted(free), `round ${round} step ${step}`);
      assert.equal(allocator.freePages, free.size);
      assert.equal(allocator.busyPages, pagesOf(busy).length);
      assert.equal(allocator.usedPages, pageCount - 1 - free.size - pagesOf(busy).length);
    }
  }
  t.pass('all agree');
});

t.test('rollback after reuse of freed pages gives them back to their owner', async (t) => {
  const allocator = new Allocator(1000, { reuseBeforeCommit: true });
  const old = allocator.allocate({ pageCountMin: 100, pageCountMax: 100 })!;
  allocator.releaseBusy();
  const before = pagesOf(allocator.freeRuns());
  allocator.free(old, 5);
  const again = allocator.allocate({ pageCountMin: 100, pageCountMax: 100, goalPage: old.page });
  t.same(again, old, 'the bug hands out what is not free yet');
  allocator.free(again!, 6);
  allocator.allocate({ pageCountMin: 10, pageCountMax: 10, goalPage: old.page });
  allocator.rollback();
  t.same(pagesOf(allocator.freeRuns()), before);
});

t.test('freed pages are handed out only after the commit', async (t) => {
  const allocator = new Allocator(101);
  const all = allocator.allocate({ pageCountMin: 100, pageCountMax: 100 })!;
  allocator.free(all, 7);
  t.equal(allocator.allocate({ pageCountMin: 1, pageCountMax: 1 }), undefined);
  t.same(allocator.releaseBusy(), [{ ...all, ownerIno: 7 }]);
  t.same(allocator.allocate({ pageCountMin: 100, pageCountMax: 100 }), all);
});

t.test('large requests start at a 2 MiB boundary and small ones leave whole chunks', async (t) => {
  const allocator = new Allocator(64 * PAGES_PER_HUGE);
  for (let count = 0; count < 50; count++) {
    const small = allocator.allocate({ pageCountMin: 1, pageCountMax: 7 })!;
    t.ok(small.page < PAGES_PER_HUGE, 'small runs share the chunk of the superblock');
  }
  const large = allocator.allocate({ pageCountMin: 1, pageCountMax: 4 * PAGES_PER_HUGE })!;
  t.equal(large.page % PAGES_PER_HUGE, 0);
  t.equal(large.pageCount, 4 * PAGES_PER_HUGE);
});

t.test('a request continues at its goal when that is free', async (t) => {
  const allocator = new Allocator(64 * PAGES_PER_HUGE);
  for (const pageCountMax of [1, 32, 511]) {
    const goalPage = 5000;
    const run = allocator.allocate({ pageCountMin: 1, pageCountMax, goalPage })!;
    t.same(run, { page: goalPage, pageCount: pageCountMax });
    allocator.cancel(run);
  }
});

t.test('a terabyte region that is full but for one page still gives it out', async (t) => {
  const pageCount = 2 ** 28;
  const allocator = new Allocator(pageCount);
  t.ok(allocator.markUsed({ page: 1, pageCount: pageCount - 1 }));
  t.notOk(allocator.markUsed({ page: 77, pageCount: 1 }), 'a used page is not used twice');
  allocator.markCommitted();
  const last = { page: 200_000_001, pageCount: 1 };
  allocator.free(last, 3);
  allocator.releaseBusy();
  t.same(allocator.allocate({ pageCountMin: 1, pageCountMax: 600 }), last);
  t.equal(allocator.freePages, 0);
});

t.test('freeing what is not used is refused', async (t) => {
  const allocator = new Allocator(100);
  t.throws(() => allocator.free({ page: 5, pageCount: 2 }, 1));
  t.throws(() => allocator.free({ page: 0, pageCount: 1 }, 1), 'the superblock');
});
