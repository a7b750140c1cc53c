/**
 * The bytes of files: over the region, through the map that the metadata keeps. Offsets and lengths
 * are bytes. Synchronous, on the JavaScript thread; native service of the same file on another
 * thread is kept out by the gate while its map or size changes. What a write does to pages, and in
 * which order, is in file_writer.ts.
 *
 * Bytes past the end of a file in its last page may be anything (a mapping can store there). They
 * are zeroed when the file grows over them.
 */
import assert from 'node:assert/strict';
import { Errno } from '../errno.js';
import type { Inode } from '../metadata/inode.js';
import type { Metadata } from '../metadata/metadata.js';
import type { Region } from '../region.js';
import type { Allocator } from '../space/allocator.js';
import { type Extent, UNWRITTEN, WRITTEN } from '../space/extent_list.js';
import { holePages, isWritten, pieceAt, regionOffset } from '../space/pieces.js';
import { FILE_BYTES_MAX, PAGE_BYTES, pageOf, pagesFor } from '../units.js';
import { type BugSwitches, NO_BUGS } from './bugs.js';
import { FileWriter } from './file_writer.js';
import type { PageRange } from './mmu.js';
import { PageSource } from './page_source.js';

const COPY_BYTES = 1024 * 1024;

/**
 * Told of every change of a file's map or size, while its gate is closed; asked for those that it
 * makes by itself.
 */
export interface MapPort {
  /** Waits for native operations on the file to leave, then keeps new ones out. Not nested. */
  closeGate(ino: number): void;
  openGate(ino: number): void;
  /** Pages [filePage, endPage) may be mapped otherwise now. */
  mapChanged(inode: Inode, filePage: number, endPage: number): void;
  sizeChanged(inode: Inode): void;
  /** The metadata has what files have grown natively, and they grow no more. Not inside an operation. */
  collectGrowth(): void;
}

export interface FileDataParts {
  region: Region;
  metadata: Metadata;
  allocator: Allocator;
  bugs?: Readonly<BugSwitches>;
  mapPort?: MapPort;
  commit?: () => void;
}

export class FileData {
  mapPort: MapPort | undefined;
  /**
   * Fences and commits; called before a change that needs pages which only a commit makes free.
   * Whoever fills freed pages or syncs the host at commits replaces it.
   */
  commit: () => void;

  private readonly region: Region;
  private readonly metadata: Metadata;
  private readonly pages: PageSource;
  private readonly writer: FileWriter;

  constructor(parts: FileDataParts) {
    const { region, metadata, allocator, bugs = NO_BUGS } = parts;
    this.region = region;
    this.metadata = metadata;
    this.mapPort = parts.mapPort;
    this.commit = parts.commit ?? (() => this.fenceAndCommit());
    const commit = (): void => this.commit();
    this.pages = new PageSource(metadata, allocator, commit);
    this.writer = new FileWriter({ region, metadata, allocator, pages: this.pages, bugs, commit });
  }

  /**
   * Reads into `target`; holes and unwritten extents are zeroes.
   * @returns bytes read: fewer than asked for at the end of the file or before a poisoned page
   * @throws {Errno} EIO when the first page is poisoned
   */
  read(inode: Inode, offset: number, target: Uint8Array): number {
    const length = Math.min(target.length, inode.sizeBytes - offset);
    if (length <= 0) return 0;
    const list = this.metadata.extents(inode);
    const endPage = pagesFor(offset + length);
    let done = 0;
    while (done < length) {
      const at = offset + done;
      const piece = pieceAt(list, pageOf(at), endPage);
      const pieceEnd = (piece.filePage + piece.pageCount) * PAGE_BYTES;
      const part = target.subarray(done, Math.min(length, pieceEnd - offset));
      if (piece.extent?.state === WRITTEN) {
        try {
          this.region.read(regionOffset(piece.extent, at), part);
        } catch (error) {
          if (!(error instanceof Errno)) throw error;
          return this.readUpToPoison(piece.extent, at, part, done, error);
        }
      } else {
        part.fill(0);
      }
      done += part.length;
    }
    return done;
  }

  /**
   * Writes, and grows the file when it ends beyond; leaves times and mode alone. Flushed, not
   * fenced: a commit or fence makes it durable.
   *
   * @returns bytes written: fewer than given when space ran out or a poisoned page came after them
   * @throws {Errno} ENOSPC, EIO when nothing was written; EFBIG at the largest offset
   */
  write(inode: Inode, offset: number, source: Uint8Array): number {
    assert(Number.isSafeInteger(offset) && offset >= 0);
    if (source.length === 0) return 0;
    if (offset >= FILE_BYTES_MAX) throw new Errno('EFBIG', `write at ${offset}`);
    const room = FILE_BYTES_MAX - offset;
    const bytes = source.length > room ? source.subarray(0, room) : source;
    const end = offset + bytes.length;
    const list = this.metadata.extents(inode);
    if (end <= inode.sizeBytes && isWritten(list, pageOf(offset), pagesFor(end))) {
      // Nothing moves, but a read beside it sees all of it or nothing.
      return this.changing(inode, () => this.writer.write(inode, offset, bytes));
    }
    return this.changing(inode, () => {
      const firstPage = pageOf(offset);
      const endPage = pagesFor(end);
      this.pages.reserve(holePages(list, firstPage, endPage));
      this.zeroPastEnd(inode, offset);
      const sizeBefore = inode.sizeBytes;
      try {
        return this.writer.write(inode, offset, bytes);
      } finally {
        this.mapPort?.mapChanged(inode, firstPage, endPage);
        if (inode.sizeBytes !== sizeBefore) this.mapPort?.sizeChanged(inode);
      }
    });
  }

  /**
   * Cuts or grows the file. What is cut off is freed and the rest of the last page zeroed (flushed,
   * so that a mapping never sees it again); what is grown is a hole.
   * @throws {Errno} EFBIG; EIO when the last page is poisoned, nothing is changed then
   */
  setSize(inode: Inode, sizeBytes: number): void {
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0);
    if (sizeBytes > FILE_BYTES_MAX) throw new Errno('EFBIG', `size ${sizeBytes}`);
    if (sizeBytes === inode.sizeBytes) return;
    this.changing(inode, () => {
      if (sizeBytes < inode.sizeBytes) {
        const firstPage = pagesFor(sizeBytes);
        this.zeroWritten(inode, sizeBytes, firstPage * PAGE_BYTES);
        this.unmap(inode, firstPage, Infinity);
        this.metadata.updateInode(inode, { sizeBytes });
        this.mapPort?.sizeChanged(inode);
      } else {
        this.grow(inode, sizeBytes);
      }
    });
  }

  /**
   * Backs every page of the range, holes as unwritten extents, as fallocate(2) does.
   * @throws {Errno} ENOSPC, EFBIG: nothing is changed; EIO
   */
  allocate(inode: Inode, offset: number, length: number, options: { keepSize: boolean }): void {
    checkRange(offset, length);
    this.changing(inode, () => {
      this.fillHoles(inode, pageOf(offset), pagesFor(offset + length));
      if (!options.keepSize) this.grow(inode, offset + length);
    });
  }

  /**
   * Makes the range read as zeroes and backs it, as FALLOC_FL_ZERO_RANGE: whole pages become
   * unwritten, parts of pages are zeroed in place.
   * @throws {Errno} ENOSPC, EFBIG: nothing is changed; EIO
   */
  zeroRange(inode: Inode, offset: number, length: number, options: { keepSize: boolean }): void {
    checkRange(offset, length);
    const end = offset + length;
    this.changing(inode, () => {
      this.fillHoles(inode, pageOf(offset), pagesFor(end));
      const whole = this.zeroEdges(inode, offset, end);
      const list = this.metadata.extents(inode);
      for (const extent of list.slice(whole.filePage, whole.endPage)) {
        if (extent.state === WRITTEN) this.metadata.map(inode, { ...extent, state: UNWRITTEN });
      }
      this.mapPort?.mapChanged(inode, pageOf(offset), pagesFor(end));
      if (!options.keepSize) this.grow(inode, end);
    });
  }

  /**
   * Makes the range a hole: whole pages are freed, parts of pages zeroed in place. The size stays.
   * @throws {Errno} EIO when a page that is kept is poisoned, EFBIG
   */
  punch(inode: Inode, offset: number, length: number): void {
    checkRange(offset, length);
    this.changing(inode, () => {
      const whole = this.zeroEdges(inode, offset, offset + length);
      this.unmap(inode, whole.filePage, whole.endPage);
    });
  }

  /**
   * Takes the range out; what follows moves down. As FALLOC_FL_COLLAPSE_RANGE.
   * @throws {Errno} EINVAL when not page aligned or when the range reaches the end of the file
   */
  collapse(inode: Inode, offset: number, length: number): void {
    checkAligned(offset, length);
    if (offset + length >= inode.sizeBytes) throw new Errno('EINVAL', 'collapse reaches the end');
    this.changing(inode, () => {
      const list = this.metadata.extents(inode);
      const endPageBefore = Math.max(list.endPage, pagesFor(inode.sizeBytes));
      const [filePage, pageCount] = [offset / PAGE_BYTES, length / PAGE_BYTES];
      this.metadata.unmap(inode, { filePage, pageCount });
      this.metadata.shift(inode, { fromPage: filePage + pageCount, deltaPages: -pageCount });
      this.metadata.updateInode(inode, { sizeBytes: inode.sizeBytes - length });
      this.mapPort?.mapChanged(inode, filePage, endPageBefore);
      this.mapPort?.sizeChanged(inode);
    });
  }

  /**
   * Puts a hole in; what follows moves up. As FALLOC_FL_INSERT_RANGE.
   * @throws {Errno} EINVAL when not page aligned or at or past the end of the file, EFBIG
   */
  insert(inode: Inode, offset: number, length: number): void {
    checkAligned(offset, length);
    if (offset >= inode.sizeBytes) throw new Errno('EINVAL', 'insert past the end');
    const list = this.metadata.extents(inode);
    const endBytes = Math.max(inode.sizeBytes, list.endPage * PAGE_BYTES);
    if (endBytes + length > FILE_BYTES_MAX) throw new Errno('EFBIG', `insert of ${length}`);
    this.changing(inode, () => {
      const [filePage, pageCount] = [offset / PAGE_BYTES, length / PAGE_BYTES];
      this.metadata.shift(inode, { fromPage: filePage, deltaPages: pageCount });
      this.metadata.updateInode(inode, { sizeBytes: inode.sizeBytes + length });
      this.mapPort?.mapChanged(inode, filePage, pagesFor(endBytes + length));
      this.mapPort?.sizeChanged(inode);
    });
  }

  /**
   * For a store through a mapping: backs pages of a hole, or with `isHuge` its 2 MiB, with an
   * unwritten extent.
   * @returns what the first of these pages has now; undefined, and nothing is changed, when no 2 MiB
   * lie free in one piece
   * @throws {Errno} ENOSPC: nothing is changed
   */
  backHole(inode: Inode, hole: PageRange, isHuge: boolean): Extent | undefined {
    const { filePage } = hole;
    return this.changing(inode, () => {
      const endPage = filePage + hole.pageCount;
      if (!isHuge) this.pages.fillHoles(inode, filePage, endPage);
      else if (this.pages.fillHuge(inode, filePage) === undefined) return undefined;
      this.mapPort?.mapChanged(inode, filePage, endPage);
      return this.metadata.extents(inode).slice(filePage, endPage)[0];
    });
  }

  /** Shows pages of unwritten extents, which the caller has filled, flushed and fenced. */
  convert(inode: Inode, extent: Extent): void {
    this.changing(inode, () => {
      this.metadata.map(inode, { ...extent, state: WRITTEN });
      this.mapPort?.mapChanged(inode, extent.filePage, extent.filePage + extent.pageCount);
    });
  }

  /** SEEK_DATA: unwritten extents are holes. @throws {Errno} ENXIO when no data follows */
  seekData(inode: Inode, offset: number): number {
    const list = this.metadata.extents(inode);
    for (let index = list.indexFrom(pageOf(offset)); index < list.length; index++) {
      const extent = list.at(index)!;
      const found = Math.max(offset, extent.filePage * PAGE_BYTES);
      if (found >= inode.sizeBytes) break;
      if (extent.state === WRITTEN) return found;
    }
    throw new Errno('ENXIO', `no data from ${offset} on`);
  }

  /** SEEK_HOLE: the end of the file is one. @throws {Errno} ENXIO at or past the end of the file */
  seekHole(inode: Inode, offset: number): number {
    if (offset >= inode.sizeBytes) throw new Errno('ENXIO', `${offset} is past the end`);
    const list = this.metadata.extents(inode);
    let page = pageOf(offset);
    for (let index = list.indexFrom(page); index < list.length; index++) {
      const extent = list.at(index)!;
      if (extent.filePage > page || extent.state !== WRITTEN) break;
      page = extent.filePage + extent.pageCount;
    }
    return Math.min(inode.sizeBytes, Math.max(offset, page * PAGE_BYTES));
  }

  /**
   * Copies a range of a file into a file, as copy_file_range(2); where the source is a hole nothing
   * is allocated.
   * @returns bytes copied: fewer at the end of the source or when an error came after them
   * @throws {Errno} EINVAL for overlapping ranges of one file; ENOSPC, EIO, EFBIG as write()
   */
  copy(from: Inode, fromOffset: number, to: Inode, toOffset: number, length: number): number {
    const count = Math.min(length, from.sizeBytes - fromOffset);
    if (count <= 0) return 0;
    if (from === to && fromOffset < toOffset + count && toOffset < fromOffset + count) {
      throw new Errno('EINVAL', 'ranges overlap');
    }
    const buffer = Buffer.allocUnsafe(Math.min(count, COPY_BYTES));
    let done = 0;
    while (done < count) {
      try {
        const copied = this.copyPiece(from, fromOffset + done, to, toOffset + done, {
          lengthMax: count - done,
          buffer,
        });
        done += copied.bytes;
        if (copied.isShort) break;
      } catch (error) {
        if (done > 0 && error instanceof Errno) break;
        throw error;
      }
    }
    return done;
  }

  /** Frees all pages of a file, before its inode is removed. The size stays. */
  free(inode: Inode): void {
    if (this.metadata.extents(inode).length === 0) return;
    this.changing(inode, () => this.unmap(inode, 0, Infinity));
  }

  private fillHoles(inode: Inode, firstPage: number, endPage: number): void {
    this.pages.fillHoles(inode, firstPage, endPage);
    this.mapPort?.mapChanged(inode, firstPage, endPage);
  }

  private fenceAndCommit(): void {
    this.region.fence();
    this.metadata.commit();
  }

  /** Zeroes the parts of the range that are not whole pages. @returns the whole pages */
  private zeroEdges(inode: Inode, offset: number, end: number): PageSpan {
    const filePage = pagesFor(offset);
    const endPage = pageOf(end);
    if (filePage > endPage) {
      this.zeroWritten(inode, offset, end);
      return { filePage, endPage: filePage };
    }
    this.zeroWritten(inode, offset, filePage * PAGE_BYTES);
    this.zeroWritten(inode, endPage * PAGE_BYTES, end);
    return { filePage, endPage };
  }

  /** Zeroes [offset, end) where it is written; the rest reads as zeroes anyway. */
  private zeroWritten(inode: Inode, offset: number, end: number): void {
    if (offset >= end) return;
    for (const extent of this.metadata.extents(inode).slice(pageOf(offset), pagesFor(end))) {
      if (extent.state !== WRITTEN) continue;
      const from = Math.max(offset, extent.filePage * PAGE_BYTES);
      const to = Math.min(end, (extent.filePage + extent.pageCount) * PAGE_BYTES);
      this.region.zeroFlushed(regionOffset(extent, from), to - from);
    }
  }

  /** Zeroes what a mapping may have stored past the end, as far as `offset` lies beyond it. */
  private zeroPastEnd(inode: Inode, offset: number): void {
    const pageEnd = pagesFor(inode.sizeBytes) * PAGE_BYTES;
    this.zeroWritten(inode, inode.sizeBytes, Math.min(offset, pageEnd));
  }

  /** Grows the file with zeroes; the gate is closed. */
  private grow(inode: Inode, sizeBytes: number): void {
    if (sizeBytes <= inode.sizeBytes) return;
    this.zeroPastEnd(inode, sizeBytes);
    this.metadata.updateInode(inode, { sizeBytes });
    this.mapPort?.sizeChanged(inode);
  }

  private unmap(inode: Inode, firstPage: number, endPageMax: number): void {
    const list = this.metadata.extents(inode);
    const endPage = Math.min(endPageMax, list.endPage);
    if (firstPage >= endPage) return;
    this.metadata.unmap(inode, { filePage: firstPage, pageCount: endPage - firstPage });
    this.mapPort?.mapChanged(inode, firstPage, endPage);
  }

  private readUpToPoison(
    extent: Extent,
    offset: number,
    part: Uint8Array,
    doneBefore: number,
    error: Errno,
  ): number {
    let done = 0;
    while (done < part.length) {
      const inPage = Math.min(part.length - done, PAGE_BYTES - ((offset + done) % PAGE_BYTES));
      try {
        this.region.read(regionOffset(extent, offset + done), part.subarray(done, done + inPage));
      } catch (pageError) {
        if (!(pageError instanceof Errno)) throw pageError;
        break;
      }
      done += inPage;
    }
    if (doneBefore + done === 0) throw error;
    return doneBefore + done;
  }

  private copyPiece(
    from: Inode,
    fromOffset: number,
    to: Inode,
    toOffset: number,
    options: { lengthMax: number; buffer: Buffer },
  ): { bytes: number; isShort: boolean } {
    const { lengthMax, buffer } = options;
    const list = this.metadata.extents(from);
    const piece = pieceAt(list, pageOf(fromOffset), pagesFor(fromOffset + lengthMax));
    const pieceEnd = (piece.filePage + piece.pageCount) * PAGE_BYTES;
    const length = Math.min(lengthMax, pieceEnd - fromOffset);
    if (piece.extent?.state !== WRITTEN) {
      if (toOffset + length > FILE_BYTES_MAX) throw new Errno('EFBIG', `copy to ${toOffset}`);
      this.changing(to, () => {
        this.zeroWritten(to, toOffset, toOffset + length);
        this.grow(to, toOffset + length);
      });
      return { bytes: length, isShort: false };
    }
    const part = buffer.subarray(0, Math.min(length, buffer.length));
    const count = this.read(from, fromOffset, part);
    const bytes = this.write(to, toOffset, part.subarray(0, count));
    return { bytes, isShort: bytes < part.length };
  }

  private changing<T>(inode: Inode, change: () => T): T {
    this.mapPort?.closeGate(inode.ino);
    try {
      return change();
    } finally {
      this.mapPort?.openGate(inode.ino);
    }
  }
}

interface PageSpan {
  filePage: number;
  endPage: number;
}

function checkRange(offset: number, length: number): void {
  if (!(offset >= 0) || !(length > 0)) throw new Errno('EINVAL', `range ${offset}+${length}`);
  if (offset + length > FILE_BYTES_MAX) throw new Errno('EFBIG', `range ${offset}+${length}`);
}

function checkAligned(offset: number, length: number): void {
  checkRange(offset, length);
  if (offset % PAGE_BYTES !== 0 || length % PAGE_BYTES !== 0) {
    throw new Errno('EINVAL', `range ${offset}+${length} is not page aligned`);
  }
}
