/**
 * What libraries keep in files for one run only, and never flush: no program that uses them can make
 * it durable, and none needs it. Of libpmemobj it is the end of a pool's descriptor, in which the
 * process that has the pool open holds its pointers, and parts of its heap's headers.
 */
import type { PlaceTracker } from '../../trace/places.js';
import type { BaseImage } from '../../trace/source.js';

const POOL_SIGNATURE = Buffer.from('PMEMOBJ\0');
/**
 * Of struct pmemobjpool of libpmemobj 1 what is behind `pmem_reserved`, to the end of its pages; and
 * the headers of the first zone's chunks, whose footers it makes anew each time.
 */
const POOL_RUN_TIME = [
  [6656, 8192],
  [3_154_944, 3_154_944 + 512 * 1024],
] as const;

export class RunTimeState {
  /** Files that are pools, as far as anybody asked or their header was stored. */
  private readonly pools = new Map<number, boolean>();

  constructor(
    private readonly base: Pick<BaseImage, 'page'>,
    private readonly places: PlaceTracker,
  ) {}

  /** A program stored to a file through a mapping. */
  stored(ino: number, fileOffset: number, bytes: Uint8Array): void {
    if (fileOffset === 0 && isPoolHeader(bytes)) this.pools.set(ino, true);
  }

  has(ino: number, fileOffset: number): boolean {
    const isInside = POOL_RUN_TIME.some(([from, to]) => fileOffset >= from && fileOffset < to);
    if (!isInside) return false;
    const isPool = this.pools.get(ino) ?? this.isPoolInBase(ino);
    this.pools.set(ino, isPool);
    return isPool;
  }

  private isPoolInBase(ino: number): boolean {
    const page = this.places.firstPageInBase(ino);
    return page !== undefined && isPoolHeader(this.base.page(page));
  }
}

function isPoolHeader(bytes: Uint8Array): boolean {
  return POOL_SIGNATURE.equals(bytes.subarray(0, POOL_SIGNATURE.length));
}
