/**
 * The extent algebra against the plainest model: an array that names a region page and a state for
 * each file page.
 */
import assert from 'node:assert/strict';
import t from 'tap';
import { Random } from '../../lib/random.js';
import {
  type Extent,
  ExtentList,
  type ExtentState,
  UNWRITTEN,
  WRITTEN,
} from '../../lib/space/extent_list.js';

const FILE_PAGES = 64;
type Cell = { regionPage: number; state: ExtentState } | undefined;

function cells(list: ExtentList, pageCount: number): Cell[] {
  const result: Cell[] = Array(pageCount).fill(undefined);
  for (const extent of list) {
    for (let index = 0; index < extent.pageCount; index++) {
      const { state } = extent;
      result[extent.filePage + index] = { regionPage: extent.regionPage + index, state };
    }
  }
  return result;
}

/** Extents as few and as long as the cells allow. */
function joined(model: Cell[]): Extent[] {
  const extents: { -readonly [Key in keyof Extent]: Extent[Key] }[] = [];
  model.forEach((cell, filePage) => {
    if (cell === undefined) return;
    const last = extents.at(-1);
    const continues =
      last !== undefined &&
      last.filePage + last.pageCount === filePage &&
      last.regionPage + last.pageCount === cell.regionPage &&
      last.state === cell.state;
    if (continues) last.pageCount++;
    else extents.push({ filePage, pageCount: 1, ...cell });
  });
  return extents;
}

t.test('random changes leave what an array of pages holds, in as few extents', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now());
  t.comment(`SEED=${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 60; round++) {
    const list = new ExtentList();
    let model: Cell[] = Array(FILE_PAGES).fill(undefined);
    const saved = new Map<number, string>();
    for (let step = 0; step < 150; step++) {
      const filePage = random.below(FILE_PAGES - 8);
      const pageCount = 1 + random.below(8);
      const endPage = filePage + pageCount;
      switch (random.below(4)) {
        case 0:
        case 1: {
          const state = random.oneIn(2) ? WRITTEN : UNWRITTEN;
          const regionPage = random.oneIn(2) ? filePage + 100 : 1 + random.below(1000);
          list.remove(filePage, endPage);
          list.insert({ filePage, regionPage, pageCount, state });
          for (let index = 0; index < pageCount; index++) {
            model[filePage + index] = { regionPage: regionPage + index, state };
          }
          break;
        }
        case 2: {
          const removed = list.remove(filePage, endPage);
          const cut = model.map((cell, page) =>
            page >= filePage && page < endPage ? cell : undefined,
          );
          assert.deepEqual(cells(new ExtentList(removed), FILE_PAGES), cut);
          model.fill(undefined, filePage, endPage);
          break;
        }
        default:
          if (random.oneIn(2)) {
            list.remove(filePage, endPage);
            list.shift(endPage, -pageCount);
            model = [...model.slice(0, filePage), ...model.slice(endPage)];
            model.push(...Array(pageCount).fill(undefined));
          } else if (list.endPage + pageCount <= FILE_PAGES) {
            list.shift(filePage, pageCount);
            const hole: Cell[] = Array(pageCount).fill(undefined);
            model = [...model.slice(0, filePage), ...hole, ...model.slice(filePage)];
            model.length = FILE_PAGES;
          }
      }
      assert.deepEqual([...list], joined(model), `round ${round} step ${step}`);
      assert.deepEqual(list.slice(filePage, filePage), []);
      const at = random.below(FILE_PAGES);
      const found = list.find(at);
      assert.deepEqual(found && found.regionPage + (at - found.filePage), model[at]?.regionPage);
      assert.deepEqual(list.slice(filePage, endPage), joined(inRange(model, filePage, endPage)));
      assert.equal(list.pageCount, model.filter((cell) => cell !== undefined).length);
      if (random.oneIn(10)) {
        for (const page of list.changedPages()) {
          const extent = list.startingAt(page);
          if (extent === undefined) saved.delete(page);
          else saved.set(page, JSON.stringify(extent));
        }
        list.markSaved();
        const rows = [...list].map((extent) => [extent.filePage, JSON.stringify(extent)] as const);
        assert.deepEqual(saved, new Map(rows), 'saving changed pages only saves all');
      }
    }
  }
  t.pass('all agree');
});

function inRange(model: Cell[], filePage: number, endPage: number): Cell[] {
  return model.map((cell, page) => (page >= filePage && page < endPage ? cell : undefined));
}

t.test('mapping a mapped page is refused', async (t) => {
  const list = new ExtentList([{ filePage: 4, regionPage: 9, pageCount: 4, state: WRITTEN }]);
  for (const filePage of [1, 4, 7]) {
    t.throws(() => list.insert({ filePage, regionPage: 50, pageCount: 4, state: WRITTEN }));
  }
});

t.test('moving extents onto mapped pages is refused', async (t) => {
  const list = new ExtentList([{ filePage: 4, regionPage: 9, pageCount: 4, state: WRITTEN }]);
  t.throws(() => list.shift(6, -1));
});

t.test('saved extents that overlap are refused', async (t) => {
  const first = { filePage: 0, regionPage: 9, pageCount: 4, state: WRITTEN } as const;
  t.throws(() => new ExtentList([first, { ...first, filePage: 3, regionPage: 90 }]));
});
