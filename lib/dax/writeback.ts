/**
 * Writeback: what mappings stored to a file reaches the persistence domain. For each dirty entry, as
 * a whole: write-protect it in every mapping that shows a part of it → flush → fence → clean.
 *
 * Protect comes before flush: a store after it faults and makes the entry dirty for the next time; a
 * store before it is in the flush. Stores that were caught are taken before anything is protected,
 * see Mmu.catchStores(). An entry that a fault holds is flushed and stays dirty: its page may become
 * storable right after we protected. Nothing here waits for a process.
 */
import { WRITTEN } from '../space/extent_list.js';
import { PAGE_BYTES } from '../units.js';
import type { DaxFile } from './dax_file.js';
import type { EngineParts } from './engine.js';
import type { EntryRange } from './entries.js';
import type { PageRange } from './mmu.js';
import type { Task, Waitable } from './task.js';

/** Flushed and fenced afterwards: all stores made before. Not committed: that is the caller's. */
export function* writeBack(parts: EngineParts, file: DaxFile, range: PageRange): Task<void> {
  yield* file.writebackTurn.enter('exclusive');
  try {
    file.takeDirtied();
    const endPage = range.filePage + range.pageCount;
    const isLocked = (page: number) => !file.locks.isIdle && file.locks.isHeld(page);
    const dirty = file.entries.tagDirty(range.filePage, endPage, isLocked);
    if (dirty.length === 0) return;
    yield { point: 'dax/writeback writeBack: protect', saw: dirty };
    const protections = dirty.flatMap((entries) => protect(parts, file, entries));
    for (const protection of protections) if (!protection.isReady) yield protection;
    yield { point: 'dax/writeback writeBack: flush' };
    for (const entries of dirty) flush(parts, file, entries);
    yield { point: 'dax/writeback writeBack: fence' };
    parts.region.fence();
    file.entries.clean(dirty);
  } finally {
    file.writebackTurn.leave('exclusive');
  }
}

/** In every mapping that shows any page of the entries, wherever in them it begins. */
function protect(parts: EngineParts, file: DaxFile, entries: EntryRange): Waitable[] {
  const protections: Waitable[] = [];
  for (const view of file.views.values()) {
    if (!view.mapping.isShared) continue;
    const isMissed = parts.bugs.mkcleanOneMapping && entries.isHuge;
    if (isMissed && view.partAt(entries.filePage) === undefined) continue;
    for (const run of view.runs(entries, ['region'])) {
      protections.push(parts.mmu.protect(view.mapping, run));
    }
  }
  return protections;
}

/** The lines of the pages as the file has them now; pages it gave up need none. */
export function flush(parts: EngineParts, file: DaxFile, range: PageRange): void {
  const inode = parts.metadata.inode(file.ino);
  if (inode === undefined) return;
  const list = parts.metadata.extents(inode);
  for (const extent of list.slice(range.filePage, range.filePage + range.pageCount)) {
    if (extent.state !== WRITTEN) continue;
    parts.region.flush(extent.regionPage * PAGE_BYTES, extent.pageCount * PAGE_BYTES);
  }
}
