/**
 * A mounted filesystem: an open image, what the kernel references of it, and the rules every
 * operation shares (time, commit, references, what may change). The operations themselves are
 * functions over it, one file a group: namespace, attributes, content, directories, xattrs, ioctl.
 *
 * Everything runs synchronously on the one thread that owns the metadata.
 */
import assert from 'node:assert/strict';
import type { Session } from '../lib/addon/session.js';
import { Errno } from '../lib/errno.js';
import { IS_COMMITTED } from '../lib/frame.js';
import type { OpenImage } from '../lib/image.js';
import { type Inode, isDirectory, isRegular } from '../lib/metadata/inode.js';
import type { CommitReason, ForceKind } from '../lib/trace/event.js';
import { Clock, type Time } from './clock.js';
import type { Dax } from './dax/dax.js';
import { Faults } from './faults.js';
import { Growth } from './growth.js';
import { Nodes } from './nodes.js';
import type { MountOptions } from './options.js';
import { Sharing } from './sharing.js';
import { FS_SYNC_FL, FS_IMMUTABLE_FL, FS_APPEND_FL } from './inode_flags.js';

/** Who asks: ids as the kernel gives them. */
export interface Caller {
  uid: number;
  gid: number;
  pid: number;
}

/** Hears what was made durable, right after it was; see fs/recording.ts. */
export interface DurabilityLog {
  committed(reason: CommitReason): void;
  /** @param ino the file or directory that was named; 0 for all */
  forced(kind: ForceKind, ino: number): void;
}

/** Records in the running transaction beyond which the next operation commits it. */
const PENDING_RECORDS_MAX = 50_000;

export class Filesystem {
  readonly image: OpenImage;
  readonly options: MountOptions;
  readonly nodes = new Nodes();
  readonly faults = new Faults();
  readonly sharing: Sharing;
  readonly clock = new Clock();
  /** There where files can be mapped directly. */
  dax: Dax | undefined;
  /** Power cuts of which the kernel has not forgotten everything yet; see fs/crash.ts. */
  unsettledCuts = 0;
  readonly #growth: Growth;
  readonly #syncsNames: boolean;
  /** Inodes that the running operation changed and that its end must make durable. */
  readonly #syncDue = new Set<Inode>();
  readonly #log: DurabilityLog | undefined;
  /** Of the commit under way. */
  #reason: CommitReason = 'fsync';
  /** Commits since mount, by what asked for them. */
  readonly commits: Record<CommitReason, number> = { fsync: 0, timer: 0, limit: 0, space: 0 };

  constructor(image: OpenImage, options: MountOptions, log?: DurabilityLog) {
    this.image = image;
    this.options = options;
    this.#log = log;
    // First of all: what others do with the pages that a commit frees comes after it.
    if (log !== undefined) this.metadata.afterCommit.push(() => log.committed(this.#reason));
    this.#syncsNames = ['sync', 'dirsync'].some((word) => options.mountFlags.includes(word));
    const hasBugs = Object.values(options.bugs).some((isOn) => isOn);
    this.#growth = new Growth(image.metadata, image.allocator, !hasBugs);
    this.sharing = new Sharing(image.metadata, this.#growth, options.readOnly, {
      isDax: (ino) => {
        const node = this.nodes.get(ino);
        return node?.isDax === true && node.opens > 0;
      },
      isMapped: (ino) => this.dax?.isMapped(ino) ?? false,
      isCached: (ino) => this.nodes.get(ino)?.isCached === true,
    });
    image.fileData.mapPort = this.sharing;
    image.fileData.commit = () => void this.commit('space');
    if (options.canary) {
      this.metadata.afterCommit.push((released) => {
        for (const run of released) image.region.fillCanary(run.page, run.pageCount, run.ownerIno);
      });
    }
    if (!options.readOnly) this.#removeOrphans();
  }

  /**
   * A session serves it from here on. Where an fsync is a fence and a commit, and there is nothing to
   * be committed, nor can be without a word to TypeScript, the session is told so and answers by itself.
   *
   * @param reply of the session's frame
   */
  attach(session: Session, reply: Float64Array): void {
    this.clock.attach(session);
    this.sharing.attach(session);
    const { crashable, durable, readOnly } = this.options;
    // Elsewhere an fsync does more: it is recorded, fails while a cut settles, or syncs the host.
    const isPlain = this.#log === undefined && !crashable && !readOnly && durable === 'process';
    const { metadata, faults, sharing } = this;
    const tell = (isCommitted: boolean): void => {
      reply[IS_COMMITTED] = isPlain && isCommitted ? 1 : 0;
      if (!isCommitted) this.dax?.unsettle();
    };
    metadata.onDirty = () => tell(false);
    metadata.afterCommit.push(() => tell(this.isCommitted));
    this.#growth.onChange = () => tell(this.isCommitted);
    faults.onChange = () => {
      tell(this.isCommitted);
      sharing.watch(faults.watchesData);
      if (faults.watchesData) this.dax?.catchNoStores();
    };
    tell(this.isCommitted);
  }

  get metadata(): OpenImage['metadata'] {
    return this.image.metadata;
  }

  get data(): OpenImage['fileData'] {
    return this.image.fileData;
  }

  /** Nothing is to be committed, nor can be without a word to TypeScript; and no fault rule looks. */
  get isCommitted(): boolean {
    return !this.metadata.dirty && !this.#growth.hasRooms && !this.faults.armed;
  }

  now(): Time {
    return this.clock.now();
  }

  /** @throws {Errno} ESTALE when the kernel names an inode that a crash or removal took away */
  inode(ino: number): Inode {
    const inode = this.metadata.inode(ino);
    if (inode === undefined) throw new Errno('ESTALE', `inode ${ino} is gone`);
    return inode;
  }

  /** @throws {Errno} ENOTDIR, ESTALE */
  directory(ino: number): Inode {
    const inode = this.inode(ino);
    if (!isDirectory(inode)) throw new Errno('ENOTDIR', `inode ${ino}`);
    return inode;
  }

  /** @throws {Errno} EROFS */
  assertWritable(): void {
    if (this.options.readOnly) throw new Errno('EROFS', 'mounted read-only');
  }

  /** For changes of an inode's own contents or attributes. @throws {Errno} EROFS, EPERM */
  assertMutable(inode: Inode): void {
    this.assertWritable();
    if ((inode.flags & FS_IMMUTABLE_FL) !== 0) throw new Errno('EPERM', `${inode.ino}: immutable`);
  }

  /** For removal of a name: neither the directory nor the inode may be locked. @throws {Errno} */
  assertRemovable(parent: Inode, inode: Inode): void {
    this.assertMutable(parent);
    this.assertMutable(inode);
    if (((parent.flags | inode.flags) & FS_APPEND_FL) !== 0) {
      throw new Errno('EPERM', `${inode.ino}: append-only`);
    }
  }

  /** The end of one operation: its records are one atomic group of the running transaction. */
  endOperation(): void {
    this.metadata.endOperation();
    if (this.#syncDue.size > 0) {
      this.#commitSyncDue();
    } else if (this.metadata.pendingRecordCount > PENDING_RECORDS_MAX) {
      this.commit('limit');
    }
  }

  /**
   * The operation changes `inode`: when that is to be synchronous (chattr +S; for directories also
   * the mount options sync and dirsync), its end commits. Writes to a mount with `sync` need no help:
   * the kernel sends an fsync after them.
   */
  noteChange(inode: Inode): void {
    if ((inode.flags & FS_SYNC_FL) !== 0 || (this.#syncsNames && isDirectory(inode))) {
      this.#syncDue.add(inode);
    }
  }

  #commitSyncDue(): void {
    const inodes = [...this.#syncDue];
    this.#syncDue.clear();
    this.commit('fsync');
    for (const inode of inodes) this.forced(isDirectory(inode) ? 'fsyncdir' : 'osync', inode.ino);
  }

  /** What a program asked to be durable is. @param ino that it named; 0 for all */
  forced(kind: ForceKind, ino: number): void {
    this.#log?.forced(kind, ino);
  }

  /**
   * Makes everything done so far durable. Flushed lines are fenced before the metadata that shows
   * them is committed, so a crash in between leaves at most pages that nobody owns.
   *
   * @returns true when the running transaction held something
   * @throws {Errno} ENOSPC when the host's disk is full; the transaction stays and can be retried
   */
  commit(reason: CommitReason): boolean {
    assert(!this.options.readOnly, 'nothing to commit on a read-only mount');
    this.metadata.endOperation();
    this.sharing.collectTimes();
    this.#makeDataDurable();
    if (!this.metadata.dirty) return false;
    this.#reason = reason;
    this.metadata.commit();
    this.commits[reason] += 1;
    return true;
  }

  /** fdatasync: as commit, but times alone are not worth a transaction. */
  commitData(): void {
    // A task that waited may find rooms that others were given meanwhile.
    this.sharing.collectGrowth();
    if (this.metadata.dirty) this.commit('fsync');
    else this.#makeDataDurable();
  }

  #makeDataDurable(): void {
    this.image.region.fence();
    if (this.options.durable === 'host') this.image.region.syncHost();
  }

  /** The kernel took a reference. The inode itself may leave memory; it is loaded when asked for. */
  reference(inode: Inode, parentIno: number, name: string): void {
    this.nodes.looked(inode.ino, parentIno, name);
  }

  /** One more open description: what is open stays in memory. */
  opened(ino: number): void {
    const node = this.nodes.get(ino);
    if (node === undefined) return;
    if (node.opens === 0) {
      this.metadata.pin(ino);
      node.isDax = this.dax?.opensAsDax(this.inode(ino)) ?? false;
      // A DAX open drops what was cached before.
      node.isCached = false;
    }
    node.opens += 1;
  }

  /** One less. True when it was the last. */
  closed(ino: number): boolean {
    const node = this.nodes.get(ino);
    if (node === undefined || node.opens === 0) return false;
    node.opens -= 1;
    if (node.opens > 0) return false;
    this.sharing.drop(ino);
    this.metadata.unpin(ino);
    return true;
  }

  /** FORGET. The last reference to an inode without names removes it. */
  forget(ino: number, count: number): void {
    if (this.nodes.forget(ino, count) === undefined) return;
    this.sharing.drop(ino);
    const inode = this.metadata.inode(ino);
    if (inode === undefined || inode.nlink > 0 || this.options.readOnly) return;
    const remove = (): void => {
      this.metadata.removeInode(inode);
      this.endOperation();
    };
    if (this.dax?.isMapped(ino) === true) this.dax.whenNotShown(ino, remove);
    else remove();
  }

  /** Gives the pages of a file without names back as soon as nobody can read them. */
  freeUnreachable(inode: Inode): void {
    const opens = this.nodes.get(inode.ino)?.opens ?? 0;
    if (inode.nlink > 0 || opens > 0 || !isRegular(inode)) return;
    // Of a process that is ending: forget() waits until nobody is shown the pages.
    if (this.dax?.isMapped(inode.ino) === true) return;
    this.data.free(inode);
  }

  /** Inodes that lost their last name but were open when the power went. */
  #removeOrphans(): void {
    const orphans = this.metadata.orphans();
    for (const ino of orphans) this.metadata.removeInode(this.inode(ino));
    if (orphans.length > 0) this.commit('limit');
  }

  /**
   * The mount is gone, perhaps with files open in it: nobody reaches what has no name any more, and
   * an image closed in order holds nothing of that kind.
   */
  finish(): void {
    this.sharing.dropAll();
    this.#removeOrphans();
    this.commit('timer');
  }

  /** After a power cut in place: what recovery at mount would do. */
  recover(): void {
    this.#removeOrphans();
  }
}
