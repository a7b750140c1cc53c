/**
 * Questions that file operations ask of an extent list: what backs these pages, are all of them
 * written, how many are missing, where would one best lie. Pages are 4 KiB, offsets bytes.
 */
import { PAGE_BYTES } from '../units.js';
import { type Extent, type ExtentList, WRITTEN } from './extent_list.js';

/** Pages backed alike: by one extent (cut to them), or by none. */
export interface Piece {
  filePage: number;
  pageCount: number;
  extent: Extent | undefined;
}

/** The piece that starts at `filePage` and ends at `endPage` or before. */
export function pieceAt(list: ExtentList, filePage: number, endPage: number): Piece {
  const extent = list.at(list.indexFrom(filePage));
  if (extent === undefined || extent.filePage > filePage) {
    const holeEnd = Math.min(endPage, extent?.filePage ?? endPage);
    return { filePage, pageCount: holeEnd - filePage, extent: undefined };
  }
  const pieceEnd = Math.min(endPage, extent.filePage + extent.pageCount);
  const pageCount = pieceEnd - filePage;
  const regionPage = extent.regionPage + (filePage - extent.filePage);
  const part = { filePage, regionPage, pageCount, state: extent.state };
  return { filePage, pageCount, extent: part };
}

/** Region byte of file byte `offset`, which lies in `extent`. */
export function regionOffset(extent: Extent, offset: number): number {
  return extent.regionPage * PAGE_BYTES + (offset - extent.filePage * PAGE_BYTES);
}

/** Whether every page of [firstPage, endPage) is written. */
export function isWritten(list: ExtentList, firstPage: number, endPage: number): boolean {
  let page = firstPage;
  for (let index = list.indexFrom(page); page < endPage; index++) {
    const extent = list.at(index);
    if (extent === undefined || extent.filePage > page || extent.state !== WRITTEN) return false;
    page = extent.filePage + extent.pageCount;
  }
  return true;
}

/** Pages of [firstPage, endPage) that are not mapped. */
export function holePages(list: ExtentList, firstPage: number, endPage: number): number {
  let pages = endPage - firstPage;
  for (const extent of list.slice(firstPage, endPage)) pages -= extent.pageCount;
  return pages;
}

/** Where a file page would lie if the file were in one run with its neighbour extent. */
export function goalFor(list: ExtentList, filePage: number): number | undefined {
  const index = list.indexFrom(filePage);
  const near = list.at(index - 1) ?? list.at(index);
  return near === undefined ? undefined : near.regionPage + (filePage - near.filePage);
}
