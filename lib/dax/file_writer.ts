/**
 * Puts bytes into the pages of files: over pages that are written, and elsewhere into pages that it
 * fills before anybody sees them. Offsets are bytes. Called by file_data.ts, which has closed the
 * file's gate, has zeroed what the file grows over, and tells of the change.
 *
 * Order wherever a write makes pages visible: take pages → fill them wholly, flushed → map them as
 * written in the running transaction. The fence comes before the commit, by whoever commits. A crash
 * in between leaves pages without owner, which are free again; it never shows what they held before.
 */
import { Errno } from '../errno.js';
import type { Inode } from '../metadata/inode.js';
import type { Metadata } from '../metadata/metadata.js';
import type { Region } from '../region.js';
import type { Allocator } from '../space/allocator.js';
import { type Extent, WRITTEN } from '../space/extent_list.js';
import { type Piece, pieceAt, regionOffset } from '../space/pieces.js';
import { PAGE_BYTES, pageOf, pagesFor } from '../units.js';
import type { BugSwitches } from './bugs.js';
import { PageFiller } from './page_filler.js';
import type { PageSource } from './page_source.js';

export interface FileWriterParts {
  region: Region;
  metadata: Metadata;
  allocator: Allocator;
  pages: PageSource;
  bugs: Readonly<BugSwitches>;
  /** Fences and commits, for a bug switch. */
  commit(): void;
}

export class FileWriter {
  private readonly filler: PageFiller;

  constructor(private readonly parts: FileWriterParts) {
    const { region, metadata, bugs } = parts;
    this.filler = new PageFiller(region, bugs.commitBeforeData);
    if (bugs.commitBeforeData) metadata.afterCommit.push(() => this.filler.flushLate());
  }

  /**
   * Overwrites, and allocates or converts on the way; the file grows as far as it was written.
   * @returns bytes written, some at least: fewer than given when an error came after them
   * @throws {Errno} ENOSPC, EIO: nothing was written
   */
  write(inode: Inode, offset: number, bytes: Uint8Array): number {
    const list = this.parts.metadata.extents(inode);
    const endPage = pagesFor(offset + bytes.length);
    let done = 0;
    while (done < bytes.length) {
      const at = offset + done;
      const piece = pieceAt(list, pageOf(at), endPage);
      try {
        const end = this.writePiece(inode, piece, at, bytes.subarray(done));
        done = end - offset;
      } catch (error) {
        if (done > 0 && error instanceof Errno) break;
        throw error;
      }
    }
    return done;
  }

  /** Writes what of `bytes` falls into one piece. @returns the offset after it */
  private writePiece(inode: Inode, piece: Piece, offset: number, bytes: Uint8Array): number {
    const { region, metadata, allocator, pages } = this.parts;
    const { extent, filePage } = piece;
    if (extent?.state === WRITTEN) {
      const pieceEnd = (filePage + piece.pageCount) * PAGE_BYTES;
      const part = bytes.subarray(0, Math.min(bytes.length, pieceEnd - offset));
      region.storeFlushed(regionOffset(extent, offset), part);
      this.growTo(inode, offset + part.length);
      return offset + part.length;
    }
    if (extent !== undefined) {
      return this.writeNew(inode, { ...extent, state: WRITTEN }, offset, bytes);
    }
    const run = pages.take(inode, piece);
    const { page: regionPage, pageCount } = run;
    try {
      return this.writeNew(
        inode,
        { filePage, regionPage, pageCount, state: WRITTEN },
        offset,
        bytes,
      );
    } catch (error) {
      const mapped = metadata.extents(inode).find(filePage);
      if (mapped === undefined) allocator.cancel(run);
      throw error;
    }
  }

  /** Fills pages that nobody may see yet, then shows them. @returns the offset after the bytes */
  private writeNew(inode: Inode, extent: Extent, offset: number, bytes: Uint8Array): number {
    const { metadata, bugs, commit } = this.parts;
    const extentEnd = (extent.filePage + extent.pageCount) * PAGE_BYTES;
    const part = bytes.subarray(0, Math.min(bytes.length, extentEnd - offset));
    const end = offset + part.length;
    const show = () => {
      metadata.map(inode, extent);
      this.growTo(inode, end);
    };
    if (bugs.convertBeforeZero) {
      show();
      commit();
      this.filler.fill(extent, offset, part);
    } else {
      this.filler.fill(extent, offset, part);
      show();
    }
    return end;
  }

  private growTo(inode: Inode, sizeBytes: number): void {
    if (sizeBytes > inode.sizeBytes) this.parts.metadata.updateInode(inode, { sizeBytes });
  }
}
