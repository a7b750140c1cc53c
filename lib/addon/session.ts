/**
 * One FUSE connection: the surface of the addon's object, which native/session.h describes. Everything
 * runs on the JavaScript thread that made it.
 */
import { FRAME_VERSION } from '../frame.js';
import { run } from './errno.js';
import { type AddonRecorder, addonRecorder, type Recorder } from './recorder.js';
import { type AddonRegion, addonRegion, type NativeRegion } from './region.js';

export interface SessionOptions {
  /** An open /dev/fuse descriptor already mounted; owned by the session from here. */
  fd: number;
  /** null: nothing is served natively; no file may be shared. */
  region: NativeRegion | null;
  request: Float64Array;
  reply: Float64Array;
  handler: (opcode: number, name: string | undefined, name2: string | undefined) => number;
  /** Called once: the kernel unmounted us (reason undefined) or the session broke. */
  onEnd: (reason: string | undefined) => void;
  readOnly: boolean;
  /**
   * Files opened FOPEN_DIRECT_IO (also all O_DIRECT ones) may be mapped shared, through the page
   * cache. Without it such an mmap(2) fails with ENODEV.
   */
  directMappings: boolean;
  /** Calls and their returns are recorded here. */
  recorder?: Recorder;
}

/** Monotonic counts since mount. */
export interface SessionCounters {
  requests: number;
  nativeReads: number;
  nativeWrites: number;
  nativeReadBytes: number;
  nativeWriteBytes: number;
  /** FSYNC and FSYNCDIR requests that the handler was not asked about. */
  nativeSyncs: number;
  scriptCalls: number;
  helperRequests: number;
  notifications: number;
  /** Times that requests were waited for in place of the event loop; see native/stretch.h. */
  stretches: number;
}

/**
 * Times a native read or write left on a file, not yet known to the metadata. An atime is only a
 * candidate: native service does not know the times from before the file was shared, so apply the
 * rule of relatime (after the mtime, when that is the earlier one).
 */
export interface TouchedTimes {
  ino: number;
  atimeSec: number;
  atimeNsec: number; // atimeSec is NaN when only mtime changed
  mtimeSec: number;
  mtimeNsec: number; // mtimeSec is NaN when only atime changed
}

/**
 * One FUSE connection, served on the thread that made it. A file shared with shareFile() has its
 * READs answered natively where the map says written or hole, and its WRITEs where they stay inside
 * the size and the map says written. All other requests call the handler. Calls that change a file
 * which is not shared do nothing; setMap and setSize close the gate themselves when it is open.
 *
 * A handler that throws is a bug: its request gets EIO, and the session ends through onEnd.
 */
export interface Session {
  readonly requestBytes: Uint8Array;
  readonly replyBytes: Uint8Array;

  /** Begins native service of an inode. Its map starts as one hole of `sizeBytes`. */
  shareFile(ino: number, sizeBytes: number): void;
  unshareFile(ino: number): void;
  /**
   * Processes that map files directly may read a shared file by themselves from here on, until it is
   * unshared: only files that the kernel caches nothing of. Once; without a fault server it does
   * nothing.
   */
  publishFile(ino: number): void;
  /**
   * Replaces the map of pages [filePage, endPage) by `count` extents of 4 numbers each
   * (filePage, regionPage, pageCount, state 0 unwritten / 1 written), sorted, inside the range.
   */
  setMap(
    ino: number,
    filePage: number,
    endPage: number,
    extents: Float64Array,
    count: number,
  ): void;
  setSize(ino: number, sizeBytes: number): void;
  /**
   * Region pages of which nobody has any, for the file pages behind the last extent of a shared file:
   * a hole, or beyond the end with no hole in between. WRITEs that take them in order are served
   * natively, and may make the file longer. Until endRoom().
   */
  offerRoom(ino: number, filePage: number, regionPage: number, pageCount: number): void;
  /** @returns how many of the room's pages are the file's by now, written; and its size */
  endRoom(ino: number): { pageCount: number; sizeBytes: number } | undefined;
  /**
   * What native service may do: bit 0 reads, bit 1 writes, bit 2 reads update atime (relatime),
   * bit 3 the file has no set-id bits or capabilities that a write must take away (without it the
   * writes of unprivileged callers, which ask for that, go to the handler), bit 4 processes may queue
   * writes, bit 5 reads into the page cache go to the handler, bit 6 an fsync finds nothing that
   * processes stored (see IS_COMMITTED of lib/frame.ts).
   */
  setService(ino: number, bits: number): void;
  /** Waits for native operations on the file to leave, then keeps new ones out. Not nested. */
  closeGate(ino: number): void;
  openGate(ino: number): void;
  /** Takes (and forgets) all pending times, also of files unshared since. */
  takeTouched(): TouchedTimes[];
  /**
   * Somebody is about to be shown the times of a shared file, or they were set: the next native write
   * gets a later one. After takeTouched(), before the answer.
   */
  look(ino: number): void;
  /**
   * The time of a change that happens now, as `target` = [seconds, nanoseconds] since 1970: later than
   * all that this and native service gave before.
   */
  now(target: Float64Array): void;

  /** READDIR(PLUS): adds one entry with the attributes in `reply`; false when it does not fit. */
  addEntry(name: string, cookie: number): boolean;

  /** Makes a deferred READDIR(PLUS) the one being read again, until it is answered. */
  resume(unique: number): void;

  /** Answers a deferred request as if the handler had returned `status` now. */
  answer(unique: number, opcode: number, status: number): void;

  /** Queued to the helper thread; length 0 means to the end, offset -1 attributes only. */
  invalidateInode(ino: number, offset: number, length: number): void;
  invalidateEntry(parentIno: number, name: string): void;
  /** Resolves when every notification queued so far has been carried out. */
  notificationsDone(): Promise<void>;
  /** While true, page-cache WRITEs (FUSE_WRITE_CACHE) are acknowledged and thrown away. */
  discardWriteback(on: boolean): void;

  counters(): SessionCounters;
  /** Stops serving and closes the descriptor. May be called twice. */
  close(): void;
}

/** native/session_object.h. */
export type SessionConstructor = new (
  options: Omit<SessionOptions, 'region' | 'recorder'> & {
    region: AddonRegion | null;
    recorder?: AddonRecorder | undefined;
    frameVersion: number;
  },
) => Session;

export function openSession(addonSession: SessionConstructor, options: SessionOptions): Session {
  const region = options.region && addonRegion(options.region);
  const recorder = options.recorder && addonRecorder(options.recorder);
  return run(() => new addonSession({ ...options, region, recorder, frameVersion: FRAME_VERSION }));
}
