/** What `fauxdax info` shows of an image and, when it is mounted, of its daemon. */
import type { OpenImage } from '../lib/image.js';
import type { SessionCounters } from '../lib/addon/session.js';
import { PAGE_BYTES } from '../lib/units.js';
import type { DaxInfo } from './dax/dax.js';
import type { Filesystem } from './filesystem.js';
import type { MountOptions } from './options.js';

export interface ImageInfo {
  imageDir: string;
  geometry: { uuid: string; pageBytes: number; pages: number; sizeBytes: number };
  /** Busy pages were freed and wait for the commit that says so. */
  free: { pages: number; busyPages: number; bytes: number };
  inodes: number;
  names: number;
  extents: number;
  daemon?: {
    pid: number;
    dir: string;
    options: MountOptions;
    uptimeSec: number;
    flushInstruction: string;
    /** Inodes the kernel holds references to. */
    nodes: number;
    /** 64-byte lines stored but not durable; 0 unless mounted crashable. */
    undecidedLines: number;
    poisonedPages: number;
    faultRules: number;
    commits: Filesystem['commits'];
    counters: SessionCounters | null;
    /** null before the first `fauxdax run`. */
    dax: DaxInfo | null;
  };
}

export function imageGeometry(image: OpenImage): ImageInfo {
  const { region, allocator, metadata, uuid } = image;
  const { inodes, names, extents } = metadata.counts();
  const { freePages, busyPages } = allocator;
  return {
    imageDir: image.dir,
    geometry: {
      uuid,
      pageBytes: PAGE_BYTES,
      pages: region.pageCount,
      sizeBytes: region.pageCount * PAGE_BYTES,
    },
    free: { pages: freePages, busyPages, bytes: (freePages + busyPages) * PAGE_BYTES },
    inodes,
    names,
    extents,
  };
}
