/**
 * The sizes everything else is counted in. A `page` is the unit of extents and of the region, a
 * `line` the unit of persistence, an `offset` always counts bytes. Mirrored in native/units.h.
 */

export const PAGE_BYTES = 4096;
export const LINE_BYTES = 64;
export const LINES_PER_PAGE = PAGE_BYTES / LINE_BYTES;
export const PAGES_PER_HUGE = 512;
export const HUGE_BYTES = PAGE_BYTES * PAGES_PER_HUGE;

/** Largest file size and offset: every byte offset stays exact in a double, with room to add. */
export const FILE_BYTES_MAX = 2 ** 52;
export const FILE_PAGES_MAX = FILE_BYTES_MAX / PAGE_BYTES;
export const NAME_BYTES_MAX = 255;
export const XATTR_VALUE_BYTES_MAX = 65536;
export const LINK_COUNT_MAX = 65000;

/** The page that holds byte `offset`. */
export function pageOf(offset: number): number {
  return Math.floor(offset / PAGE_BYTES);
}

/** The 2 MiB unit of a file or of an address space that holds a page. */
export function chunkOf(page: number): number {
  return Math.floor(page / PAGES_PER_HUGE);
}

/** Pages needed to hold `lengthBytes` bytes. */
export function pagesFor(lengthBytes: number): number {
  return Math.ceil(lengthBytes / PAGE_BYTES);
}
