/**
 * The only file that loads the addon. It types the addon's surface and turns native errnos into
 * `Errno`; it decides nothing.
 */
import { createRequire } from 'node:module';
import type { Keep, Region } from './region.js';

export interface NativeRegion extends Region {
  readonly flushInstruction: 'clwb' | 'clflushopt' | 'clflush';
  readonly path: string;
}

export interface SessionOptions {
  /** An open /dev/fuse descriptor already mounted; owned by the session from here. */
  fd: number;
  region: NativeRegion;
  request: Float64Array;
  reply: Float64Array;
  handler: (opcode: number, name: string | undefined, name2: string | undefined) => number;
  /** Called once: the kernel unmounted us (reason undefined) or the session broke. */
  onEnd: (reason: string | undefined) => void;
  readOnly: boolean;
}

/** Monotonic counts since mount. */
export interface SessionCounters {
  requests: number;
  nativeReads: number;
  nativeWrites: number;
  nativeReadBytes: number;
  nativeWriteBytes: number;
  scriptCalls: number;
  helperRequests: number;
  notifications: number;
}

/** Times a native read or write left on a file, not yet known to the metadata. */
export interface TouchedTimes {
  ino: number;
  atimeSec: number; atimeNsec: number; // atimeSec is NaN when only mtime changed
  mtimeSec: number; mtimeNsec: number; // mtimeSec is NaN when only atime changed
}

/**
 * One FUSE connection, served on the thread that made it. A file shared with shareFile() has its
 * READs answered natively where the map says written or hole, and its WRITEs where they stay inside
 * the size and the map says written. All other requests call the handler.
 */
export interface Session {
  readonly requestBytes: Uint8Array;
  readonly replyBytes: Uint8Array;

  /** Begins native service of an inode. Its map starts as one hole of `sizeBytes`. */
  shareFile(ino: number, sizeBytes: number): void;
  unshareFile(ino: number): void;
  /**
   * Replaces the map of pages [filePage, endPage) by `count` extents of 4 numbers each
   * (filePage, regionPage, pageCount, state 0 unwritten / 1 written), sorted, inside the range.
   */
  setMap(ino: number, filePage: number, endPage: number, extents: Float64Array, count: number): void;
  setSize(ino: number, sizeBytes: number): void;
  /** What native service may do: bit 0 reads, bit 1 writes, bit 2 reads update atime (relatime). */
  setService(ino: number, bits: number): void;
  /** Waits for native operations on the file to leave, then keeps new ones out. Not nested. */
  closeGate(ino: number): void;
  openGate(ino: number): void;
  /** Takes (and forgets) the pending times of one inode, or of all when `ino` is 0. */
  takeTouched(ino: number): TouchedTimes[];

  /** READDIR(PLUS): adds one entry with the attributes in `reply`; false when it does not fit. */
  addEntry(name: string, cookie: number): boolean;

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

export interface Native {
  openRegion(path: string, pageCount: number, options: { readOnly: boolean }): NativeRegion;
  openSession(options: SessionOptions): Session;
  /** mount(2) of type fuse.fauxdax; returns the /dev/fuse descriptor. Needs CAP_SYS_ADMIN. */
  mountFuse(dir: string, source: string, flags: number, data: string): number;
  /** umount2(2); `lazy` is MNT_DETACH. */
  unmount(dir: string, lazy: boolean): void;
  /** Receives one descriptor sent by fusermount3 over the socket `fd`. Blocks. */
  receiveDescriptor(fd: number): number;
  socketPair(): [number, number];
  /** flock(LOCK_EX | LOCK_NB); false when another process holds it. */
  lockFile(fd: number): boolean;
  /** posix_fallocate(3): the host's blocks exist afterwards, so a store never meets a full disk. */
  allocateFile(fd: number, lengthBytes: number): void;
  /** Bytes of a name that lib/name_codec.ts or the session decoded. */
  closeDescriptor(fd: number): void;
}

const require = createRequire(import.meta.url);

/** Loads the addon that node-gyp built. Throws when it was not built. */
export function loadNative(): Native {
  return require('../../build/Release/fauxdax.node') as Native;
}
export type { Keep };
