/**
 * The DAX engine: what mappings of files show, and when. It serves page faults as the kernel's
 * fs/dax.c does over a real filesystem, knows which pages programs stored to, writes them back, and
 * takes pages away from mappings before they are freed. Mappings are reached through one port
 * (mmu.ts): processes in the daemon, simulated ones in the race lab and in tests.
 *
 * All of it runs on the thread that owns the filesystem. Whatever waits is a task (task.ts) that the
 * caller steps, in any order with others; between two steps a task is alone. A task that is not
 * wanted any more may be ended with return(): it lets go of what it holds. No timers, no clock, no
 * chance, no state outside of the object.
 *
 * Pages count 4 KiB, of files or of the region as the name says; a PageRange may end at Infinity.
 */
import assert from 'node:assert/strict';
import type { Inode } from '../metadata/inode.js';
import type { Metadata } from '../metadata/metadata.js';
import type { Region } from '../region.js';
import type { Allocator } from '../space/allocator.js';
import type { BugSwitches } from './bugs.js';
import { changeMap } from './change.js';
import { DaxFile, WHOLE_FILE } from './dax_file.js';
import type { Entries, EntryCounts } from './entries.js';
import { Fault } from './fault.js';
import type { FileData } from './file_data.js';
import type { Entrant } from './gate.js';
import type { FaultKind, FaultTask, Mapping, Mmu, PageRange } from './mmu.js';
import type { Task } from './task.js';
import { type Collision, SHOWN, View } from './view.js';
import { writeBack } from './writeback.js';

export interface EngineParts {
  region: Region;
  metadata: Metadata;
  allocator: Allocator;
  fileData: FileData;
  mmu: Mmu;
  bugs: Readonly<BugSwitches>;
  /** What a store into a hole or an unwritten extent allocates at most, when stores come in order. */
  aheadPagesMax: number;
  /**
   * Makes everything so far durable (fence and commit), for MAP_SYNC.
   * @throws {Errno} the store cannot be promised then, and the fault ends in SIGBUS
   */
  force(): void;
  /** The metadata changes of one fault are one operation. */
  endOperation(): void;
  /**
   * Entries of a page table are about to stand where others of the other size do: a bug, and counted as
   * the kernel counts page tables and pages that no walk finds when a process exits.
   */
  collided(mapping: Mapping, range: PageRange, collision: Collision): void;
  /** A store is about to be made: mtime, ctime. Those of caught stores are whoever's catches them. */
  touched(inode: Inode): void;
}

/** What the engine has of one file, for a person. */
export interface Inspection {
  mappings: number;
  entries: EntryCounts;
  gate: { sharedCount: number; isExclusive: boolean; waitingCount: number };
  locks: { filePage: number; pageCount: number; isHeld: boolean }[];
}

export class DaxEngine {
  private readonly files = new Map<number, DaxFile>();
  /** Power cuts so far: what a task found before the last one is not so any more. */
  private cuts = 0;

  constructor(private readonly parts: EngineParts) {}

  /**
   * A new mapping, which shows nothing yet: all its faults come as `missing`.
   * @param hasOwn a private one of a child of fork, which may have pages of its own from its parent
   */
  attach(mapping: Mapping, hasOwn = false): void {
    let file = this.files.get(mapping.ino);
    if (file === undefined) {
      file = new DaxFile(mapping.ino, this.parts.mmu, this.parts.aheadPagesMax);
      this.files.set(mapping.ino, file);
    }
    assert(file.viewOf(mapping) === undefined, `mapping ${mapping.id} is attached`);
    const view = new View(mapping);
    if (hasOwn && !mapping.isShared) view.mark(mapping, 'own');
    file.views.set(mapping.id, view);
  }

  /**
   * That part of a mapping is gone already: unmapped, mapped over, or its process died. What was
   * stored through it stays dirty. Faults in it end without a page.
   */
  detach(mapping: Mapping, range: PageRange): void {
    const file = this.files.get(mapping.ino);
    const view = file?.viewOf(mapping);
    if (file === undefined || view === undefined) return;
    if (view.detach(range)) return;
    file.views.delete(mapping.id);
    if (file.views.size === 0) file.takeDirtied();
    this.dropIdle(file);
  }

  /**
   * Whether the file is mapped, or was and holds stores that are not written back: its sync has to
   * call writeback(), and what changes its map or size has to go through change().
   */
  isMapped(ino: number): boolean {
    return this.files.has(ino);
  }

  /**
   * Serves a fault. Afterwards the thread is to be let go on: the page is there, or it faults again.
   * With an error the caller shows SIGBUS at the page first, until it is zapped; for what may pass
   * (no-space, media-error) it may show a trap again itself.
   *
   * @param thread tells threads of the process apart
   */
  *fault(
    mapping: Mapping,
    filePage: number,
    kind: FaultKind,
    isWrite: boolean,
    thread = 0,
  ): FaultTask {
    const file = this.files.get(mapping.ino);
    const view = file?.viewOf(mapping);
    if (file === undefined || view === undefined) return undefined;
    const { cuts } = this;
    const request = { mapping, filePage, kind, isWrite, thread };
    const fault = new Fault(this.parts, file, view, request, () => this.cuts === cuts);
    try {
      return yield* fault.serve();
    } finally {
      this.dropIdle(file);
    }
  }

  /**
   * Flushes and fences what mappings stored to entries that touch the range, and write-protects them
   * so that the next store is noted again. The caller commits. Does not wait for processes.
   */
  *writeback(ino: number, range: PageRange): Task<void> {
    const file = this.files.get(ino);
    if (file === undefined) return;
    try {
      yield* writeBack(this.parts, file, range);
    } finally {
      this.dropIdle(file);
    }
  }

  /**
   * Nothing of the metadata is to be committed: when nothing of the file is dirty either, a sync of
   * it need not come here, until unsettled().
   */
  settle(ino: number): void {
    const file = this.files.get(ino);
    if (file?.isQuiet === true) this.parts.mmu.settled(ino);
  }

  /** The metadata has something to be committed again: to be said before whoever changed it knows. */
  unsettle(): void {
    this.parts.mmu.unsettled();
  }

  /**
   * Runs `apply`, which changes the map, the state or the size of a file inside the range, while no
   * mapping shows a page of the range and none can get one. For collapse and insert the range goes
   * on to Infinity. When the file grows, what showed SIGBUS beyond its end is looked at again.
   *
   * @param range pages that are freed, moved, or get another state. Pages of which only parts are
   * zeroed in place need not be in it
   * @param dropOwn private copies of the pages go too: truncate, with whole pages only. Otherwise those
   * beyond the end go when the file has become shorter
   * @throws what `apply` throws
   */
  *change<T>(ino: number, range: PageRange, dropOwn: boolean, apply: () => T): Task<T> {
    const file = this.files.get(ino);
    if (file === undefined) return apply();
    try {
      return yield* changeMap(this.parts, file, { range, dropOwn, apply });
    } finally {
      this.dropIdle(file);
    }
  }

  /** The inode is gone, and with it every mapping. */
  forget(ino: number): void {
    const file = this.files.get(ino);
    if (file === undefined) return;
    assert(file.views.size === 0, `inode ${ino} is mapped`);
    this.parts.mmu.catchStores(ino, WHOLE_FILE, false, false);
    this.parts.mmu.takeDirtied(ino);
    this.files.delete(ino);
  }

  /**
   * After a power cut: at the call, before any step, no store goes through untold any more, no fault
   * begins, and tasks that are under way end without effect; after the task, which must be run to its
   * end, nothing is shown and there are no entries.
   */
  reset(): Task<void> {
    this.cuts++;
    const { mmu } = this.parts;
    const files = [...this.files.values()];
    for (const file of files) {
      mmu.catchStores(file.ino, WHOLE_FILE, false, false);
      for (const view of file.views.values()) {
        for (const run of view.runs(WHOLE_FILE, ['region'])) mmu.protect(view.mapping, run);
      }
      mmu.takeDirtied(file.ino);
      file.entries.remove(0, Infinity);
    }
    return this.zapAll(files.map((file) => ({ file, place: file.gate.queueUp('exclusive') })));
  }

  /** Whether any of the pages has an entry, or a mapping shows it or SIGBUS there. */
  isShown(ino: number, range: PageRange): boolean {
    const file = this.files.get(ino);
    if (file === undefined) return false;
    if (file.entries.hasAny(range.filePage, range.filePage + range.pageCount)) return true;
    return [...file.views.values()].some((view) => view.runs(range, SHOWN).length > 0);
  }

  /** Whether the entry of a page is dirty, as far as stores were told. */
  isDirty(ino: number, filePage: number): boolean {
    return this.files.get(ino)?.entries.isDirty(filePage) ?? false;
  }

  /** Files that are mapped, or hold stores that are not written back. */
  get inos(): number[] {
    return [...this.files.keys()];
  }

  inspect(ino: number): Inspection | undefined {
    const file = this.files.get(ino);
    if (file === undefined) return undefined;
    const { views, entries, gate, locks } = file;
    return {
      mappings: views.size,
      entries: entries.counts(),
      gate: gate.state,
      locks: locks.state,
    };
  }

  /** The entries of a file, for a person. */
  entries(ino: number): ReturnType<Entries['all']> {
    return this.files.get(ino)?.entries.all() ?? [];
  }

  /** All that is kept, as text: the same text, the same state (but for where tasks stand). */
  text(): string {
    const lines: string[] = [];
    for (const [ino, file] of [...this.files].sort(([a], [b]) => a - b)) {
      const { gate, locks, writebackTurn, entries, views, runAhead } = file;
      const turns = JSON.stringify([gate.state, locks.state, writebackTurn.state]);
      lines.push(`inode ${ino} ${turns} ${entries.text()} ahead ${runAhead.text}`);
      for (const [id, view] of views) lines.push(`mapping ${id} ${view.text()}`);
    }
    return lines.join('\n');
  }

  private *zapAll(waiting: readonly { file: DaxFile; place: Entrant }[]): Task<void> {
    for (const { file, place } of waiting) {
      yield* file.gate.wait(place);
      try {
        yield* file.zap(WHOLE_FILE, ['zero', 'region', 'bus'], false);
        file.entries.remove(0, Infinity);
        this.parts.mmu.takeDirtied(file.ino);
      } finally {
        file.gate.leave('exclusive');
      }
      this.dropIdle(file);
    }
  }

  private dropIdle(file: DaxFile): void {
    if (!file.isIdle || this.files.get(file.ino) !== file) return;
    this.parts.mmu.catchStores(file.ino, WHOLE_FILE, false, false);
    this.files.delete(file.ino);
  }
}
