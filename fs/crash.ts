/**
 * The power cut by hand: the mount and all open descriptors stay, what was not durable goes. The
 * state is cut at one instant, synchronously; then the kernel is told to forget what it caches,
 * and only when it has is the crash answered. Page-cache pages that were never written back are
 * lost with the power, so their writebacks are thrown away meanwhile.
 *
 * A `seed` decides two things: whether the running transaction's timer had fired just before the
 * power went, and, line by line, what each undecided line holds.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Errno } from '../lib/errno.js';
import type { MetadataRecord } from '../lib/metadata/records.js';
import type { Session } from '../lib/addon/session.js';
import type { CrashCount, Keep } from '../lib/region.js';
import type { Filesystem } from './filesystem.js';

/** What is answered to calls that a power cut overtakes. */
export const POWER_CUT = new Errno('EIO', 'power cut').errno;

export interface CrashReport extends CrashCount {
  keep: string;
  /** Operations of the running transaction when the power went. */
  undecidedOperations: number;
  /** Of those, operations that survived: the commit timer had fired just before. */
  keptOperations: number;
  /** Names that changed hands in those operations. */
  lostNames: string[];
  /** Inodes the kernel still refers to that no longer exist; their descriptors answer ESTALE. */
  staleInodes: number;
}

/** What whoever answers requests needs in order to cut the power with one. */
export interface PowerSwitch {
  /** Cuts before it returns; resolves when the kernel has forgotten what it cached. */
  crash(keep: Keep): Promise<unknown>;
  /** Something that cannot be answered for went wrong: stop the mount with the reason. */
  failed(error: unknown): void;
}

/**
 * For an fsync or msync that was under way to come to its end, and to EIO: its writes went before the
 * cut, or were thrown away after it.
 */
const UNDER_WAY_MS = 20;

const NAME_RECORDS = new Set(['add-name', 'remove-name', 'replace-name']);
const LOST_NAMES_MAX = 1000;

interface LostName {
  parentIno: number;
  name: string;
}

interface Cut {
  report: CrashReport;
  names: LostName[];
  /** Takes back what processes are shown of before the cut. */
  afterCut: (() => Promise<void>) | undefined;
}

/** Names and operations of the running transaction, so that a crash can say what it took. */
export class Pending {
  readonly names: LostName[] = [];
  operations = 0;
  #empty = true;

  note(record: MetadataRecord): void {
    if (record.type === 'end-operation') {
      if (!this.#empty) this.operations += 1;
      this.#empty = true;
      return;
    }
    this.#empty = false;
    if (NAME_RECORDS.has(record.type) && 'name' in record && 'parentIno' in record) {
      this.names.push({ parentIno: record.parentIno, name: record.name });
    }
  }

  clear(): void {
    this.names.length = 0;
    this.operations = 0;
    this.#empty = true;
  }
}

export class Power {
  readonly #fs: Filesystem;
  readonly #pending = new Pending();
  #session: Session | undefined;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(fs: Filesystem) {
    this.#fs = fs;
    if (!fs.options.crashable) return;
    fs.image.region.trackUndecided();
    fs.metadata.sink = (record) => this.#pending.note(record);
    fs.metadata.afterCommit.push(() => this.#pending.clear());
  }

  attach(session: Session): void {
    this.#session = session;
  }

  /**
   * Cuts the power and answers when no process can see anything from before.
   * @throws {Errno} EOPNOTSUPP when the mount is not crashable
   */
  crash(keep: Keep): Promise<CrashReport> {
    if (!this.#fs.options.crashable) {
      throw new Errno('EOPNOTSUPP', 'mounted without -o crashable');
    }
    const report = this.#cut(keep);
    // What mappings show is taken back at once, not after the kernel forgot an earlier cut.
    const zapped = report.afterCut?.();
    const settled = this.#busy.then(() => this.#settle(report.names, zapped));
    this.#busy = settled.catch(() => undefined);
    return settled.then(() => report.report);
  }

  /** The instant itself. Nothing of the kernel's is asked; everything after it is new. */
  #cut(keep: Keep): Cut {
    const fs = this.#fs;
    fs.sharing.collectTimes();
    fs.metadata.endOperation();
    const names = [...this.#pending.names];
    const undecidedOperations = this.#pending.operations;
    let keptOperations = 0;
    // May fail on a full host disk: then nothing was cut.
    if (keep.keep === 'all' || (keep.keep === 'seed' && timerFired(keep.seed))) {
      fs.commit('timer');
      keptOperations = undecidedOperations;
    }
    const afterCut = fs.dax?.beforeCut();
    this.#session?.discardWriteback(true);
    fs.unsettledCuts += 1;
    fs.sharing.forgetAll();
    fs.metadata.rollback();
    this.#pending.clear();
    const count = fs.image.region.crash(keep);
    fs.recover();
    const gone = keptOperations === undecidedOperations ? [] : names;
    const lost = gone.map(({ parentIno, name }) => fs.nodes.pathOf(parentIno, name));
    let staleInodes = 0;
    for (const node of fs.nodes.all()) {
      if (fs.metadata.inode(node.ino) === undefined) staleInodes += 1;
    }
    assert.equal(fs.metadata.dirty, false, 'nothing is pending after a crash');
    const report: CrashReport = {
      ...count,
      keep: keep.keep === 'seed' ? `seed:${keep.seed}` : keep.keep,
      undecidedOperations,
      keptOperations,
      lostNames: [...new Set(lost)].slice(0, LOST_NAMES_MAX),
      staleInodes,
    };
    return { report, names, afterCut };
  }

  /** Makes the kernel forget: pages and attributes of every inode, and the names that changed. */
  async #settle(names: readonly LostName[], zapped: Promise<void> | undefined): Promise<void> {
    const session = this.#session;
    if (session === undefined) {
      this.#fs.unsettledCuts -= 1;
      return;
    }
    for (const { parentIno, name } of names) session.invalidateEntry(parentIno, name);
    for (const node of this.#fs.nodes.all()) {
      session.invalidateInode(node.ino, 0, 0); // of a directory, the pages are its listing
    }
    await Promise.all([session.notificationsDone(), zapped]);
    await sleep(UNDER_WAY_MS);
    this.#fs.unsettledCuts -= 1;
    // A cut that came meanwhile still has pages to lose.
    if (this.#fs.unsettledCuts === 0) session.discardWriteback(false);
  }
}

/** Half of all seeds: the commit timer fired just before the power went. */
function timerFired(seed: number): boolean {
  const mixed = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b);
  return ((mixed ^ (mixed >>> 13)) & 1) === 1;
}
