/**
 * Files that grow by write(2) without JavaScript. Behind the last extent of a file that is being
 * written in order lies its *room*: region pages that are allocated and that no map has. The session
 * takes the first of them for WRITEs that go on there, filled and flushed, beyond the end or in a hole
 * before it; the metadata hears of it when the room ends: before anything that looks at the metadata,
 * before any commit, and before the file's map changes. What is left is free again then. Of the room
 * of a file that is mapped directly nobody is shown a page, zeroes neither.
 *
 * A room begins with a write that came to JavaScript, or with a sync of the file whose growth it has
 * just committed: who appends and syncs by turns comes to JavaScript for the sync alone. While there
 * is a room, every sync comes to JavaScript, where it ends and what it gave is committed. A crash
 * before that loses what was appended, as any write that was not synced; a room's pages are nobody's
 * in the metadata.
 *
 * Not on mounts that record or that can be cut: there each write is an operation of its own. Nor where
 * a bug switch is on: the bugs are in what writes do in TypeScript.
 */
import assert from 'node:assert/strict';
import type { PageRange } from '../lib/dax/mmu.js';
import { PageSource } from '../lib/dax/page_source.js';
import type { Inode } from '../lib/metadata/inode.js';
import type { Metadata } from '../lib/metadata/metadata.js';
import type { Allocator } from '../lib/space/allocator.js';
import { WRITTEN } from '../lib/space/extent_list.js';
import type { Session } from '../lib/addon/session.js';
import { PAGES_PER_HUGE, pagesFor } from '../lib/units.js';

/** Of a file that is as long; 1 MiB for others. */
const ROOM_PAGES_MIN = 16;
const ROOM_PAGES_MAX = 256;
/** Of the free pages a room takes at most one in so many. */
const FREE_PER_ROOM = 64;

interface Room {
  filePage: number;
  regionPage: number;
  pageCount: number;
  /** Offered by a sync, before anybody wrote. */
  isAhead: boolean;
}

export class Growth {
  readonly #metadata: Metadata;
  readonly #allocator: Allocator;
  readonly #pages: PageSource;
  readonly #rooms = new Map<number, Room>();
  /** Called when there are rooms where there were none, and the other way. */
  onChange: (() => void) | undefined;

  /** Commits so far. */
  #commits = 0;
  /** By file: how many commits there had been when it grew last, that we know of. */
  readonly #grown = new Map<number, number>();
  /** Files whose last room was used. */
  readonly #growing = new Set<number>();
  /** Files whose room was offered ahead for nothing, and none was used since. */
  readonly #idle = new Set<number>();

  /** @param isOn whether there are rooms at all */
  constructor(
    metadata: Metadata,
    allocator: Allocator,
    private readonly isOn: boolean,
  ) {
    this.#metadata = metadata;
    this.#allocator = allocator;
    this.#pages = new PageSource(metadata, allocator, () => {});
    metadata.afterCommit.push(() => {
      this.#commits += 1;
    });
  }

  /** While there are any, the metadata does not know of all that is to be committed. */
  get hasRooms(): boolean {
    return this.#rooms.size > 0;
  }

  /**
   * A write to a shared file has just put an extent behind all others, or more of it. When more such
   * writes are to be expected, because it is the second since the last commit or the last room was
   * used, the session serves them.
   *
   * @param isShown whether a mapping shows any of these file pages
   */
  appended(session: Session, inode: Inode, isShown: (range: PageRange) => boolean): void {
    const { ino } = inode;
    if (!this.isOn || this.#metadata.sink !== undefined) return;
    const isFirst = this.#grown.get(ino) !== this.#commits;
    this.#grown.set(ino, this.#commits);
    if (isFirst && !this.#growing.has(ino)) return;
    this.#offer(session, inode, isShown, false);
  }

  /**
   * A sync of a shared file that no process maps has just committed all there was. When the file
   * grew since the sync before, it has a room for what is written before the next one.
   */
  synced(session: Session, inode: Inode): void {
    const { ino } = inode;
    if (this.#grown.get(ino) !== this.#commits - 1 || this.#idle.has(ino)) return;
    this.#offer(session, inode, () => false, true);
  }

  #offer(
    session: Session,
    inode: Inode,
    isShown: (range: PageRange) => boolean,
    isAhead: boolean,
  ): void {
    const { ino } = inode;
    if (this.#rooms.has(ino)) return;
    const list = this.#metadata.extents(inode);
    const filePage = list.endPage;
    const last = list.at(list.length - 1);
    if (last?.state !== WRITTEN || filePage > pagesFor(inode.sizeBytes)) return;
    const wanted = Math.min(Math.max(filePage, ROOM_PAGES_MIN), ROOM_PAGES_MAX);
    const pageCount = Math.min(wanted, PAGES_PER_HUGE - (filePage % PAGES_PER_HUGE));
    if (pageCount * FREE_PER_ROOM > this.#allocator.freePages) return;
    if (isShown({ filePage, pageCount })) return;
    const run = this.#pages.take(inode, { filePage, pageCount });
    this.#allocator.setAside(run.pageCount);
    this.#rooms.set(ino, { filePage, regionPage: run.page, pageCount: run.pageCount, isAhead });
    // Before anybody can use it.
    this.onChange?.();
    session.offerRoom(ino, filePage, run.page, run.pageCount);
  }

  /** The metadata has what a file has grown, as a part of the running operation. */
  end(session: Session, ino: number): void {
    const room = this.#rooms.get(ino);
    if (room === undefined) return;
    this.#rooms.delete(ino);
    const { filePage, regionPage } = room;
    const inode = this.#metadata.existingInode(ino);
    const used = session.endRoom(ino);
    assert(used !== undefined, 'a file that is not shared has no room');
    const { pageCount, sizeBytes } = used;
    assert(pageCount <= room.pageCount && sizeBytes >= inode.sizeBytes);
    this.#allocator.setAside(-room.pageCount);
    if (pageCount < room.pageCount) {
      const rest = { page: regionPage + pageCount, pageCount: room.pageCount - pageCount };
      this.#allocator.cancel(rest);
    }
    if (pageCount > 0) {
      this.#metadata.map(inode, { filePage, regionPage, pageCount, state: WRITTEN });
    }
    const isLonger = sizeBytes > inode.sizeBytes;
    if (isLonger) this.#metadata.updateInode(inode, { sizeBytes });
    if (pageCount > 0 || isLonger) {
      this.#grown.set(ino, this.#commits);
      this.#growing.add(ino);
      this.#idle.delete(ino);
    } else {
      this.#growing.delete(ino);
      if (room.isAhead) this.#idle.add(ino);
    }
    this.onChange?.();
  }

  /** The same of all files, each as an operation of its own. */
  endAll(session: Session): void {
    for (const ino of [...this.#rooms.keys()]) {
      this.end(session, ino);
      this.#metadata.endOperation();
    }
  }

  /** The file is not served natively any more; it has no room. */
  forget(ino: number): void {
    assert(!this.#rooms.has(ino));
    this.#grown.delete(ino);
    this.#growing.delete(ino);
    this.#idle.delete(ino);
  }
}
