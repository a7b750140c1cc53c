/**
 * Which pages of its file a force makes durable the stores of: all of them, but where its call has a
 * range, as msync(2) and a write through O_DSYNC have, those of the range (vfs_fsync_range). Reads the
 * events of a trace in their order, one object for each reading.
 */
import type { CallEvent, ForceEvent, TraceEvent } from '../../trace/event.js';
import { pageOf, pagesFor } from '../../units.js';
import { type CatalogInode, extentOf } from './catalog.js';

const WITH_RANGE = new Set([
  ...['DAX_MSYNC', 'WRITE', 'FALLOCATE', 'DAX_FALLOCATE'],
  ...['COPY_FILE_RANGE', 'COPY_FILE_RANGE_64'],
]);

export class ForcedPages {
  /** Calls with a range that have not returned. */
  private readonly open = new Map<number, CallEvent>();

  take(event: TraceEvent): void {
    if (event.type === 'call' && WITH_RANGE.has(event.operation)) {
      this.open.set(event.callId, event);
    } else if (event.type === 'return') this.open.delete(event.callId);
  }

  /** Of region pages, those that `inode`, which the force names, shows and the force covers. */
  of(force: ForceEvent, inode: CatalogInode, regionPages: readonly number[]): number[] {
    const { offset = 0, lengthBytes = Infinity } = this.open.get(force.callId) ?? {};
    const [firstPage, endPage] = [pageOf(offset), pagesFor(offset + lengthBytes)];
    return regionPages.filter((regionPage) => {
      const extent = extentOf(inode, regionPage);
      if (extent === undefined) return false;
      const filePage = extent.filePage + regionPage - extent.regionPage;
      return filePage >= firstPage && filePage < endPage;
    });
  }
}
