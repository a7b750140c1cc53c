/**
 * Which files the native session serves by itself, and the port through which file data tells it
 * that a map or size changed. The session owns a copy of each shared file's extents; this file
 * keeps the copies true. With a transport that has no session nothing is shared and all is script.
 */
import type { MapPort } from '../lib/dax/file_data.js';
import type { PageRange } from '../lib/dax/mmu.js';
import { type Inode, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from '../lib/metadata/inode.js';
import type { Metadata } from '../lib/metadata/metadata.js';
import type { Session, TouchedTimes } from '../lib/addon/session.js';
import { FILE_PAGES_MAX } from '../lib/units.js';
import { laterTime } from './clock.js';
import type { Growth } from './growth.js';
import { isAtimeDue } from './relatime.js';
import { FS_SYNC_FL, FS_IMMUTABLE_FL, FS_NOATIME_FL } from './inode_flags.js';

const SERVE_READS = 1;
const SERVE_WRITES = 2;
const SERVE_ATIME = 4;
/** Writes need not ask whether set-id bits must go. */
const NOTHING_TO_KILL = 8;
/** Processes under `fauxdax run` may queue writes. */
const QUEUE_WRITES = 16;
/** A read into the page cache comes to TypeScript. */
const TELL_CACHED = 32;
/** An fsync has nothing to write back. */
const SERVE_SYNCS = 64;
/** The processes may queue writes into the file's room, too. */
const QUEUE_ROOM = 128;

export class Sharing implements MapPort {
  readonly #metadata: Metadata;
  readonly #growth: Growth;
  readonly #readOnly: boolean;
  readonly #isDax: (ino: number) => boolean;
  readonly #isMapped: (ino: number) => boolean;
  readonly #isCached: (ino: number) => boolean;
  readonly #shared = new Set<number>();
  #session: Session | undefined;
  #watched = false;

  /**
   * `isDax`: whether an open file is opened as DAX, which it stays until its last close; `isCached`:
   * whether the kernel has read pages of it into its cache since.
   */
  constructor(
    metadata: Metadata,
    growth: Growth,
    readOnly: boolean,
    {
      isDax,
      isMapped,
      isCached,
    }: Record<'isDax' | 'isMapped' | 'isCached', (ino: number) => boolean>,
  ) {
    this.#metadata = metadata;
    this.#growth = growth;
    this.#readOnly = readOnly;
    this.#isDax = isDax;
    this.#isMapped = isMapped;
    this.#isCached = isCached;
  }

  attach(session: Session): void {
    this.#session = session;
  }

  /** While watched, every read and write comes to TypeScript. */
  watch(on: boolean): void {
    this.#watched = on;
    if (on) this.dropAll();
  }

  has(ino: number): boolean {
    return this.#shared.has(ino);
  }

  /** Lets the session serve a regular file natively from here on. */
  share(inode: Inode): void {
    const session = this.#session;
    if (session === undefined || this.#watched || this.#shared.has(inode.ino)) return;
    if ((inode.mode & S_IFMT) !== S_IFREG) return;
    session.shareFile(inode.ino, inode.sizeBytes);
    this.#shared.add(inode.ino);
    this.#push(inode, 0, FILE_PAGES_MAX);
    this.refresh(inode);
    // What the kernel caches of others may be newer than the region.
    if (!this.#isDax(inode.ino)) return;
    // Attributes that it cached before the file was DAX, it would keep for ever.
    session.invalidateInode(inode.ino, -1, 0);
    session.publishFile(inode.ino);
  }

  /** A write has put something behind a file's last extent; see Growth.appended(). */
  appended(inode: Inode, isShown: (range: PageRange) => boolean): void {
    const session = this.#session;
    if (session === undefined || !this.#shared.has(inode.ino)) return;
    this.#growth.appended(session, inode, isShown);
  }

  /** A sync of the file has committed all there was; see Growth.synced(). Not inside an operation. */
  synced(ino: number): void {
    const session = this.#session;
    if (session === undefined || !this.#shared.has(ino) || this.#isMapped(ino)) return;
    this.#growth.synced(session, this.#metadata.existingInode(ino));
  }

  collectGrowth(): void {
    if (this.#session !== undefined) this.#growth.endAll(this.#session);
  }

  /** Ends native service and takes over the times it left, and what the file has grown. */
  drop(ino: number): void {
    if (!this.#shared.delete(ino)) return;
    if (this.#session !== undefined) this.#growth.end(this.#session, ino);
    this.#growth.forget(ino);
    this.#session?.unshareFile(ino);
    this.#takeTimes();
  }

  dropAll(): void {
    for (const ino of [...this.#shared]) this.drop(ino);
  }

  /** After a power cut: forgets every copy and the times that came with it. */
  forgetAll(): void {
    for (const ino of this.#shared) this.#session?.unshareFile(ino);
    this.#shared.clear();
    this.#session?.takeTouched();
  }

  /**
   * Recomputes what native service may do, after a change of mode, flags or capabilities, and when a
   * file is mapped directly or is not any more.
   */
  refresh(inode: Inode): void {
    if (!this.#shared.has(inode.ino)) return;
    let bits = SERVE_READS;
    // Not into an immutable file, and where each write is to be synchronous the commit is script.
    // The first write takes capabilities away.
    const isCapable = this.#metadata.xattr(inode.ino, 'security.capability') !== undefined;
    const scripted = isCapable || (inode.flags & (FS_IMMUTABLE_FL | FS_SYNC_FL)) !== 0;
    if (!this.#readOnly && !scripted) bits |= SERVE_WRITES;
    if (!this.#readOnly && (inode.flags & FS_NOATIME_FL) === 0) bits |= SERVE_ATIME;
    if ((inode.mode & (S_ISUID | S_ISGID)) === 0) bits |= NOTHING_TO_KILL;
    // Nothing may wait in a queue where somebody looks who does not ask us: at a mapping, or at
    // pages in the kernel's cache, which drops them for a write that it sees.
    const isCached = this.#isCached(inode.ino);
    const isMapped = this.#isMapped(inode.ino);
    if (!isCached && !isMapped) bits |= QUEUE_WRITES;
    // Of a room no mapping shows a page, and a fault ends it before anything is looked at.
    if (!isCached) bits |= QUEUE_ROOM;
    if (!isMapped) bits |= SERVE_SYNCS;
    if (!isCached && this.#isDax(inode.ino)) bits |= TELL_CACHED;
    this.#session?.setService(inode.ino, bits);
  }

  /**
   * Brings the times that native service left on any file into the metadata, those of each file as
   * an operation of its own, and what files have grown. Not inside an operation.
   */
  collectTimes(): void {
    this.collectGrowth();
    this.#takeTimes(() => this.#metadata.endOperation());
  }

  /** Somebody is about to be shown the times of an inode: what is written next gets a later one. */
  look(ino: number): void {
    if (this.#shared.has(ino)) this.#session?.look(ino);
  }

  #takeTimes(done?: () => void): void {
    for (const touched of this.#session?.takeTouched() ?? []) {
      this.#settle(touched);
      done?.();
    }
  }

  closeGate(ino: number): void {
    const session = this.#session;
    if (session === undefined || !this.#shared.has(ino)) return;
    session.closeGate(ino);
    this.#growth.end(session, ino);
  }

  openGate(ino: number): void {
    if (this.#shared.has(ino)) this.#session?.openGate(ino);
  }

  mapChanged(inode: Inode, filePage: number, endPage: number): void {
    if (this.#shared.has(inode.ino)) this.#push(inode, filePage, endPage);
  }

  sizeChanged(inode: Inode): void {
    if (this.#shared.has(inode.ino)) this.#session?.setSize(inode.ino, inode.sizeBytes);
  }

  #push(inode: Inode, filePage: number, endPage: number): void {
    const extents = this.#metadata.extents(inode).slice(filePage, endPage);
    const numbers = new Float64Array(extents.length * 4);
    extents.forEach((extent, index) => {
      numbers[index * 4] = extent.filePage;
      numbers[index * 4 + 1] = extent.regionPage;
      numbers[index * 4 + 2] = extent.pageCount;
      numbers[index * 4 + 3] = extent.state;
    });
    this.#session?.setMap(inode.ino, filePage, endPage, numbers, extents.length);
  }

  #settle(touched: TouchedTimes): void {
    const inode = this.#metadata.inode(touched.ino);
    if (inode === undefined) return;
    // The session knows of times only what passed through it: relatime is decided here.
    if (!Number.isNaN(touched.atimeSec) && isAtimeDue(inode, touched.atimeSec)) {
      const { atimeSec, atimeNsec } = touched;
      this.#metadata.updateInode(inode, { atimeSec, atimeNsec });
    }
    if (!Number.isNaN(touched.mtimeSec)) {
      // A write while the inode was changed here may have got its time before that.
      const last = { sec: inode.ctimeSec, nsec: inode.ctimeNsec };
      const { sec, nsec } = laterTime({ sec: touched.mtimeSec, nsec: touched.mtimeNsec }, last);
      const fields = { mtimeSec: sec, mtimeNsec: nsec, ctimeSec: sec, ctimeNsec: nsec };
      this.#metadata.updateInode(inode, fields);
    }
  }
}
