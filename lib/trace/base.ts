/**
 * The beginning of a recorded trace: an image directory, closed, as it is before the first event.
 * Only pages that somebody can see are kept (lib/trace/pages.ts has what the others read as).
 */
import fs from 'node:fs';
import path from 'node:path';
import { DATABASE_NAME, ImageError, lock, REGION_NAME, withReadOnlyDatabase } from '../image.js';
import { serializeDatabase } from '../metadata/schema.js';
import { CLEAN, decodeSuperblock, SUPERBLOCK_BYTES, type Superblock } from '../superblock.js';
import { PAGE_BYTES } from '../units.js';
import { mappedPages, type PageRuns } from './pages.js';
import type { TraceInfo } from './source.js';
import { TraceWriter } from './writer.js';

const SCAN_PAGES_MAX = 256;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/**
 * Begins a trace with an image that nobody has open. The recorder appends the events.
 *
 * @param options.lockFile as openImage() takes it
 * @returns the sequence of the chunk that comes next
 * @throws {ImageError} not an image, in use, or not closed in order
 */
export function writeBase(
  imageDir: string,
  tracePath: string,
  info: TraceInfo,
  options: { lockFile?: (fd: number) => boolean } = {},
): number {
  const fd = fs.openSync(path.join(imageDir, REGION_NAME), 'r');
  try {
    lock(fd, imageDir, options.lockFile);
    const { pageCount, uuid } = cleanSuperblock(fd, imageDir);
    const database = withReadOnlyDatabase(path.join(imageDir, DATABASE_NAME), serializeDatabase);
    const writer = new TraceWriter(tracePath, { pageCount, uuid });
    writer.info(info);
    writer.database(database);
    writePages(fd, mappedPages(database), writer);
    return writer.close();
  } finally {
    fs.closeSync(fd);
  }
}

function cleanSuperblock(fd: number, imageDir: string): Superblock {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES);
  const count = fs.readSync(fd, bytes, 0, SUPERBLOCK_BYTES, 0);
  const superblock = decodeSuperblock(bytes.subarray(0, count));
  if (typeof superblock === 'string') {
    throw new ImageError(`bad superblock in ${imageDir}: ${superblock}; make a new image`);
  }
  if (superblock.state === CLEAN) return superblock;
  throw new ImageError(`${imageDir} was not closed in order; mount and unmount it first`);
}

/** Page 0 and what extents map, as far as it is not zero. */
function writePages(fd: number, mapped: PageRuns, writer: TraceWriter): void {
  const block = Buffer.alloc(SCAN_PAGES_MAX * PAGE_BYTES);
  for (const run of [{ page: 0, pageCount: 1 }, ...mapped.runs]) {
    const endPage = run.page + run.pageCount;
    for (let page = run.page; page < endPage; page += SCAN_PAGES_MAX) {
      const pageCount = Math.min(SCAN_PAGES_MAX, endPage - page);
      readWhole(fd, block.subarray(0, pageCount * PAGE_BYTES), page * PAGE_BYTES);
      for (let index = 0; index < pageCount; index++) {
        const bytes = block.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
        if (!bytes.equals(ZERO_PAGE)) writer.page(page + index, bytes);
      }
    }
  }
}

/** Past the end of the file are zeroes. */
function readWhole(fd: number, target: Buffer, position: number): void {
  let done = 0;
  while (done < target.length) {
    const count = fs.readSync(fd, target, done, target.length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  target.fill(0, done);
}
