/**
 * What must hold after every step of every schedule. Each check is a sentence about files, page tables
 * and the region, none of the engine's own state: the engine cannot fool it.
 *
 * load        a load sees the last store to the word (checked in the load itself, program.ts)
 * content     what the file's map and region hold is what was stored
 * other-file  no file holds what was stored to another
 * zeroes      nobody is shown zeroes where the file holds something else
 * mapping     every page that a process can reach is the file's page now, and written
 * unaligned   a PMD shows 2 MiB that begin at a multiple of 2 MiB in the region and in memory
 * pmd-over-pte, pte-under-pmd  no PMD and PTE for the same pages, in either order
 * page-table  when a process exits its counters are zero (program.ts); where the engine counts a collision
 *             there is one
 * bus         SIGBUS only beyond the end, without space, or for a media error
 * media       no extent is converted whose zeroing failed
 * synced      after a power cut: what a sync promised is there (recovery.ts)
 * foreign     after a power cut: no file shows what belongs to another (recovery.ts)
 * progress    somebody can go on until all are done
 */
import { WRITTEN } from '../space/extent_list.js';
import { PAGES_PER_HUGE } from '../units.js';
import { WORDS_PER_PAGE, valueText } from './content.js';
import type { Process } from './process.js';
import { type Collision, endOf, span } from './page_table.js';
import type { Invariant } from './scenario.js';
import { Violation } from './violation.js';
import type { LabFile, World } from './world.js';

type Check = (world: World) => void;

const CHECKS: readonly (readonly [Invariant, Check])[] = [
  ['other-file', checkOtherFiles],
  ['content', checkContents],
  ['zeroes', checkZeroes],
  ['mapping', checkMappings],
  ['unaligned', checkAlignment],
  ['pmd-over-pte', (world) => checkCollisions(world, 'pmd-over-pte')],
  ['pte-under-pmd', (world) => checkCollisions(world, 'pte-under-pmd')],
  ['page-table', checkCounted],
  ['media', checkMedia],
];

/** The checks of a scenario, to be called after every step. @throws {Violation} */
export function checkerOf(watch: readonly Invariant[] | undefined): Check {
  const checks = CHECKS.filter(([name]) => watch === undefined || watch.includes(name));
  return (world) => {
    for (const [, check] of checks) check(world);
  };
}

function checkOtherFiles(world: World): void {
  for (const { name, model, ino } of world.files.values()) {
    const list = world.metadata.extents(world.metadata.existingInode(ino));
    for (const at of model.words.keys()) {
      const [page, word] = [Math.floor(at / WORDS_PER_PAGE), at % WORDS_PER_PAGE];
      const extent = list.find(page);
      if (extent?.state !== WRITTEN) continue;
      const regionPage = extent.regionPage + (page - extent.filePage);
      const value = world.region.word(regionPage, word);
      if (model.ownValues.has(value)) continue;
      for (const other of world.files.values()) {
        if (!other.model.ownValues.has(value)) continue;
        throw new Violation(
          'other-file',
          `page ${page} of ${name} (region page ${regionPage}) holds ${valueText(value)}, which was stored to ${other.name}; ${name} had ${valueText(model.current(page, word))} there`,
        );
      }
    }
  }
}

function checkContents(world: World): void {
  for (const file of world.files.values()) {
    const list = world.metadata.extents(world.inode(file));
    for (const at of file.model.words.keys()) {
      const [page, word] = [Math.floor(at / WORDS_PER_PAGE), at % WORDS_PER_PAGE];
      if (page >= file.model.pages) continue;
      const extent = list.find(page);
      const regionPage =
        extent?.state === WRITTEN ? extent.regionPage + (page - extent.filePage) : undefined;
      const value = regionPage === undefined ? 0 : world.region.word(regionPage, word);
      const expected = file.model.current(page, word);
      if (value === expected) continue;
      const where = regionPage === undefined ? 'no written page' : `region page ${regionPage}`;
      throw new Violation(
        'content',
        `page ${page} of ${file.name} (${where}) holds ${valueText(value)}; what was stored is ${valueText(expected)}`,
      );
    }
  }
}

function checkZeroes(world: World): void {
  eachReachable(world, (process, { mapping, shown, cpu }) => {
    if (shown.target !== 'zero') return;
    const file = world.fileOf(mapping);
    for (const at of file.model.words.keys()) {
      const [page, word] = [Math.floor(at / WORDS_PER_PAGE), at % WORDS_PER_PAGE];
      if (page < shown.filePage || page >= endOf(shown) || page >= file.model.pages) continue;
      const expected = file.model.current(page, word);
      if (expected === 0) continue;
      throw new Violation(
        'zeroes',
        `${process.name} is shown the zero page at page ${page} of ${file.name}${tlbText(cpu)}, where ${valueText(expected)} was stored`,
      );
    }
  });
}

function checkMappings(world: World): void {
  eachReachable(world, (process, { mapping, shown, cpu }) => {
    const { target } = shown;
    if (typeof target !== 'number') return;
    const file = world.fileOf(mapping);
    const list = world.metadata.extents(world.inode(file));
    let page = shown.filePage;
    for (const extent of list.slice(shown.filePage, endOf(shown))) {
      const isSame = extent.regionPage - extent.filePage === target - shown.filePage;
      if (extent.filePage !== page || !isSame || extent.state !== WRITTEN) break;
      page = endOf(extent);
    }
    if (page === endOf(shown)) return;
    const owner = ownerOf(world, target + (page - shown.filePage));
    throw new Violation(
      'mapping',
      `${process.name} can reach region page ${target + (page - shown.filePage)} at page ${page} of ${file.name}${tlbText(cpu)}; that page ${owner}`,
    );
  });
}

/** No page table can say it: the low bits of a PMD are not there. */
function checkAlignment(world: World): void {
  eachReachable(world, (process, { mapping, shown }) => {
    if (!shown.isHuge) return;
    const regionPage = typeof shown.target === 'number' ? shown.target : 0;
    const addressPage = mapping.addressPage + (shown.filePage - mapping.filePage);
    if (regionPage % PAGES_PER_HUGE === 0 && addressPage % PAGES_PER_HUGE === 0) return;
    throw new Violation(
      'unaligned',
      `a PMD of ${process.name} at address page ${addressPage} shows pages ${span(shown)} of ${world.fileOf(mapping).name} (region page ${regionPage})`,
    );
  });
}

function checkCollisions(world: World, invariant: Collision['invariant']): void {
  for (const process of world.mmu.all()) {
    for (const [mapping, table] of process.tables) {
      if (table.collision?.invariant !== invariant) continue;
      const { pageTables, residentPages } = table.exitCounters();
      throw new Violation(
        invariant,
        `in mapping ${world.nameOf(mapping)} of ${process.name} ${table.collision.text}; at exit: Bad rss-counter state, val:${residentPages}; non-zero nr_ptes: ${pageTables}`,
      );
    }
  }
}

/** What the engine says of itself is not believed, but it may not be wrong. */
function checkCounted(world: World): void {
  for (const [mapping, collision] of world.counted) {
    const isUnderWay = world.mmu.hasCommands(mapping);
    const table = world.mmu.tableOf(mapping);
    if (isUnderWay || table === undefined || table.collision !== undefined) continue;
    throw new Violation(
      'page-table',
      `the engine counted ${collision} in mapping ${world.nameOf(mapping)}, whose page table is in order`,
    );
  }
}

function checkMedia(world: World): void {
  const poisoned = world.region.poisonedPages();
  if (poisoned.length === 0) return;
  for (const file of world.files.values()) {
    for (const extent of world.metadata.extents(world.inode(file))) {
      if (extent.state !== WRITTEN) continue;
      const bad = poisoned.find(
        (page) => extent.regionPage <= page && page < extent.regionPage + extent.pageCount,
      );
      if (bad === undefined || wasWritten(world, file, bad)) continue;
      throw new Violation(
        'media',
        `region page ${bad} of ${file.name} could not be zeroed and is written all the same: it holds ${valueText(world.region.word(bad, 0))}`,
      );
    }
  }
}

function wasWritten(world: World, file: LabFile, regionPage: number): boolean {
  const extents = world.scenario.files[file.name]!.extents ?? [];
  return extents.some(
    (extent) =>
      extent.state === WRITTEN &&
      extent.regionPage <= regionPage &&
      regionPage < extent.regionPage + extent.pageCount,
  );
}

function ownerOf(world: World, regionPage: number): string {
  for (const file of world.files.values()) {
    for (const extent of world.metadata.extents(world.inode(file))) {
      const { filePage, regionPage: first, pageCount, state } = extent;
      if (regionPage < first || regionPage >= first + pageCount) continue;
      const page = filePage + (regionPage - first);
      return `is page ${page} of ${file.name}${state === WRITTEN ? '' : ', unwritten'}`;
    }
  }
  return 'is free';
}

type Reached = ReturnType<World['mmu']['reachable']> extends IterableIterator<infer R> ? R : never;

function eachReachable(world: World, visit: (process: Process, reached: Reached) => void): void {
  for (const process of world.mmu.all()) {
    for (const reached of world.mmu.reachable(process)) visit(process, reached);
  }
}

function tlbText(cpu: number | undefined): string {
  return cpu === undefined ? '' : ` through the TLB of CPU ${cpu}`;
}

/** A range of pages for a person. */
export const pagesText = span;
