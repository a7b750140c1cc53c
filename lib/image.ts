/**
 * An image: a directory with `region` (the bytes) and `meta.db` (the metadata), bound together by a
 * uuid. This file makes images, and opens them for the one process that may use them; it holds the
 * lock (on the region file) while one is open. An image that is refused is not written to. What
 * needs the addon (locking, host blocks, mapping) is passed in.
 */
import Database from 'better-sqlite3';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { type BugSwitches, NO_BUGS } from './dax/bugs.js';
import { FileData } from './dax/file_data.js';
import { loadAllocator, verifyDatabase } from './metadata/load.js';
import { Metadata } from './metadata/metadata.js';
import { createDatabase, type Durable, openDatabase } from './metadata/schema.js';
import type { Region } from './region.js';
import { type Allocator, REGION_PAGES_MAX } from './space/allocator.js';
import {
  CLEAN,
  decodeSuperblock,
  encodeSuperblock,
  MOUNTED,
  type Superblock,
  SUPERBLOCK_BYTES,
} from './superblock.js';
import { PAGE_BYTES } from './units.js';

export const REGION_PAGES_MIN = 16;
export const REGION_NAME = 'region';
export const DATABASE_NAME = 'meta.db';

/** One line for a person: what is wrong, where, what to do. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

export interface MakeImageOptions {
  /** Rounded down to whole pages. */
  sizeBytes: number;
  /** Replaces an image that is there. */
  force?: boolean;
  uuid?: string;
  /** Owner of the root directory; default the process. */
  uid?: number;
  gid?: number;
  /** posix_fallocate(3); without it the region is a sparse file. */
  allocate?: (fd: number, lengthBytes: number) => void;
  /** See OpenImageOptions. */
  lockFile?: (fd: number) => boolean;
}

export interface OpenImageOptions {
  openRegion: (path: string, pageCount: number, options: { readOnly: boolean }) => Region;
  /** flock(2) LOCK_EX | LOCK_NB; false when another process holds it. Without it: no lock. */
  lockFile?: (fd: number) => boolean;
  /** Nothing is written to the region. The database may still be recovered after a crash. */
  readOnly?: boolean;
  durable?: Durable;
  bugs?: Readonly<BugSwitches>;
}

export interface OpenImage {
  readonly dir: string;
  readonly uuid: string;
  readonly readOnly: boolean;
  /** The process that had it open before closed it. */
  readonly wasClean: boolean;
  readonly region: Region;
  readonly metadata: Metadata;
  readonly allocator: Allocator;
  readonly fileData: FileData;
  /**
   * Commits, marks the image clean, and lets go of it. May be called twice.
   * @throws {Errno} ENOSPC or EIO from the commit: the image is closed, what was not committed lost
   */
  close(): void;
}

/**
 * Opens an image for use; nobody else can until close().
 *
 * @throws {ImageError} not an image, in use, damaged, of another version, or of mixed parts
 */
export function openImage(dir: string, options: OpenImageOptions): OpenImage {
  const readOnly = options.readOnly ?? false;
  const fd = openRegionFile(dir, readOnly);
  let region: Region | undefined;
  let metadata: Metadata | undefined;
  try {
    lock(fd, dir, options.lockFile);
    const superblock = readSuperblock(fd, dir);
    const allocator = verifiedAllocator(dir, superblock, options.bugs ?? NO_BUGS);
    region = options.openRegion(path.join(dir, REGION_NAME), superblock.pageCount, { readOnly });
    metadata = openMetadata(dir, allocator, options);
    const fileData = new FileData({ region, metadata, allocator, bugs: options.bugs ?? NO_BUGS });
    if (!readOnly) writeState(region, superblock, MOUNTED);
    return new Image(fd, { dir, superblock, readOnly, region, metadata, allocator, fileData });
  } catch (error) {
    metadata?.close();
    region?.close();
    fs.closeSync(fd);
    throw error;
  }
}

/**
 * Makes an empty image; the directory is made when missing. Durable on the host afterwards.
 *
 * @throws {ImageError} the size is out of range, or an image is there and `force` is not set, or it
 * is in use
 */
export function makeImage(dir: string, options: MakeImageOptions): void {
  const pageCount = Math.floor(options.sizeBytes / PAGE_BYTES);
  if (!(pageCount >= REGION_PAGES_MIN && pageCount <= REGION_PAGES_MAX)) {
    const least = REGION_PAGES_MIN * PAGE_BYTES;
    const most = REGION_PAGES_MAX * PAGE_BYTES;
    throw new ImageError(`size ${options.sizeBytes} is out of range: ${least} to ${most} bytes`);
  }
  fs.mkdirSync(dir, { recursive: true });
  const regionPath = path.join(dir, REGION_NAME);
  const databasePath = path.join(dir, DATABASE_NAME);
  const isThere = fs.existsSync(regionPath) || fs.existsSync(databasePath);
  if (isThere && options.force !== true) {
    throw new ImageError(`${dir} already holds an image; --force replaces it`);
  }
  // The file is kept, not replaced: its lock says whether somebody uses the image.
  const fd = fs.openSync(regionPath, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  try {
    lock(fd, dir, options.lockFile);
    // Without a superblock nothing is an image: a crash in between leaves none.
    fs.ftruncateSync(fd, 0);
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      fs.rmSync(databasePath + suffix, { force: true });
    }
    if (options.allocate !== undefined) options.allocate(fd, pageCount * PAGE_BYTES);
    else fs.ftruncateSync(fd, pageCount * PAGE_BYTES);
    const uuid = (options.uuid ?? randomUUID()).toLowerCase();
    const uid = options.uid ?? process.getuid?.() ?? 0;
    const gid = options.gid ?? process.getgid?.() ?? 0;
    createDatabase(databasePath, { uuid, pageCount, uid, gid, nowMs: Date.now() });
    fs.writeSync(fd, encodeSuperblock({ uuid, pageCount, state: CLEAN }), 0, PAGE_BYTES, 0);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

class Image implements OpenImage {
  readonly dir: string;
  readonly uuid: string;
  readonly readOnly: boolean;
  readonly wasClean: boolean;
  readonly region: Region;
  readonly metadata: Metadata;
  readonly allocator: Allocator;
  readonly fileData: FileData;
  private readonly superblock: Superblock;
  private fd: number | undefined;

  constructor(
    fd: number,
    parts: Pick<
      OpenImage,
      'dir' | 'readOnly' | 'region' | 'metadata' | 'allocator' | 'fileData'
    > & {
      superblock: Superblock;
    },
  ) {
    this.fd = fd;
    this.dir = parts.dir;
    this.uuid = parts.superblock.uuid;
    this.readOnly = parts.readOnly;
    this.wasClean = parts.superblock.state === CLEAN;
    this.superblock = parts.superblock;
    this.region = parts.region;
    this.metadata = parts.metadata;
    this.allocator = parts.allocator;
    this.fileData = parts.fileData;
  }

  close(): void {
    if (this.fd === undefined) return;
    const fd = this.fd;
    this.fd = undefined;
    try {
      if (!this.readOnly) {
        this.region.fence();
        this.metadata.commit();
      }
      this.metadata.close();
      if (!this.readOnly) writeState(this.region, this.superblock, CLEAN);
    } finally {
      this.metadata.close();
      this.region.close();
      fs.closeSync(fd);
    }
  }
}

function openRegionFile(dir: string, readOnly: boolean): number {
  try {
    return fs.openSync(path.join(dir, REGION_NAME), readOnly ? 'r' : 'r+');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new ImageError(`${dir} is not an image: it has no region; make one with fauxdax mkfs`);
    }
    throw new ImageError(`cannot open the image ${dir}: ${message}`);
  }
}

/** @throws {ImageError} when another process has the image */
export function lock(fd: number, dir: string, lockFile?: (fd: number) => boolean): void {
  if (lockFile !== undefined && !lockFile(fd)) {
    throw new ImageError(`the image ${dir} is in use by another process; unmount it first`);
  }
}

function readSuperblock(fd: number, dir: string): Superblock {
  const regionPath = path.join(dir, REGION_NAME);
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES);
  const count = fs.readSync(fd, bytes, 0, SUPERBLOCK_BYTES, 0);
  const superblock = decodeSuperblock(bytes.subarray(0, count));
  if (typeof superblock === 'string') {
    throw new ImageError(`bad superblock in ${regionPath}: ${superblock}; run fauxdax fsck ${dir}`);
  }
  const { pageCount } = superblock;
  if (pageCount < REGION_PAGES_MIN || pageCount > REGION_PAGES_MAX) {
    throw new ImageError(`bad superblock in ${regionPath}: ${pageCount} pages; run fauxdax fsck`);
  }
  const { size } = fs.fstatSync(fd);
  // A device has no size here; mapping it finds out.
  if (fs.fstatSync(fd).isFile() && size < pageCount * PAGE_BYTES) {
    throw new ImageError(
      `${regionPath} is cut short: ${size} bytes of ${pageCount * PAGE_BYTES}; restore it from a copy`,
    );
  }
  return superblock;
}

function verifiedAllocator(dir: string, superblock: Superblock, bugs: BugSwitches): Allocator {
  const databasePath = path.join(dir, DATABASE_NAME);
  if (!fs.existsSync(databasePath)) {
    throw new ImageError(`${dir} has no ${DATABASE_NAME}: its metadata is lost; make a new image`);
  }
  return reading(databasePath, dir, () =>
    withReadOnlyDatabase(databasePath, (db) => {
      const problem = verifyDatabase(db, superblock);
      if (problem !== undefined) throw new ImageError(`${databasePath}: ${problem}`);
      const allocator = loadAllocator(db, superblock.pageCount, bugs);
      if (typeof allocator !== 'string') return allocator;
      throw new ImageError(`${databasePath} is damaged: ${allocator}; run fauxdax fsck ${dir}`);
    }),
  );
}

function openMetadata(dir: string, allocator: Allocator, options: OpenImageOptions): Metadata {
  const databasePath = path.join(dir, DATABASE_NAME);
  return reading(databasePath, dir, () => {
    const db = openDatabase(databasePath, options.durable ?? 'process');
    return new Metadata(db, { allocator, bugs: options.bugs ?? NO_BUGS });
  });
}

/**
 * Reads a database without writing to it; a WAL left by a crash is seen and stays. The index of
 * that WAL that SQLite makes beside it is removed again. The caller holds the image's lock.
 */
export function withReadOnlyDatabase<T>(file: string, use: (db: Database.Database) => T): T {
  const indexPath = `${file}-shm`;
  const hadIndex = fs.existsSync(indexPath);
  const hadLog = fs.existsSync(`${file}-wal`);
  const db = new Database(file, { readonly: true, fileMustExist: true });
  try {
    return use(db);
  } finally {
    db.close();
    if (!hadIndex) fs.rmSync(indexPath, { force: true });
    if (!hadLog) fs.rmSync(`${file}-wal`, { force: true });
  }
}

/** Runs `use`; what SQLite says against the database becomes an ImageError. */
function reading<T>(file: string, dir: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new ImageError(`${file} is damaged: ${error.message}; run fauxdax fsck ${dir}`);
  }
}

function writeState(region: Region, superblock: Superblock, state: Superblock['state']): void {
  region.storeFlushed(0, encodeSuperblock({ ...superblock, state }));
  region.fence();
}
