/**
 * One request of the native session becomes one call of an operation: numbers out of the frame,
 * the operation, numbers into the frame (lib/frame.ts). The only place where an Errno becomes a
 * FUSE error. Called on the filesystem's thread, synchronously; nothing here may wait.
 */
import { Errno } from '../lib/errno.js';
import {
  DEFERRED,
  FRAME_SLOTS,
  NO_REPLY,
  OP,
  Q,
  REPLY,
  REQUEST,
  STATFS_REPLY,
} from '../lib/frame.js';
import { type Inode, isDirectory, isRegular, S_IFDIR, S_IFLNK } from '../lib/metadata/inode.js';
import { encodeName } from '../lib/name_codec.js';
import type { Session } from '../lib/native.js';
import type { Keep } from '../lib/region.js';
import { LINE_BYTES, PAGE_BYTES, pageOf, pagesFor } from '../lib/units.js';
import { type AttributeChange, getattr, setattr, statfs } from './attributes.js';
import * as content from './content.js';
import { readdir } from './directories.js';
import type { FaultAction, FaultOp } from './faults.js';
import type { Caller, Filesystem } from './filesystem.js';
import { ioctl } from './ioctl.js';
import * as namespace from './namespace.js';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.js';

/** The kernel may keep attributes and names: only we change them, and we say so when we do. */
const FOREVER_SEC = 1e9;

const FOPEN_DIRECT_IO = 1 << 0;
const FOPEN_KEEP_CACHE = 1 << 1;
const FOPEN_NOFLUSH = 1 << 5;
const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;
const O_DIRECT = 0o40000;

const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;
const FATTR_ATTRIBUTES =
  FATTR.MODE | FATTR.UID | FATTR.GID | FATTR.SIZE | FATTR.ATIME | FATTR.MTIME | FATTR.CTIME;
const FUSE_OPEN_KILL_SUIDGID = 1;
const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
const FUSE_FSYNC_FDATASYNC = 1;
const FUSE_SETXATTR_ACL_KILL_SGID = 1;
const FAULT_CRASH_ERRNO = 5; // EIO: the caller's machine died under it

/** What dispatch needs from whoever can cut the power; see fs/crash.ts. */
export interface PowerSwitch {
  /** Cuts before it returns; resolves when the kernel has forgotten what it cached. */
  crash(keep: Keep): Promise<unknown>;
  /** A crash armed by a rule went wrong: stop the mount with the reason. */
  failed(error: unknown): void;
}

export class Dispatch {
  readonly request = new Float64Array(FRAME_SLOTS);
  readonly reply = new Float64Array(FRAME_SLOTS);
  readonly #fs: Filesystem;
  readonly #power: PowerSwitch;
  readonly #operations: Operation[] = [];
  #session: Session | undefined;
  #caller: Caller = { uid: 0, gid: 0, pid: 0 };

  constructor(fs: Filesystem, power: PowerSwitch) {
    this.#fs = fs;
    this.#power = power;
    for (const [opcode, run] of Object.entries(this.#table()))
      this.#operations[Number(opcode)] = run;
  }

  attach(session: Session): void {
    this.#session = session;
  }

  get #wire(): Session {
    if (this.#session === undefined) throw new Error('dispatch before the session was attached');
    return this.#session;
  }

  /** The session's handler; see lib/frame.ts for what the returned number means. */
  handle(opcode: number, name: string | undefined, name2: string | undefined): number {
    const operation = this.#operations[opcode];
    if (operation === undefined) return new Errno('ENOSYS', `opcode ${opcode}`).errno;
    try {
      this.#caller = {
        uid: this.#in(Q.uid),
        gid: this.#in(Q.gid),
        pid: this.#in(Q.pid),
      };
      if (this.#fs.faults.armed) return this.#withFaults(opcode, operation, name, name2);
      return operation(this.#in(Q.nodeid), name ?? '', name2 ?? '');
    } catch (error) {
      if (error instanceof Errno) return error.errno;
      throw error;
    }
  }

  #in(slot: number): number {
    return this.request[slot] as number;
  }

  // ---- answers ----------------------------------------------------------------------------

  #attributes(inode: Inode): number {
    const { reply } = this;
    reply[REPLY.attrTimeoutSec] = FOREVER_SEC;
    reply[REPLY.ino] = inode.ino;
    reply[REPLY.size] = isDirectory(inode) ? PAGE_BYTES : inode.sizeBytes;
    reply[REPLY.blocks] = isRegular(inode) ? this.#fs.metadata.extents(inode).pageCount * 8 : 0;
    reply[REPLY.mode] = inode.mode;
    reply[REPLY.nlink] = inode.nlink;
    reply[REPLY.uid] = inode.uid;
    reply[REPLY.gid] = inode.gid;
    reply[REPLY.rdev] = inode.rdev;
    reply[REPLY.blksize] = PAGE_BYTES;
    reply[REPLY.atimeSec] = inode.atimeSec;
    reply[REPLY.atimeNsec] = inode.atimeNsec;
    reply[REPLY.mtimeSec] = inode.mtimeSec;
    reply[REPLY.mtimeNsec] = inode.mtimeNsec;
    reply[REPLY.ctimeSec] = inode.ctimeSec;
    reply[REPLY.ctimeNsec] = inode.ctimeNsec;
    reply[REPLY.btimeSec] = inode.btimeSec;
    reply[REPLY.btimeNsec] = inode.btimeNsec;
    return 0;
  }

  /** An entry reply: the kernel now holds one more reference to the inode. */
  #entry(inode: Inode, parentIno: number, name: string): number {
    this.#fs.reference(inode, parentIno, name);
    return this.#entryNumbers(inode);
  }

  #entryNumbers(inode: Inode): number {
    this.reply[REPLY.nodeid] = inode.ino;
    this.reply[REPLY.generation] = 1;
    this.reply[REPLY.entryTimeoutSec] = FOREVER_SEC;
    return this.#attributes(inode);
  }

  #openReply(flags: number): number {
    const direct = (flags & O_DIRECT) !== 0;
    this.reply[REPLY.fh] = 0;
    this.reply[REPLY.openFlags] = direct
      ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH
      : FOPEN_KEEP_CACHE | FOPEN_NOFLUSH;
    return 0;
  }

  #value(value: number): number {
    this.reply[REPLY.value] = value;
    return 0;
  }

  #bytes(bytes: Uint8Array): number {
    this.#wire.replyBytes.set(bytes);
    return this.#value(bytes.length);
  }

  /** GETXATTR and LISTXATTR: size 0 asks how much there is. */
  #sized(bytes: Uint8Array): number {
    const room = this.#in(REQUEST.getxattr.size);
    this.reply[REPLY.isSize] = room === 0 ? 1 : 0;
    if (room === 0) return this.#value(bytes.length);
    if (bytes.length > room) throw new Errno('ERANGE', `${bytes.length} bytes`);
    return this.#bytes(bytes);
  }

  #payload(start: number, lengthBytes: number): Uint8Array {
    return this.#wire.requestBytes.subarray(start, start + lengthBytes);
  }

  // ---- operations -------------------------------------------------------------------------

  #table(): Record<number, Operation> {
    return { ...this.#nameTable(), ...this.#contentTable(), ...this.#restTable() };
  }

  #nameTable(): Record<number, Operation> {
    const fs = this.#fs;
    return {
      [OP.LOOKUP]: (ino, name) => {
        const inode = namespace.lookup(fs, ino, name);
        if (inode !== undefined) {
          fs.sharing.collectTimes(inode.ino);
          return this.#entry(inode, ino, name);
        }
        this.reply[REPLY.nodeid] = 0;
        this.reply[REPLY.entryTimeoutSec] = FOREVER_SEC;
        return 0;
      },
      [OP.FORGET]: () => {
        const { count, pairs } = REQUEST.forget;
        for (let index = 0; index < this.#in(count); index += 1) {
          fs.forget(this.#in(pairs + index * 2), this.#in(pairs + index * 2 + 1));
        }
        return NO_REPLY;
      },
      [OP.MKNOD]: (ino, name) => {
        const { mode, rdev, umask } = REQUEST.mknod;
        const wish = { mode: this.#in(mode), umask: this.#in(umask), rdev: this.#in(rdev) };
        return this.#entry(namespace.create(fs, this.#caller, ino, name, wish), ino, name);
      },
      [OP.MKDIR]: (ino, name) => {
        const { mode, umask } = REQUEST.mkdir;
        const wish = { mode: (this.#in(mode) & 0o7777) | S_IFDIR, umask: this.#in(umask) };
        return this.#entry(namespace.create(fs, this.#caller, ino, name, wish), ino, name);
      },
      [OP.SYMLINK]: (ino, name, target) => {
        const wish = { mode: S_IFLNK | 0o777, umask: 0, target };
        return this.#entry(namespace.create(fs, this.#caller, ino, name, wish), ino, name);
      },
      [OP.LINK]: (ino, name) => {
        return this.#entry(
          namespace.link(fs, this.#in(REQUEST.link.oldnodeid), ino, name),
          ino,
          name,
        );
      },
      [OP.UNLINK]: (ino, name) => done(namespace.unlink(fs, ino, name)),
      [OP.RMDIR]: (ino, name) => done(namespace.rmdir(fs, ino, name)),
      [OP.RENAME]: (ino, name, name2) => this.#rename(ino, name, name2, 0),
      [OP.RENAME2]: (ino, name, name2) =>
        this.#rename(ino, name, name2, this.#in(REQUEST.rename.flags)),
      [OP.CREATE]: (ino, name) => {
        const { flags, mode, umask } = REQUEST.create;
        const wish = { mode: this.#in(mode), umask: this.#in(umask) };
        const inode = namespace.create(fs, this.#caller, ino, name, wish);
        this.#entry(inode, ino, name);
        content.opened(fs, inode.ino);
        return this.#openReply(this.#in(flags));
      },
      [OP.TMPFILE]: (ino) => {
        const { flags, mode, umask } = REQUEST.create;
        const wish = { mode: this.#in(mode), umask: this.#in(umask) };
        const inode = namespace.createUnnamed(fs, this.#caller, ino, wish);
        this.#entry(inode, ino, `#${inode.ino}`);
        content.opened(fs, inode.ino);
        return this.#openReply(this.#in(flags));
      },
    };
  }

  #rename(ino: number, name: string, name2: string, flags: number): number {
    const to = { parentIno: this.#in(REQUEST.rename.newdir), name: name2 };
    namespace.rename(this.#fs, { parentIno: ino, name }, to, flags);
    return 0;
  }

  #contentTable(): Record<number, Operation> {
    const fs = this.#fs;
    return {
      [OP.OPEN]: (ino) => {
        const { flags, openFlags } = REQUEST.open;
        const kill = (this.#in(openFlags) & FUSE_OPEN_KILL_SUIDGID) !== 0;
        content.open(fs, ino, this.#in(flags), kill);
        return this.#openReply(this.#in(flags));
      },
      [OP.RELEASE]: (ino) => done(content.release(fs, ino)),
      [OP.READ]: (ino) => {
        const { offset, size } = REQUEST.read;
        const target = this.#wire.replyBytes.subarray(0, this.#in(size));
        return this.#value(content.read(fs, ino, this.#in(offset), target));
      },
      [OP.WRITE]: (ino) => {
        const { offset, size, writeFlags, payload } = REQUEST.write;
        const source = this.#payload(this.#in(payload), this.#in(size));
        const kill = (this.#in(writeFlags) & FUSE_WRITE_KILL_SUIDGID) !== 0;
        return this.#value(content.write(fs, ino, this.#in(offset), source, kill));
      },
      [OP.FSYNC]: () => {
        const dataOnly = (this.#in(REQUEST.fsync.fsyncFlags) & FUSE_FSYNC_FDATASYNC) !== 0;
        return done(content.fsync(fs, dataOnly));
      },
      [OP.FSYNCDIR]: () => done(content.fsync(fs, false)),
      [OP.SYNCFS]: () => done(content.fsync(fs, false)),
      [OP.FALLOCATE]: (ino) => {
        const { offset, length, mode } = REQUEST.fallocate;
        const range = { offset: this.#in(offset), lengthBytes: this.#in(length) };
        return done(content.fallocate(fs, ino, range, this.#in(mode)));
      },
      [OP.LSEEK]: (ino) => {
        const { offset, whence } = REQUEST.lseek;
        return this.#seek(ino, this.#in(offset), this.#in(whence));
      },
      [OP.COPY_FILE_RANGE]: (ino) => this.#copy(ino),
      [OP.COPY_FILE_RANGE_64]: (ino) => this.#copy(ino),
    };
  }

  /** Dirty pages of mappings are data: the kernel is asked to write them back before the answer. */
  #seek(ino: number, offset: number, whence: number): number {
    const run = (): number => this.#value(content.seek(this.#fs, ino, offset, whence));
    if (!content.seekNeedsWriteback(this.#fs, ino, offset)) return run();
    const unique = this.#in(Q.unique);
    this.#wire.invalidateInode(ino, offset - (offset % PAGE_BYTES), 0);
    this.#wire
      .notificationsDone()
      .then(() => this.#wire.answer(unique, OP.LSEEK, this.#guarded(run)))
      .catch((error: unknown) => this.#power.failed(error));
    return DEFERRED;
  }

  #copy(ino: number): number {
    const { offIn, nodeidOut, offOut, len } = REQUEST.copyFileRange;
    const from = { ino, offset: this.#in(offIn) };
    const to = { ino: this.#in(nodeidOut), offset: this.#in(offOut) };
    return this.#value(content.copy(this.#fs, from, to, this.#in(len)));
  }

  #restTable(): Record<number, Operation> {
    const fs = this.#fs;
    return {
      [OP.GETATTR]: (ino) => this.#attributes(getattr(fs, ino)),
      [OP.STATX]: (ino) => this.#attributes(getattr(fs, ino)),
      [OP.SETATTR]: (ino) => this.#attributes(setattr(fs, ino, this.#attributeChange())),
      [OP.READLINK]: (ino) => this.#bytes(encodeName(fs.inode(ino).target ?? '')),
      [OP.STATFS]: () => this.#statfs(),
      [OP.OPENDIR]: (ino) => {
        fs.directory(ino);
        return this.#openReply(0);
      },
      [OP.RELEASEDIR]: () => 0,
      [OP.READDIR]: (ino) => this.#readdir(ino, false),
      [OP.READDIRPLUS]: (ino) => this.#readdir(ino, true),
      [OP.SETXATTR]: (ino, name) => {
        const { size, flags, setxattrFlags, payload } = REQUEST.setxattr;
        const value = this.#payload(this.#in(payload), this.#in(size)).slice();
        const killSetgid = (this.#in(setxattrFlags) & FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
        return done(setxattr(fs, ino, name, value, { flags: this.#in(flags), killSetgid }));
      },
      [OP.GETXATTR]: (ino, name) => this.#sized(getxattr(fs, ino, name)),
      [OP.LISTXATTR]: (ino) => {
        const names = listxattr(fs, ino)
          .map((name) => `${name}\0`)
          .join('');
        return this.#sized(encodeName(names));
      },
      [OP.REMOVEXATTR]: (ino, name) => done(removexattr(fs, ino, name)),
      [OP.IOCTL]: (ino) => {
        const { cmd, payload, inSize } = REQUEST.ioctl;
        const input = this.#payload(this.#in(payload), this.#in(inSize));
        this.reply[REPLY.ioctlResult] = 0;
        return this.#bytes(ioctl(fs, ino, this.#in(cmd), input));
      },
    };
  }

  #attributeChange(): AttributeChange {
    const slot = REQUEST.setattr;
    const valid = this.#in(slot.valid);
    const has = (bit: number): boolean => (valid & bit) !== 0;
    const time = (sec: number, nsec: number) => ({ sec: this.#in(sec), nsec: this.#in(nsec) });
    const change: AttributeChange = {
      // chown(-1, -1) and fallocate(2) strip set-id bits by a request that names no attribute.
      killSetId: has(FATTR.KILL_SUIDGID) || (valid & FATTR_ATTRIBUTES) === 0,
    };
    if (has(FATTR.MODE)) change.mode = this.#in(slot.mode);
    if (has(FATTR.UID)) change.uid = this.#in(slot.uid);
    if (has(FATTR.GID)) change.gid = this.#in(slot.gid);
    if (has(FATTR.SIZE)) change.sizeBytes = this.#in(slot.size);
    if (has(FATTR.ATIME)) {
      change.atime = has(FATTR.ATIME_NOW) ? 'now' : time(slot.atime, slot.atimensec);
    }
    if (has(FATTR.MTIME)) {
      change.mtime = has(FATTR.MTIME_NOW) ? 'now' : time(slot.mtime, slot.mtimensec);
    }
    if (has(FATTR.CTIME)) change.ctime = time(slot.ctime, slot.ctimensec);
    return change;
  }

  #statfs(): number {
    const { reply } = this;
    const stat = statfs(this.#fs);
    reply[STATFS_REPLY.blocks] = stat.pages;
    reply[STATFS_REPLY.bfree] = stat.freePages;
    reply[STATFS_REPLY.bavail] = stat.freePages;
    reply[STATFS_REPLY.files] = stat.inodes;
    reply[STATFS_REPLY.ffree] = stat.freeInodes;
    reply[STATFS_REPLY.bsize] = stat.pageBytes;
    reply[STATFS_REPLY.frsize] = stat.pageBytes;
    reply[STATFS_REPLY.namelen] = stat.nameBytesMax;
    return 0;
  }

  #readdir(ino: number, plus: boolean): number {
    readdir(this.#fs, ino, this.#in(REQUEST.readdir.offset), ({ name, inode, cookie }) => {
      const dots = name === '.' || name === '..';
      if (plus) this.#fs.sharing.collectTimes(inode.ino);
      this.#entryNumbers(inode);
      if (dots) this.reply[REPLY.nodeid] = 0; // the kernel takes no reference to these
      if (!this.#wire.addEntry(name, cookie)) return false;
      if (plus && !dots) this.#fs.reference(inode, ino, name);
      return true;
    });
    return 0;
  }

  // ---- faults -----------------------------------------------------------------------------

  #withFaults(
    opcode: number,
    operation: Operation,
    name: string | undefined,
    name2: string | undefined,
  ): number {
    const ino = this.#in(Q.nodeid);
    const op = this.#faultOp(opcode);
    if (op === undefined) return operation(ino, name ?? '', name2 ?? '');
    const path =
      NAMED_OPS.has(op) && name !== undefined && !op.includes('xattr')
        ? this.#fs.nodes.pathOf(ino, name)
        : this.#fs.nodes.path(ino);
    const action = this.#fs.faults.match(op, path);
    if (!this.#fs.faults.watchesData) this.#fs.sharing.watch(false);
    const run = (): number => operation(ino, name ?? '', name2 ?? '');
    if (action === undefined) return run();
    return this.#faulty(opcode, op, action, run, name, name2);
  }

  #faultOp(opcode: number): FaultOp | undefined {
    if (opcode === OP.SETATTR) {
      return (this.#in(REQUEST.setattr.valid) & FATTR.SIZE) === 0 ? 'setattr' : 'truncate';
    }
    return FAULT_OP_OF[opcode];
  }

  #faulty(
    opcode: number,
    op: FaultOp,
    action: FaultAction,
    run: () => number,
    name: string | undefined,
    name2: string | undefined,
  ): number {
    const sizeSlot = op === 'write' ? REQUEST.write.size : REQUEST.read.size;
    const size = this.#in(sizeSlot);
    switch (action.do) {
      case 'error':
        throw new Errno(action.code, 'fault rule');
      case 'short':
        this.request[sizeSlot] = Math.min(size, action.bytes ?? Math.ceil(size / 2));
        return run();
      case 'torn':
        this.request[sizeSlot] = Math.min(size, action.bytes ?? tornBytes(size));
        run();
        throw new Errno('EIO', 'fault rule: torn write');
      case 'poison':
        this.#poison(this.#in(Q.nodeid), this.#in(REQUEST.read.offset), size);
        return run();
      case 'delay':
        return this.#delay(opcode, action.delayMs, name, name2);
      case 'crash':
        if (run() === 0) this.#takeBack(opcode);
        return this.#crash(action.keep);
    }
  }

  #poison(ino: number, offset: number, lengthBytes: number): void {
    const inode = this.#fs.inode(ino);
    const end = pagesFor(offset + lengthBytes);
    for (const extent of this.#fs.metadata.extents(inode).slice(pageOf(offset), end)) {
      for (let page = 0; page < extent.pageCount; page += 1) {
        this.#fs.image.region.poison(extent.regionPage + page);
      }
    }
  }

  /** Keeps the frame, answers later as if the request had come then. */
  #delay(
    opcode: number,
    delayMs: number,
    name: string | undefined,
    name2: string | undefined,
  ): number {
    const frame = this.request.slice();
    const payloadAt = opcode === OP.WRITE ? REQUEST.write.payload : REQUEST.setxattr.payload;
    const sizeSlot = opcode === OP.WRITE ? REQUEST.write.size : REQUEST.setxattr.size;
    const carries = opcode === OP.WRITE || opcode === OP.SETXATTR;
    const start = this.#in(payloadAt);
    const payload = carries ? this.#payload(start, this.#in(sizeSlot)).slice() : undefined;
    setTimeout(() => {
      this.request.set(frame);
      if (payload !== undefined) this.#wire.requestBytes.set(payload, start);
      const operation = this.#operations[opcode] as Operation;
      const unique = frame[Q.unique] as number;
      const status = this.#guarded(() =>
        operation(frame[Q.nodeid] as number, name ?? '', name2 ?? ''),
      );
      this.#wire.answer(unique, opcode, status);
    }, delayMs);
    return DEFERRED;
  }

  #guarded(run: () => number): number {
    try {
      return run();
    } catch (error) {
      if (error instanceof Errno) return error.errno;
      throw error;
    }
  }

  /** The kernel will see an error instead of the entry: it took no reference and opened nothing. */
  #takeBack(opcode: number): void {
    const nodeid = this.reply[REPLY.nodeid] as number;
    if (opcode === OP.CREATE || opcode === OP.TMPFILE) content.release(this.#fs, nodeid);
    if (opcode === OP.OPEN) content.release(this.#fs, this.#in(Q.nodeid));
    if (ENTRY_OPS.has(opcode) && nodeid !== 0) this.#fs.forget(nodeid, 1);
  }

  /**
   * The power goes now. The call that was under way fails at once: the kernel holds its pages or
   * its directory locked until it is answered, and could not forget what it caches before.
   */
  #crash(keep: Keep): number {
    this.#power.crash(keep).catch((error: unknown) => this.#power.failed(error));
    return FAULT_CRASH_ERRNO;
  }
}

type Operation = (ino: number, name: string, name2: string) => number;

const done = (_: void): number => 0;

/** Half of a write, to a whole line where it is longer than one. */
function tornBytes(size: number): number {
  const half = Math.floor(size / 2);
  return half < LINE_BYTES ? half : half - (half % LINE_BYTES);
}

const FAULT_OP_OF: Record<number, FaultOp> = {
  [OP.LOOKUP]: 'lookup',
  [OP.GETATTR]: 'getattr',
  [OP.STATX]: 'getattr',
  [OP.CREATE]: 'create',
  [OP.TMPFILE]: 'create',
  [OP.OPEN]: 'open',
  [OP.READ]: 'read',
  [OP.WRITE]: 'write',
  [OP.FSYNC]: 'fsync',
  [OP.FSYNCDIR]: 'fsync',
  [OP.UNLINK]: 'unlink',
  [OP.RMDIR]: 'rmdir',
  [OP.MKDIR]: 'mkdir',
  [OP.MKNOD]: 'mknod',
  [OP.SYMLINK]: 'symlink',
  [OP.LINK]: 'link',
  [OP.RENAME]: 'rename',
  [OP.RENAME2]: 'rename',
  [OP.READDIR]: 'readdir',
  [OP.READDIRPLUS]: 'readdir',
  [OP.READLINK]: 'readlink',
  [OP.SETXATTR]: 'setxattr',
  [OP.GETXATTR]: 'getxattr',
  [OP.LISTXATTR]: 'listxattr',
  [OP.REMOVEXATTR]: 'removexattr',
  [OP.FALLOCATE]: 'fallocate',
  [OP.LSEEK]: 'lseek',
  [OP.COPY_FILE_RANGE]: 'copy',
  [OP.COPY_FILE_RANGE_64]: 'copy',
  [OP.IOCTL]: 'ioctl',
  [OP.STATFS]: 'statfs',
};

const ENTRY_OPS: ReadonlySet<number> = new Set([
  OP.LOOKUP,
  OP.MKNOD,
  OP.MKDIR,
  OP.SYMLINK,
  OP.LINK,
  OP.CREATE,
  OP.TMPFILE,
]);

/** Operations whose path is that of a name in the request's directory. */
const NAMED_OPS: ReadonlySet<FaultOp> = new Set([
  'lookup',
  'create',
  'unlink',
  'rmdir',
  'mkdir',
  'mknod',
  'symlink',
  'link',
  'rename',
]);
