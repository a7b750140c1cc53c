/**
 * One fault: a thread touched a page of a mapping that is not there, or stored to one that is
 * protected. The order is that of the kernel's fs/dax.c:
 *
 *   gate shared → inside the file? → what backs the page, to know which entry is wished →
 *   lock the entry → is the wish still possible? → what backs the page (now it cannot change) →
 *   a store into a hole: allocate unwritten → zero, flush, fence → take zeroes from all who show
 *   them → convert → (MAP_SYNC: force) → entry → dirty → show it.
 *
 * A crash after any step leaves at most an unwritten extent, which reads as zeroes. A thread whose
 * fault ends without a page tries again, and faults again when it still has to.
 */
import { Errno } from '../errno.js';
import type { Inode } from '../metadata/inode.js';
import { type Extent, UNWRITTEN } from '../space/extent_list.js';
import { PAGE_BYTES, PAGES_PER_HUGE, pagesFor } from '../units.js';
import type { DaxFile } from './dax_file.js';
import type { EngineParts } from './engine.js';
import { type Found, lookUp } from './lookup.js';
import {
  type BusError,
  type FaultKind,
  type FaultTask,
  intersection,
  type Mapping,
  type PageRange,
} from './mmu.js';
import type { RangeClaim } from './range_lock.js';
import type { Task } from './task.js';
import type { Shown, View } from './view.js';

/** What an attempt came to: done (perhaps with an error), or to be made again. */
type Outcome = BusError | undefined | 'again' | 'again-smaller';

export interface FaultRequest {
  readonly mapping: Mapping;
  readonly filePage: number;
  readonly kind: FaultKind;
  readonly isWrite: boolean;
  readonly thread: number;
}

export class Fault {
  private readonly mapping: Mapping;
  private readonly filePage: number;
  /** A store that has to reach the file. */
  private readonly isStore: boolean;
  private readonly isCopy: boolean;
  /** What a store allocates without an entry of 2 MiB. */
  private aheadPages = 1;

  /** @param isCurrent false once a power cut took back what the fault found */
  constructor(
    private readonly parts: EngineParts,
    private readonly file: DaxFile,
    private readonly view: View,
    private readonly request: FaultRequest,
    private readonly isCurrent: () => boolean,
  ) {
    const { mapping, filePage, isWrite } = request;
    this.mapping = mapping;
    this.filePage = filePage;
    this.isStore = isWrite && mapping.isShared;
    this.isCopy = isWrite && !mapping.isShared;
  }

  *serve(): FaultTask {
    const { file } = this;
    yield* file.gate.enter('shared');
    try {
      // What it is about to be shown must not change but through the gate.
      this.parts.fileData.mapPort?.collectGrowth();
      const error = yield* this.untilDone();
      if (error !== undefined && this.isWanted()) {
        this.view.mark({ filePage: this.filePage, pageCount: 1 }, 'bus');
      }
      return error;
    } finally {
      file.gate.leave('shared');
    }
  }

  /**
   * Each repetition is due to somebody else's fault that went through, or to an entry that turned
   * out too large, which is not tried again.
   */
  private *untilDone(): FaultTask {
    let mayBeHuge = true;
    this.aheadPages = this.aheadPagesMax();
    for (;;) {
      if (!this.isWanted()) return undefined;
      const { filePage, view } = this;
      const shown = view.shownAt(filePage);
      const mayBeOwn = this.mayBeOwn(shown);
      if (mayBeOwn && (yield* this.isStale())) return undefined;
      const inode = this.inode();
      if (inode === undefined || filePage >= pagesFor(inode.sizeBytes)) return 'beyond-end';
      const part = view.partAt(filePage)!;
      const isFree = mayBeHuge && !mayBeOwn && !this.hasPagesAround();
      const wish = this.look(inode, isFree, part);
      if (wish.isPoisoned) return 'media-error';
      yield { point: 'dax/fault untilDone: lock the entry', saw: { mayBeHuge, shown, wish } };
      const claim = yield* this.file.locks.acquire(this.lockRange(wish));
      let outcome: Outcome;
      try {
        outcome = yield* this.attempt(wish, claim, shown);
      } finally {
        this.file.locks.release(claim);
      }
      if (outcome === 'again-smaller') {
        mayBeHuge = false;
        this.aheadPages = 1;
      } else if (outcome !== 'again') return outcome;
    }
  }

  /** With the entry locked. @param shownBefore what the mapping showed when `wish` was made */
  private *attempt(wish: Found, claim: RangeClaim, shownBefore: Shown): Task<Outcome> {
    if (!this.isWanted()) return undefined;
    const inode = this.inode();
    if (inode === undefined) return 'beyond-end';
    if (!this.parts.bugs.pmdPteCollision) {
      // Whoever faulted beside us may have had something shown since we looked: an entry over
      // theirs would leave their page table behind, or hide what they stored.
      if (this.view.shownAt(this.filePage) !== shownBefore) return undefined;
      if (this.mayBeOwn(shownBefore) && !this.isDoubted()) return undefined;
      if (wish.isHuge && this.hasPagesAround()) return 'again';
    }
    const part = this.view.partAt(this.filePage)!;
    const held = { filePage: claim.filePage, pageCount: claim.endPage - claim.filePage };
    const found =
      this.parts.bugs.holeFaultRace && !this.isStore
        ? wish
        : this.look(inode, wish.isHuge, intersection(part, held));
    if (found.isHuge !== wish.isHuge || !claim.contains(this.lockRange(found))) return 'again';
    if (found.isPoisoned) return 'media-error';
    // An entry that we knew of is lost, and may have been of 2 MiB: now only pages can be shown.
    const isLost = this.request.kind === 'missing' && shownBefore !== 'none';
    if (isLost && !found.isHuge) this.view.split(this.filePage);
    if (!this.isStore) return yield* this.show(found);
    if (found.state !== 'written') return yield* this.allocate(found);
    return yield* this.makeStorable(found);
  }

  /** For a load, or a store to a private mapping: as it is, protected. */
  private *show(found: Found): Task<Outcome> {
    const { file, mapping } = this;
    const { window, isHuge, regionPage } = found;
    const isZero = found.state !== 'written';
    if (!this.isCopy) file.entries.insert({ ...window, isHuge }, isZero ? 'zero' : 'page');
    this.install(window, isZero ? 'zero' : 'region', isHuge);
    const backing = { ...window, regionPage: isZero ? ('zero' as const) : regionPage!, isHuge };
    const shown = this.parts.mmu.install(mapping, backing, false);
    if (!shown.isReady) yield shown;
    if (!isZero && mapping.isShared && this.isWanted()) this.catchStores(window, isHuge);
    return undefined;
  }

  /** A store into a hole or an unwritten extent. */
  private *allocate(found: Found): Task<Outcome> {
    const { parts, file } = this;
    const { fileData, region, bugs } = parts;
    const { isHuge } = found;
    let extent: Extent | undefined;
    if (found.state === 'hole') {
      try {
        extent = fileData.backHole(this.inode()!, found.window, isHuge);
      } catch (error) {
        return busErrorOf(error);
      }
      if (extent === undefined) return 'again-smaller';
    } else {
      extent = { ...found.window, regionPage: found.regionPage!, state: UNWRITTEN };
    }
    const window = { filePage: extent.filePage, pageCount: extent.pageCount };
    if (bugs.convertBeforeZero) {
      fileData.convert(this.inode()!, extent);
      parts.force();
    }
    yield { point: 'dax/fault allocate: zero the new pages', saw: extent };
    if (!this.isWanted()) return this.endEarly();
    try {
      region.zeroFlushed(extent.regionPage * PAGE_BYTES, extent.pageCount * PAGE_BYTES);
    } catch (error) {
      parts.endOperation();
      // Where one page of many is bad the others serve one by one.
      if (!bugs.zeroErrorIgnored) return window.pageCount > 1 ? 'again-smaller' : busErrorOf(error);
    }
    yield { point: 'dax/fault allocate: fence' };
    region.fence();
    yield { point: 'dax/fault allocate: take the zeroes away' };
    // Before write(2) can find the page written and store in place, which nobody here is told. Nobody
    // can show zeroes again: that needs the entry that is locked here.
    if (file.entries.hugeAt(window.filePage) === 'zero' && !isHuge) {
      const chunk = chunkAround(window.filePage);
      yield* file.zap(chunk, ['zero'], false);
      file.entries.remove(chunk.filePage, chunk.filePage + chunk.pageCount);
    } else {
      yield* file.zap(window, ['zero'], false);
    }
    yield { point: 'dax/fault allocate: convert' };
    if (!this.isWanted()) return this.endEarly();
    if (!bugs.faultNoCompletion && !bugs.convertBeforeZero) {
      fileData.convert(this.inode()!, extent);
    }
    file.runAhead.allocated(window);
    const error = this.beginStore();
    if (error !== undefined) return error;
    return yield* this.installStorable(window, extent.regionPage, isHuge);
  }

  /** A store to written pages: the page, or with a huge entry the 2 MiB, gets dirty. */
  private *makeStorable(found: Found): Task<Outcome> {
    const { file, view, mapping, filePage } = this;
    const { mmu } = this.parts;
    const { window, isHuge } = found;
    const regionPage = found.regionPage!;
    const page = { filePage, pageCount: 1 };
    const error = this.beginStore();
    if (error !== undefined) return error;
    if (this.request.kind === 'protected' && view.shownAt(filePage) === 'region') {
      file.entries.insert({ ...page, isHuge: false }, 'page');
      file.entries.markDirty(filePage);
      mmu.allowStores(mapping, view.isHugeAt(filePage) ? chunkAround(filePage) : page);
      return undefined;
    }
    if (isHuge || window.pageCount === 1) {
      return yield* this.installStorable(window, regionPage, isHuge);
    }
    // The neighbours are shown with it; a store to one of them is told, and costs no install.
    file.entries.insert({ ...window, isHuge }, 'page');
    this.install(window, 'region', false);
    const shown = mmu.install(mapping, { ...window, regionPage, isHuge }, false);
    if (!shown.isReady) yield shown;
    if (!this.isWanted()) return undefined;
    file.entries.markDirty(filePage);
    mmu.allowStores(mapping, page);
    this.catchStores(window, isHuge);
    return undefined;
  }

  /** The entry is dirty before the first store can be made. */
  private *installStorable(window: PageRange, regionPage: number, isHuge: boolean): Task<Outcome> {
    const { file, mapping } = this;
    yield { point: 'dax/fault installStorable: insert the entry' };
    if (!this.isWanted()) return undefined;
    file.entries.insert({ ...window, isHuge }, 'page');
    for (let page = window.filePage; page < window.filePage + window.pageCount; page++) {
      file.entries.markDirty(page);
      if (isHuge) break;
    }
    this.install(window, 'region', isHuge);
    const shown = this.parts.mmu.install(mapping, { ...window, regionPage, isHuge }, true);
    if (!shown.isReady) yield shown;
    if (this.isWanted()) this.catchStores(window, isHuge);
    return undefined;
  }

  /** About to be shown. */
  private install(window: PageRange, shown: 'zero' | 'region', isHuge: boolean): void {
    const collision = this.view.install(window, shown, isHuge);
    if (collision !== undefined) this.parts.collided(this.mapping, window, collision);
  }

  /** A store follows: times, the end of the operation, and for MAP_SYNC durable metadata. */
  private beginStore(): BusError | undefined {
    const { parts, mapping } = this;
    const inode = this.inode()!;
    parts.touched(inode);
    parts.endOperation();
    if (!mapping.isSync || parts.metadata.isSettled(inode)) return undefined;
    try {
      parts.force();
    } catch (error) {
      return busErrorOf(error);
    }
    return undefined;
  }

  /** What was allocated stays, unwritten. */
  private endEarly(): undefined {
    this.parts.endOperation();
    return undefined;
  }

  private catchStores(range: PageRange, isHuge: boolean): void {
    this.parts.mmu.catchStores(this.file.ino, range, true, isHuge);
  }

  /**
   * A page is told as missing although it was shown: the telling was on its way meanwhile, or the
   * program threw the page away itself. A shared page is shown once more, which changes nothing. A
   * private one may by now be the process's own, which must not be covered.
   */
  private mayBeOwn(shown: Shown): boolean {
    const { mapping, request } = this;
    return !mapping.isShared && request.kind === 'missing' && shown !== 'none' && shown !== 'bus';
  }

  /**
   * Whether the thread is sent to look again: while the page is on its way, and once after. When it
   * then comes back, and nobody showed the page since, the page is missing indeed.
   */
  private *isStale(): Task<boolean> {
    const { filePage, file, view, request } = this;
    if (file.locks.isHeld(filePage)) {
      file.locks.release(yield* file.locks.acquire({ filePage, pageCount: 1 }));
      return true;
    }
    if (this.isDoubted()) return false;
    view.doubt(filePage, request.thread);
    return true;
  }

  private isDoubted(): boolean {
    return this.view.isDoubted(this.filePage, this.request.thread);
  }

  private hasPagesAround(): boolean {
    const { file, view, filePage } = this;
    return file.entries.hasPagesAround(filePage) || view.hasPagesAround(filePage);
  }

  /** The pages whose entries a fault may make or change. */
  private lockRange(found: Found): PageRange {
    const { window, isHuge } = found;
    const allocates = this.isStore && found.state !== 'written';
    const isUnderZeroes = allocates && this.file.entries.hugeAt(window.filePage) === 'zero';
    return isHuge || isUnderZeroes ? chunkAround(window.filePage) : window;
  }

  private look(inode: Inode, mayBeHuge: boolean, within: PageRange): Found {
    const { view, file, filePage, isStore, aheadPages, isCopy, parts } = this;
    const store = { isStore, aheadPages, isCopy };
    const question = { inode, view, entries: file.entries, filePage, ...store, mayBeHuge, within };
    return lookUp(question, parts.metadata, parts.region);
  }

  private aheadPagesMax(): number {
    const pages = this.file.runAhead.pagesFor(this.filePage);
    return pages * FREE_PER_AHEAD > this.parts.allocator.freePages ? 1 : pages;
  }

  private inode(): Inode | undefined {
    return this.parts.metadata.inode(this.file.ino);
  }

  /** The page is still mapped, and no power cut came between. To be asked after every wait. */
  private isWanted(): boolean {
    return this.isCurrent() && this.view.partAt(this.filePage) !== undefined;
  }
}

/** A store allocates more than its own page where that is at most one in so many of those free. */
const FREE_PER_AHEAD = 64;

function chunkAround(filePage: number): PageRange {
  return { filePage: filePage - (filePage % PAGES_PER_HUGE), pageCount: PAGES_PER_HUGE };
}

/** Only operating errors have a place here; anything else is a bug and goes on. */
function busErrorOf(error: unknown): BusError {
  if (!(error instanceof Errno)) throw error;
  return error.code === 'EIO' ? 'media-error' : 'no-space';
}
