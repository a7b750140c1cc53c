/**
 * Opens a crash state as an image that a Filesystem can run on: nothing on disk, nothing of the
 * state changed. Region pages are copied when they are stored to, the database is a copy in
 * memory; what the allocator learns from the database is kept for the next opening of it.
 */
import assert from 'node:assert/strict';
import type Database from 'better-sqlite3';
import { NO_BUGS } from '../../dax/bugs.js';
import { FileData } from '../../dax/file_data.js';
import type { OpenImage } from '../../image.js';
import { loadAllocator } from '../../metadata/load.js';
import { Metadata } from '../../metadata/metadata.js';
import { openDatabaseBytes } from '../../metadata/schema.js';
import type { Allocator } from '../../space/allocator.js';
import type { TraceEvent } from '../../trace/event.js';
import type { BaseImage } from '../../trace/source.js';
import { OverlayRegion } from './overlay_region.js';

export interface OpenStateOptions {
  /** Stores, flushes, fences and canaries of the run; callIds are set on `region`. */
  sink?: (event: TraceEvent) => void;
}

/** A canary that somebody was shown as a page of file `ino`, and the file that had that page. */
export interface StalePage {
  ino: number;
  filePage: number;
  regionPage: number;
  ownerIno: number;
}

export interface OpenState {
  readonly image: OpenImage;
  readonly region: OverlayRegion;
  /** Lines of the region that were read before they were overwritten, ascending, each once. */
  readLines(): Float64Array;
  stale(): StalePage[];
  /** The state stays. May be called twice. */
  close(): void;
}

/** Allocators of databases as they were opened; to be copied. */
const allocators = new WeakMap<Uint8Array, Allocator>();

export function openState(state: BaseImage, options: OpenStateOptions = {}): OpenState {
  const db = openDatabaseBytes(state.database);
  const stale: StalePage[] = [];
  const canaryPages = new Set<number>();
  const findOwner = db.prepare(
    'SELECT ino, file_page + ? - region_page AS filePage FROM extent ' +
      'WHERE region_page <= ? AND region_page + page_count > ?',
  );
  const region = new OverlayRegion(state, {
    sink: options.sink,
    canaryRead: (regionPage, ownerIno) => {
      if (canaryPages.has(regionPage)) return;
      canaryPages.add(regionPage);
      const found = findOwner.get(regionPage, regionPage, regionPage) as
        | { ino: number; filePage: number }
        | undefined;
      stale.push({ ino: 0, filePage: 0, ...found, regionPage, ownerIno });
    },
  });
  const allocator = allocatorOf(state, db);
  const metadata = new Metadata(db, { allocator });
  const fileData = new FileData({ region, metadata, allocator });
  const image: OpenImage = {
    dir: '',
    uuid: state.uuid,
    readOnly: false,
    wasClean: false,
    region,
    metadata,
    allocator,
    fileData,
    close: () => {
      metadata.close();
      region.close();
    },
  };
  return {
    image,
    region,
    readLines: () => region.readLines(),
    stale: () => stale,
    close: () => image.close(),
  };
}

function allocatorOf(state: BaseImage, db: Database.Database): Allocator {
  const bytes = state.database;
  let allocator = allocators.get(bytes);
  if (allocator === undefined) {
    const loaded = loadAllocator(db, state.pageCount, NO_BUGS);
    assert(typeof loaded !== 'string', `the metadata of the state is damaged: ${loaded}`);
    allocator = loaded;
    allocators.set(bytes, allocator);
  }
  return allocator.copy();
}
