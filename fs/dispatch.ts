/**
 * One request of the native session becomes one call of an operation: numbers out of the frame,
 * the operation, numbers into the frame. Called on the filesystem's thread, synchronously; nothing
 * here may wait. Where fault rules are armed, fs/faulty.ts stands between.
 */
import { Errno } from '../lib/errno.js';
import { DEFERRED, NO_REPLY, OP, Q, REPLY, REQUEST, STATFS_REPLY } from '../lib/frame.js';
import { S_IFDIR, S_IFLNK } from '../lib/metadata/inode.js';
import { encodeName } from '../lib/name_codec.js';
import { PAGE_BYTES } from '../lib/units.js';
import { type AttributeChange, setattr, statfs } from './attributes.js';
import { Call, type Frame, newFrame, type Operation, statusOf, type Wire } from './call.js';
import * as content from './content.js';
import type { PowerSwitch } from './crash.js';
import { Requests } from './dax/requests.js';
import { readdir } from './directories.js';
import { Faulty } from './faulty.js';
import type { Filesystem } from './filesystem.js';
import { isDirect, type SyncKind, syncOf, syncOfFlags } from './handles.js';
import { ioctl } from './ioctl.js';
import * as namespace from './namespace.js';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.js';

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
/** A read for a program; without it, for the page cache. */
const FUSE_READ_LOCKOWNER = 1 << 1;
const FUSE_FSYNC_FDATASYNC = 1;
const FUSE_SETXATTR_ACL_KILL_SGID = 1;

const ENOSYS = new Errno('ENOSYS', 'no such operation').errno;

export class Dispatch {
  readonly #fs: Filesystem;
  readonly #power: PowerSwitch;
  readonly #call: Call;
  readonly #faulty: Faulty;
  /** By opcode. */
  readonly #operations: (Operation | undefined)[] = [];

  /** @param frame that of the session, when several filesystems are served by one */
  constructor(fs: Filesystem, power: PowerSwitch, frame: Frame = newFrame()) {
    this.#fs = fs;
    this.#power = power;
    this.#call = new Call(fs, frame);
    const requests = new Requests(fs, this.#call, power);
    this.#faulty = new Faulty(fs, this.#call, { power, requests });
    const tables = { ...this.#nameTable(), ...this.#contentTable(), ...this.#restTable() };
    for (const [opcode, run] of Object.entries(tables)) {
      this.#operations[Number(opcode)] = requests.wrap(Number(opcode), run);
    }
  }

  attach(session: Wire): void {
    this.#call.attach(session);
  }

  get request(): Float64Array {
    return this.#call.request;
  }

  get reply(): Float64Array {
    return this.#call.reply;
  }

  /** The session's handler; see lib/frame.ts for what the returned number means. */
  handle(opcode: number, name = '', name2 = ''): number {
    const operation = this.#operations[opcode];
    if (operation === undefined) return ENOSYS;
    try {
      // What native service left comes first: whatever is asked may look at it or set it. Times are
      // taken by an fsync itself, and an fdatasync lets them wait: they alone need no transaction.
      this.#fs.sharing.collectGrowth();
      const touched = this.#call.in(Q.touched) !== 0;
      if (touched && opcode !== OP.FSYNC) this.#fs.sharing.collectTimes();
      const ino = this.#call.in(Q.nodeid);
      if (!this.#fs.faults.armed) return operation(ino, name, name2);
      return this.#faulty.run(opcode, operation, name, name2);
    } catch (error) {
      if (error instanceof Errno) return error.errno;
      throw error;
    }
  }

  #nameTable(): Record<number, Operation> {
    const fs = this.#fs;
    const call = this.#call;
    return {
      [OP.LOOKUP]: (ino, name) => {
        const inode = namespace.lookup(fs, ino, name);
        if (inode !== undefined) {
          return call.entry(inode, ino, name);
        }
        return call.noEntry();
      },
      [OP.FORGET]: () => {
        const { count, pairs } = REQUEST.forget;
        for (let index = 0; index < call.in(count); index += 1) {
          fs.forget(call.in(pairs + index * 2), call.in(pairs + index * 2 + 1));
        }
        return NO_REPLY;
      },
      [OP.MKNOD]: (ino, name) => {
        const { mode, rdev, umask } = REQUEST.mknod;
        const wish = { mode: call.in(mode), umask: call.in(umask), rdev: call.in(rdev) };
        return call.entry(namespace.create(fs, call.caller(), ino, name, wish), ino, name);
      },
      [OP.MKDIR]: (ino, name) => {
        const { mode, umask } = REQUEST.mkdir;
        const wish = { mode: (call.in(mode) & 0o7777) | S_IFDIR, umask: call.in(umask) };
        return call.entry(namespace.create(fs, call.caller(), ino, name, wish), ino, name);
      },
      [OP.SYMLINK]: (ino, name, target) => {
        const wish = { mode: S_IFLNK | 0o777, umask: 0, target };
        return call.entry(namespace.create(fs, call.caller(), ino, name, wish), ino, name);
      },
      [OP.LINK]: (ino, name) => {
        return call.entry(
          namespace.link(fs, call.in(REQUEST.link.oldnodeid), ino, name),
          ino,
          name,
        );
      },
      [OP.UNLINK]: (ino, name) => done(namespace.unlink(fs, ino, name)),
      [OP.RMDIR]: (ino, name) => done(namespace.rmdir(fs, ino, name)),
      [OP.RENAME]: (ino, name, name2) => this.#rename(ino, name, name2, 0),
      [OP.RENAME2]: (ino, name, name2) =>
        this.#rename(ino, name, name2, call.in(REQUEST.rename.flags)),
      [OP.CREATE]: (ino, name) => {
        const { flags, mode, umask } = REQUEST.create;
        const wish = { mode: call.in(mode), umask: call.in(umask) };
        const inode = namespace.create(fs, call.caller(), ino, name, wish);
        call.entry(inode, ino, name);
        fs.opened(inode.ino);
        return call.openReply(call.in(flags), inode.ino);
      },
      [OP.TMPFILE]: (ino) => {
        const { flags, mode, umask } = REQUEST.create;
        const wish = { mode: call.in(mode), umask: call.in(umask) };
        const inode = namespace.createUnnamed(fs, call.caller(), ino, wish);
        call.entry(inode, ino, `#${inode.ino}`);
        fs.opened(inode.ino);
        return call.openReply(call.in(flags), inode.ino);
      },
    };
  }

  #rename(ino: number, name: string, name2: string, flags: number): number {
    const call = this.#call;
    const to = { parentIno: call.in(REQUEST.rename.newdir), name: name2 };
    namespace.rename(this.#fs, { parentIno: ino, name }, to, flags);
    return 0;
  }

  #contentTable(): Record<number, Operation> {
    const fs = this.#fs;
    const call = this.#call;
    return {
      [OP.OPEN]: (ino) => {
        const { flags, openFlags } = REQUEST.open;
        const kill = (call.in(openFlags) & FUSE_OPEN_KILL_SUIDGID) !== 0;
        content.open(fs, ino, call.in(flags), kill);
        return call.openReply(call.in(flags), ino);
      },
      [OP.RELEASE]: (ino) => done(content.release(fs, ino)),
      [OP.READ]: (ino) => {
        const { offset, size, readFlags, flags } = REQUEST.read;
        if ((call.in(readFlags) & FUSE_READ_LOCKOWNER) === 0) this.#cached(ino);
        const target = call.wire.replyBytes.subarray(0, call.in(size));
        return call.value(content.read(fs, ino, call.in(offset), target, call.in(flags)));
      },
      [OP.WRITE]: (ino) => {
        const { fh, offset, size, writeFlags, payload, flags } = REQUEST.write;
        const source = call.payload(call.in(payload), call.in(size));
        const kill = (call.in(writeFlags) & FUSE_WRITE_KILL_SUIDGID) !== 0;
        const bytes = content.write(fs, ino, call.in(offset), source, kill);
        if (isDirect(call.in(fh))) this.#sync(syncOfFlags(call.in(flags)), ino);
        return call.value(bytes);
      },
      [OP.FSYNC]: (ino) => {
        const dataOnly = (call.in(REQUEST.fsync.fsyncFlags) & FUSE_FSYNC_FDATASYNC) !== 0;
        return done(content.fsync(fs, dataOnly ? 'fdatasync' : 'fsync', ino));
      },
      [OP.FSYNCDIR]: (ino) => done(content.fsync(fs, 'fsyncdir', ino)),
      [OP.SYNCFS]: () => done(content.fsync(fs, 'syncfs', 0)),
      [OP.FALLOCATE]: (ino) => {
        const { fh, offset, length, mode } = REQUEST.fallocate;
        const range = { offset: call.in(offset), lengthBytes: call.in(length) };
        content.fallocate(fs, ino, range, call.in(mode));
        this.#sync(syncOf(call.in(fh)), ino);
        return 0;
      },
      [OP.LSEEK]: (ino) => {
        const { offset, whence } = REQUEST.lseek;
        return this.#seek(ino, call.in(offset), call.in(whence));
      },
      [OP.COPY_FILE_RANGE]: (ino) => this.#copy(ino),
      [OP.COPY_FILE_RANGE_64]: (ino) => this.#copy(ino),
    };
  }

  /** The kernel reads a DAX file into its cache: for sendfile, splice, or a private mapping. */
  #cached(ino: number): void {
    const node = this.#fs.nodes.get(ino);
    if (node?.isDax !== true || node.isCached) return;
    node.isCached = true;
    const inode = this.#fs.metadata.inode(ino);
    if (inode !== undefined) this.#fs.sharing.refresh(inode);
  }

  /**
   * Dirty pages of the page cache's mappings are data: the kernel is asked to write them back before
   * the answer. A DAX file has none.
   */
  #seek(ino: number, offset: number, whence: number): number {
    const call = this.#call;
    const run = (): number => call.value(content.seek(this.#fs, ino, offset, whence));
    const isDax = this.#fs.nodes.get(ino)?.isDax === true;
    if (isDax || !content.seekNeedsWriteback(this.#fs, ino, offset)) return run();
    const unique = call.in(Q.unique);
    call.wire.invalidateInode(ino, offset - (offset % PAGE_BYTES), 0);
    call.wire
      .notificationsDone()
      .then(() => call.wire.answer(unique, OP.LSEEK, statusOf(run)))
      .catch((error: unknown) => this.#power.failed(error));
    return DEFERRED;
  }

  /** What was done is durable before the answer when the file was opened with O_DSYNC or O_SYNC. */
  #sync(kind: SyncKind | undefined, ino: number): void {
    if (kind !== undefined) content.fsync(this.#fs, kind, ino);
  }

  #copy(ino: number): number {
    const call = this.#call;
    const { offIn, nodeidOut, fhOut, offOut, len } = REQUEST.copyFileRange;
    const from = { ino, offset: call.in(offIn) };
    const to = { ino: call.in(nodeidOut), offset: call.in(offOut) };
    const bytes = content.copy(this.#fs, from, to, call.in(len));
    this.#sync(syncOf(call.in(fhOut)), to.ino);
    return call.value(bytes);
  }

  #restTable(): Record<number, Operation> {
    const fs = this.#fs;
    const call = this.#call;
    return {
      [OP.GETATTR]: (ino) => call.attributes(fs.inode(ino)),
      [OP.STATX]: (ino) => call.attributes(fs.inode(ino)),
      [OP.SETATTR]: (ino) => call.attributes(setattr(fs, ino, this.#attributeChange())),
      [OP.READLINK]: (ino) => call.bytes(encodeName(fs.inode(ino).target ?? '')),
      [OP.STATFS]: () => this.#statfs(),
      [OP.OPENDIR]: (ino) => {
        fs.directory(ino);
        return call.openReply(0, ino);
      },
      [OP.RELEASEDIR]: () => 0,
      [OP.READDIR]: (ino) => this.#readdir(ino, false),
      [OP.READDIRPLUS]: (ino) => this.#readdir(ino, true),
      [OP.SETXATTR]: (ino, name) => {
        const { size, flags, setxattrFlags, payload } = REQUEST.setxattr;
        const value = call.payload(call.in(payload), call.in(size)).slice();
        const killSetgid = (call.in(setxattrFlags) & FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
        return done(setxattr(fs, ino, name, value, { flags: call.in(flags), killSetgid }));
      },
      [OP.GETXATTR]: (ino, name) => call.sized(getxattr(fs, ino, name)),
      [OP.LISTXATTR]: (ino) => {
        const names = listxattr(fs, ino)
          .map((name) => `${name}\0`)
          .join('');
        return call.sized(encodeName(names));
      },
      [OP.REMOVEXATTR]: (ino, name) => done(removexattr(fs, ino, name)),
      [OP.IOCTL]: (ino) => {
        const { cmd, payload, inSize } = REQUEST.ioctl;
        const input = call.payload(call.in(payload), call.in(inSize));
        call.reply[REPLY.ioctlResult] = 0;
        return call.bytes(ioctl(fs, ino, call.in(cmd), input));
      },
    };
  }

  #attributeChange(): AttributeChange {
    const call = this.#call;
    const slot = REQUEST.setattr;
    const valid = call.in(slot.valid);
    const has = (bit: number): boolean => (valid & bit) !== 0;
    const time = (sec: number, nsec: number) => ({ sec: call.in(sec), nsec: call.in(nsec) });
    const change: AttributeChange = {
      // chown(-1, -1) and fallocate(2) strip set-id bits by a request that names no attribute.
      killSetId: has(FATTR.KILL_SUIDGID) || (valid & FATTR_ATTRIBUTES) === 0,
    };
    if (has(FATTR.MODE)) change.mode = call.in(slot.mode);
    if (has(FATTR.UID)) change.uid = call.in(slot.uid);
    if (has(FATTR.GID)) change.gid = call.in(slot.gid);
    if (has(FATTR.SIZE)) change.sizeBytes = call.in(slot.size);
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
    const { reply } = this.#call;
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
    const call = this.#call;
    readdir(this.#fs, ino, call.in(REQUEST.readdir.offset), ({ name, inode, cookie }) => {
      const dots = name === '.' || name === '..';
      call.entryNumbers(inode);
      if (dots) call.reply[REPLY.nodeid] = 0; // the kernel takes no reference to these
      if (!call.wire.addEntry(name, cookie)) return false;
      if (plus && !dots) this.#fs.reference(inode, ino, name);
      return true;
    });
    return 0;
  }
}

const done = (_: void): number => 0;
