/**
 * The live inode objects. One object per inode exists at a time and callers compare and keep them;
 * an object dies (`live` false) when it is removed, evicted or rolled back, and using it after that
 * is a bug that Metadata asserts on. Inodes that are pinned or hold unsaved changes stay; of the
 * others at least the RECENT_LOADS_KEPT last used stay, so that an operation never loses one it
 * holds in a local variable.
 */
import type { ExtentList } from '../space/extent_list.js';
import type { Inode, InodeFields } from './inode.js';

/** Clean, unpinned inodes are thrown out when more than this many are cached. */
export const CACHED_INODES_MAX = 16_384;
const RECENT_LOADS_KEPT = 1024;

export class CachedInode implements Inode {
  readonly ino: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  rdev: number;
  sizeBytes: number;
  flags: number;
  projectId: number;
  atimeSec: number;
  atimeNsec: number;
  mtimeSec: number;
  mtimeNsec: number;
  ctimeSec: number;
  ctimeNsec: number;
  btimeSec: number;
  btimeNsec: number;
  parentIno: number;
  target: string | null;

  live = true;
  /** Fields or extents differ from the last commit. */
  dirty = false;
  /** The running transaction changes neither its existence nor its size nor its extents. */
  isSettled = true;
  /** A row exists, as far as the running transaction sees. */
  hasRow: boolean;
  /** Whether xattr rows exist; undefined when nobody looked. */
  hasXattrs: boolean | undefined;
  /** Loaded lazily. */
  extents: ExtentList | undefined = undefined;
  lastUse = 0;

  constructor(ino: number, fields: InodeFields, hasRow: boolean) {
    this.ino = ino;
    this.mode = fields.mode;
    this.uid = fields.uid;
    this.gid = fields.gid;
    this.nlink = fields.nlink;
    this.rdev = fields.rdev;
    this.sizeBytes = fields.sizeBytes;
    this.flags = fields.flags;
    this.projectId = fields.projectId;
    this.atimeSec = fields.atimeSec;
    this.atimeNsec = fields.atimeNsec;
    this.mtimeSec = fields.mtimeSec;
    this.mtimeNsec = fields.mtimeNsec;
    this.ctimeSec = fields.ctimeSec;
    this.ctimeNsec = fields.ctimeNsec;
    this.btimeSec = fields.btimeSec;
    this.btimeNsec = fields.btimeNsec;
    this.parentIno = fields.parentIno;
    this.target = fields.target;
    this.hasRow = hasRow;
    this.hasXattrs = hasRow ? undefined : false;
  }
}

export class InodeCache {
  private readonly inodes = new Map<number, CachedInode>();
  private readonly pins = new Map<number, number>();
  private loads = 0;
  private evictAtCount = CACHED_INODES_MAX;

  /** @param evicts false keeps every inode (for bugs that show only after a crash) */
  constructor(private readonly evicts: boolean) {}

  get size(): number {
    return this.inodes.size;
  }

  get(ino: number): CachedInode | undefined {
    const inode = this.inodes.get(ino);
    if (inode !== undefined) inode.lastUse = this.loads;
    return inode;
  }

  add(inode: CachedInode): void {
    this.loads++;
    inode.lastUse = this.loads;
    this.inodes.set(inode.ino, inode);
    if (this.evicts && this.inodes.size > this.evictAtCount) this.evict();
  }

  remove(inode: CachedInode): void {
    inode.live = false;
    this.inodes.delete(inode.ino);
  }

  /** Forgets every object; pins stay with their inode numbers. */
  clear(): void {
    for (const inode of this.inodes.values()) inode.live = false;
    this.inodes.clear();
    this.evictAtCount = CACHED_INODES_MAX;
  }

  pin(ino: number): void {
    this.pins.set(ino, (this.pins.get(ino) ?? 0) + 1);
  }

  /** @returns false when the inode was not pinned */
  unpin(ino: number): boolean {
    const count = this.pins.get(ino);
    if (count === undefined) return false;
    if (count === 1) this.pins.delete(ino);
    else this.pins.set(ino, count - 1);
    return true;
  }

  /** One pass over all; the next comes only after the cache doubled, so it costs O(1) a load. */
  private evict(): void {
    for (const inode of this.inodes.values()) {
      const recent = inode.lastUse + RECENT_LOADS_KEPT > this.loads;
      if (!recent && !inode.dirty && !this.pins.has(inode.ino)) this.remove(inode);
    }
    this.evictAtCount = Math.max(CACHED_INODES_MAX, 2 * this.inodes.size);
  }
}
