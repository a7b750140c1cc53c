/**
 * A change of a file's map under its mappings: truncate, punch, zero, collapse, insert, and writes into
 * holes and unwritten extents. Gate exclusive → nobody shows the pages any more → their entries are dropped → the change →
 * gate open. While it is closed no fault can show a page that the change is about to free, and who
 * faulted before has finished, so that no entry is locked.
 *
 * Dirt of pages that the file keeps is kept: pages that stay where they are stay dirty, those that
 * move to other offsets are flushed (the fence is that of the next commit or writeback).
 */
import { type Extent, type ExtentList, WRITTEN } from '../space/extent_list.js';
import { PAGE_BYTES, pagesFor } from '../units.js';
import type { DaxFile } from './dax_file.js';
import type { EngineParts } from './engine.js';
import type { PageRange } from './mmu.js';
import type { Task } from './task.js';
import { SHOWN } from './view.js';

export function* changeMap<T>(
  parts: EngineParts,
  file: DaxFile,
  options: { range: PageRange; dropOwn: boolean; apply: () => T },
): Task<T> {
  const { range, dropOwn, apply } = options;
  const takesGate = !parts.bugs.punchWithoutGate;
  if (takesGate) yield* file.gate.enter('exclusive');
  try {
    parts.mmu.catchStores(file.ino, range, false, false);
    yield* file.zap(range, dropOwn ? ['zero', 'region', 'bus', 'own'] : SHOWN, dropOwn);
    file.takeDirtied();
    yield { point: 'dax/change changeMap: change the map' };
    const endBefore = endPageOf(parts, file);
    const dirty = dirtyExtents(parts, file, range);
    file.entries.remove(range.filePage, range.filePage + range.pageCount);
    try {
      return apply();
    } finally {
      keepDirt(parts, file, dirty);
      const end = endPageOf(parts, file);
      if (end > endBefore) yield* showGrowth(file, endBefore);
      else if (end < endBefore && !dropOwn) yield* dropOwnFrom(file, end);
    }
  } finally {
    if (takesGate) file.gate.leave('exclusive');
  }
}

/** Pages from `fromPage` on that showed SIGBUS are looked at again. */
function* showGrowth(file: DaxFile, fromPage: number): Task<void> {
  yield* file.zap({ filePage: fromPage, pageCount: Infinity }, ['bus'], false);
}

/** A shift ended as a truncation does: beyond the new end private copies are SIGBUS, too. */
function* dropOwnFrom(file: DaxFile, endPage: number): Task<void> {
  yield* file.zap({ filePage: endPage, pageCount: Infinity }, ['own'], true);
}

function endPageOf(parts: EngineParts, file: DaxFile): number {
  return pagesFor(parts.metadata.inode(file.ino)?.sizeBytes ?? 0);
}

/** The written pages of dirty entries inside the range. */
function dirtyExtents(parts: EngineParts, file: DaxFile, range: PageRange): Extent[] {
  const inode = parts.metadata.inode(file.ino);
  if (inode === undefined) return [];
  const list = parts.metadata.extents(inode);
  const rangeEnd = range.filePage + range.pageCount;
  return file.entries.dirty(range.filePage, rangeEnd).flatMap(({ filePage, pageCount }) => {
    const first = Math.max(filePage, range.filePage);
    return list.slice(first, Math.min(filePage + pageCount, rangeEnd)).filter(isWritten);
  });
}

function keepDirt(parts: EngineParts, file: DaxFile, dirty: readonly Extent[]): void {
  const inode = parts.metadata.inode(file.ino);
  if (dirty.length === 0 || inode === undefined) return;
  const list = parts.metadata.extents(inode);
  const moved: Extent[] = [];
  for (const extent of dirty) {
    const { filePage, pageCount } = extent;
    let keptPages = 0;
    for (const now of list.slice(filePage, filePage + pageCount).filter(isWritten)) {
      if (now.regionPage - now.filePage !== extent.regionPage - extent.filePage) continue;
      file.entries.insert({ ...now, isHuge: false }, 'page');
      for (let page = now.filePage; page < now.filePage + now.pageCount; page++) {
        file.entries.markDirty(page);
      }
      keptPages += now.pageCount;
    }
    if (keptPages < pageCount) moved.push(extent);
  }
  flushMoved(parts, list, moved);
}

/** Flushes what of the region pages the file still has, at whatever offset. */
function flushMoved(parts: EngineParts, list: ExtentList, moved: Extent[]): void {
  if (moved.length === 0) return;
  moved.sort((a, b) => a.regionPage - b.regionPage);
  const owned = [...list].filter(isWritten).sort((a, b) => a.regionPage - b.regionPage);
  let index = 0;
  for (const { regionPage, pageCount } of moved) {
    const end = regionPage + pageCount;
    while (
      index < owned.length &&
      owned[index]!.regionPage + owned[index]!.pageCount <= regionPage
    ) {
      index++;
    }
    for (let at = index; at < owned.length && owned[at]!.regionPage < end; at++) {
      const first = Math.max(regionPage, owned[at]!.regionPage);
      const last = Math.min(end, owned[at]!.regionPage + owned[at]!.pageCount);
      parts.region.flush(first * PAGE_BYTES, (last - first) * PAGE_BYTES);
    }
  }
}

function isWritten(extent: Extent): boolean {
  return extent.state === WRITTEN;
}
