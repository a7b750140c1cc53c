/**
 * A state for a person: maps of files, page tables, TLBs, entries, and the bytes behind them, as named
 * strips of cells. Whoever draws them (tools/report) knows nothing of the lab. Pages count 4 KiB.
 */
import { UNWRITTEN, WRITTEN } from '../space/extent_list.js';
import { type Content, valueText } from './content.js';
import type { Shown } from './tlb.js';
import { endOf, type Entry, span } from './page_table.js';
import type { LabFile, World } from './world.js';

export interface Cell {
  readonly text: string;
  /** What it is, for its colour: zeroes or nothing; the region; storable or dirty; neither; held. */
  readonly kind: 'zero' | 'region' | 'store' | 'plain' | 'held';
}

export interface Strip {
  readonly name: string;
  readonly cells: readonly Cell[];
}

export type Picture = readonly Strip[];

/** Strips have the same names in the same order as long as nobody forks or unmaps. */
export function pictureOf(world: World): Picture {
  const files = [...world.files.values()];
  return [
    ...files.map((file) => ({ name: `file ${file.name}`, cells: mapCells(world, file) })),
    ...tableStrips(world),
    ...tlbStrips(world),
    ...files.flatMap((file) => entryStrip(world, file)),
    { name: 'bytes', cells: byteCells(world) },
  ];
}

function mapCells(world: World, { ino, model }: LabFile): Cell[] {
  const cells: Cell[] = [];
  let page = 0;
  const holeTo = (end: number) => {
    if (end <= page) return;
    const pages = span({ filePage: page, pageCount: end - page });
    cells.push({ text: `${pages}: hole`, kind: 'zero' });
  };
  for (const extent of world.metadata.extents(world.metadata.existingInode(ino))) {
    holeTo(extent.filePage);
    const what = extent.state === UNWRITTEN ? ', unwritten' : '';
    const text = `${span(extent)} → region ${regionSpan(extent.regionPage, extent.pageCount)}${what}`;
    cells.push({ text, kind: extent.state === WRITTEN ? 'region' : 'zero' });
    page = endOf(extent);
  }
  holeTo(model.pages);
  return cells;
}

function tableStrips(world: World): Strip[] {
  return world.mmu.all().flatMap((process) =>
    [...process.tables].map(([mapping, table]) => {
      const cells = [...table.all().map(entryCell), ...table.ownPages().map(ownCell)];
      return { name: `page table of ${process.name}, ${world.nameOf(mapping)}`, cells };
    }),
  );
}

function entryCell(entry: Entry): Cell {
  const { target, pageCount, isStorable, isHuge } = entry;
  const where = `${isHuge ? 'PMD' : 'PTE'} ${span(entry)}`;
  if (target === 'bus') return { text: `${where}: SIGBUS`, kind: 'plain' };
  if (target === 'zero') return { text: `${where} → zeroes`, kind: 'zero' };
  const region = `${where} → region ${regionSpan(target, pageCount)}`;
  if (isStorable) return { text: `${region}, storable`, kind: 'store' };
  return { text: region, kind: 'region' };
}

function ownCell({ page, content }: { page: number; content: Content }): Cell {
  return { text: `PTE ${page} → own page: ${contentText(content)}`, kind: 'store' };
}

function tlbStrips(world: World): Strip[] {
  return world.mmu.all().flatMap((process) =>
    [...process.tlbs].map(([cpu, tlb]) => {
      const cells = tlb.all().map(({ mapping, filePage, target, isStorable }): Cell => {
        const text = `${world.nameOf(mapping)}[${filePage}] → ${shownText(target)}`;
        if (isStorable) return { text: `${text}, storable`, kind: 'store' };
        return { text, kind: target === 'zero' ? 'zero' : 'region' };
      });
      return { name: `TLB of CPU ${cpu}`, cells };
    }),
  );
}

/** What the engine has of a file that is mapped. */
function entryStrip(world: World, { name, ino }: LabFile): Strip[] {
  const inspection = world.engine.inspect(ino);
  if (inspection === undefined) return [];
  const cells = world.engine.entries(ino).map((entry): Cell => {
    const { isHuge, isDirty, kind } = entry;
    const text = `${isHuge ? 'PMD' : 'PTE'} ${span(entry)}: ${kind === 'zero' ? 'zeroes' : 'region'}${isDirty ? ', dirty' : ''}`;
    return { text, kind: isDirty ? 'store' : kind === 'zero' ? 'zero' : 'region' };
  });
  const { gate, locks } = inspection;
  for (const lock of locks) {
    if (lock.isHeld) cells.push({ text: `${span(lock)} locked by a fault`, kind: 'held' });
  }
  if (gate.isExclusive) cells.push({ text: 'gate closed', kind: 'held' });
  if (gate.sharedCount > 0)
    cells.push({ text: `faults inside: ${gate.sharedCount}`, kind: 'plain' });
  return [{ name: `entries of ${name}`, cells }];
}

function byteCells(world: World): Cell[] {
  return world.region.changedPages().map(({ page, pageCount, newest, older }) => {
    const text = `region ${regionSpan(page, pageCount)}: ${contentText(newest)}`;
    if (older.length === 0) return { text, kind: 'plain' };
    const lost = [...new Set(older.map(contentText))].join(' or ');
    return { text: `${text}; not durable, a cut may leave ${lost}`, kind: 'store' };
  });
}

/** Words that differ from the others are named by their index; the first one often alone is stored to. */
function contentText({ fill, words }: Content): string {
  const stored = [...words].map(([word, value]) =>
    word === 0 ? valueText(value) : `word ${word} is ${valueText(value)}`,
  );
  if (stored.length === 0) return `all ${valueText(fill)}`;
  return words.has(0) ? stored.join(', ') : `${valueText(fill)}, ${stored.join(', ')}`;
}

function shownText(target: Shown): string {
  if (target === 'zero') return 'zeroes';
  return typeof target === 'object' ? 'own page' : `region ${target}`;
}

function regionSpan(regionPage: number, pageCount: number): string {
  return span({ filePage: regionPage, pageCount });
}
