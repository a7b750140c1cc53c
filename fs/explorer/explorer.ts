/**
 * The explorer mount: one FUSE session whose root holds a directory for each live crash state. A
 * state is a Filesystem of its own over its own image; nothing is mounted or unmounted for it.
 *
 * The kernel tells states apart by node ids: SLOT_NODES times the state's slot number, plus the
 * inode number inside the state, which is also what stat(2) shows. A slot number is never used
 * twice in a session, so what the kernel caches of a state cannot be mistaken for another's: names
 * and attributes are cached for ever, and dropping a slot only gives memory back.
 *
 * Everything runs on the thread that made the explorer, which must not touch the mount itself: its
 * clients are other processes. The root lists no names: a program finds no state but the one that
 * is bound for it.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Errno } from '../../lib/errno.js';
import { NO_REPLY, OP, Q, REPLY, REQUEST } from '../../lib/frame.js';
import type { OpenImage } from '../../lib/image.js';
import { ROOT_INO, S_IFDIR } from '../../lib/metadata/inode.js';
import type { Session } from '../../lib/addon/session.js';
import type { Native } from '../../lib/native.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { FOREVER_SEC, type Frame, newFrame, type Wire } from '../call.js';
import { Dispatch } from '../dispatch.js';
import { type DurabilityLog, Filesystem } from '../filesystem.js';
import { DEFAULT_OPTIONS, type MountOptions } from '../options.js';

/** Inode numbers of one state are below this. */
const SLOT_NODES = 2 ** 26;
/** Node ids stay exact in a double. */
const SLOTS_MAX = 2 ** 27;

const ENOENT = new Errno('ENOENT', 'no such state').errno;
const ENOSYS = new Errno('ENOSYS', 'no such operation').errno;
const EXDEV = new Errno('EXDEV', 'another state').errno;
const ESTALE = new Errno('ESTALE', 'the state is gone').errno;

/** Answers of these name an inode, and take a reference to it. */
const ENTRY_OPS: ReadonlySet<number> = new Set([
  OP.LOOKUP,
  OP.MKNOD,
  OP.MKDIR,
  OP.SYMLINK,
  OP.LINK,
  OP.CREATE,
  OP.TMPFILE,
]);

/** Where a request names a second inode. */
const SECOND_NODE: Readonly<Record<number, number>> = {
  [OP.RENAME]: REQUEST.rename.newdir,
  [OP.RENAME2]: REQUEST.rename.newdir,
  [OP.LINK]: REQUEST.link.oldnodeid,
  [OP.COPY_FILE_RANGE]: REQUEST.copyFileRange.nodeidOut,
  [OP.COPY_FILE_RANGE_64]: REQUEST.copyFileRange.nodeidOut,
};

/** Access times are not kept: a check that only reads leaves its state as it was. */
const STATE_OPTIONS: MountOptions = { ...DEFAULT_OPTIONS, mountFlags: ['noatime'] };

/** Sees each request of a state, with its numbers as the state knows them, and how it ended. */
export interface Watcher extends DurabilityLog {
  before(opcode: number, frame: Frame, name: string, name2: string): void;
  /** @param status as a handler returns it, see lib/frame.ts */
  after(opcode: number, status: number): void;
}

export interface Slot {
  readonly number: number;
  /** The state's root directory. */
  readonly path: string;
  readonly filesystem: Filesystem;
}

export class Explorer {
  readonly dir: string;
  readonly #native: Native;
  readonly #frame = newFrame();
  readonly #slots = new Map<number, State>();
  readonly #session: Session;
  readonly #onBroken: (reason: string) => void;
  #lastNumber = 0;
  #isOpen = true;

  /**
   * Mounts on `dir`; needs CAP_SYS_ADMIN in its user namespace.
   * @param onBroken called once, when the mount is gone or failed before close()
   * @throws {Errno} mount(2)'s
   */
  constructor(native: Native, dir: string, onBroken: (reason: string) => void) {
    this.dir = dir;
    this.#native = native;
    this.#onBroken = onBroken;
    const fd = native.mountFuse(dir, 'fauxdax-explorer', 0, mountData());
    this.#session = native.openSession({
      fd,
      region: null,
      request: this.#frame.request,
      reply: this.#frame.reply,
      handler: (opcode, name, name2) => this.#handle(opcode, name, name2),
      onEnd: (reason) => this.#broken(reason ?? 'it was unmounted'),
      readOnly: false,
      directMappings: true,
    });
  }

  /** States that are open. */
  get slotCount(): number {
    return this.#slots.size;
  }

  counters(): ReturnType<Session['counters']> {
    return this.#session.counters();
  }

  /**
   * Shows an image as a directory. What earlier slots over the same image left open is closed:
   * files without names go, as they do when a machine starts.
   */
  open(image: OpenImage, watcher?: Watcher): Slot {
    assert(this.#isOpen && this.#lastNumber < SLOTS_MAX);
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const state = new State({
      number,
      path: join(this.dir, String(number)),
      image,
      frame: this.#frame,
      session: this.#session,
      watcher,
      failed: (error) => this.#broken(error instanceof Error ? error.message : String(error)),
    });
    this.#slots.set(number, state);
    return state;
  }

  /** Nothing of the slot is answered from here on; the kernel is asked to forget it. */
  drop(slot: Slot): void {
    if (!this.#slots.delete(slot.number)) return;
    if (this.#isOpen) this.#session.invalidateEntry(ROOT_INO, String(slot.number));
  }

  /** Unmounts. Whoever still uses a state gets ENOTCONN. May be called twice. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#slots.clear();
    // The descriptor first: an unmount that waited for our answers would wait for ever.
    this.#session.close();
    this.#native.unmount(this.dir, true);
  }

  #broken(reason: string): void {
    if (!this.#isOpen) return;
    this.close();
    this.#onBroken(`the explorer mount failed: ${reason}`);
  }

  #handle(opcode: number, name = '', name2 = ''): number {
    if (opcode === OP.FORGET) return this.#forget();
    const { request, reply } = this.#frame;
    const nodeid = request[Q.nodeid] as number;
    const number = Math.floor(nodeid / SLOT_NODES);
    if (number === 0) return this.#handleRoot(opcode, name);
    const state = this.#slots.get(number);
    if (state === undefined) return ESTALE;
    request[Q.nodeid] = nodeid - state.base;
    const second = SECOND_NODE[opcode];
    if (second !== undefined) {
      const other = request[second] as number;
      if (Math.floor(other / SLOT_NODES) !== number) return EXDEV;
      request[second] = other - state.base;
    }
    const status = state.handle(opcode, name, name2);
    if (status === 0 && ENTRY_OPS.has(opcode)) translateNode(reply, state.base);
    return status;
  }

  /** References to a state that was dropped went with it. */
  #forget(): number {
    const { request } = this.#frame;
    const { count, pairs } = REQUEST.forget;
    for (let index = 0; index < (request[count] as number); index += 1) {
      const nodeid = request[pairs + index * 2] as number;
      const state = this.#slots.get(Math.floor(nodeid / SLOT_NODES));
      state?.filesystem.forget(nodeid - state.base, request[pairs + index * 2 + 1] as number);
    }
    return NO_REPLY;
  }

  #handleRoot(opcode: number, name: string): number {
    switch (opcode) {
      case OP.LOOKUP: {
        const state = this.#slots.get(Number(name));
        if (state === undefined || name !== String(state.number)) return ENOENT;
        state.lookup();
        return 0;
      }
      case OP.GETATTR:
      case OP.STATX:
        return this.#rootAttributes();
      case OP.READDIR:
      case OP.READDIRPLUS:
        return this.#listRoot();
      default:
        return ENOSYS;
    }
  }

  #rootAttributes(): number {
    const { reply } = this.#frame;
    reply.fill(0);
    reply[REPLY.attrTimeoutSec] = FOREVER_SEC;
    reply[REPLY.ino] = ROOT_INO;
    reply[REPLY.mode] = S_IFDIR | 0o555;
    reply[REPLY.nlink] = 2;
    reply[REPLY.size] = PAGE_BYTES;
    reply[REPLY.blksize] = PAGE_BYTES;
    return 0;
  }

  #listRoot(): number {
    const names = ['.', '..'];
    this.#rootAttributes();
    const from = this.#frame.request[REQUEST.readdir.offset] as number;
    for (let position = from; position < names.length; position += 1) {
      if (!this.#session.addEntry(names[position] as string, position + 1)) break;
    }
    return 0;
  }
}

interface StateParts {
  number: number;
  path: string;
  image: OpenImage;
  frame: Frame;
  session: Session;
  watcher: Watcher | undefined;
  failed: (error: unknown) => void;
}

/** One live state: its filesystem, reached by inode numbers of its own. */
class State implements Slot {
  readonly number: number;
  readonly path: string;
  readonly filesystem: Filesystem;
  /** Node id of its inode 0. */
  readonly base: number;
  readonly #frame: Frame;
  readonly #dispatch: Dispatch;
  readonly #watcher: Watcher | undefined;

  constructor({ number, path, image, frame, session, watcher, failed }: StateParts) {
    this.number = number;
    this.path = path;
    this.base = number * SLOT_NODES;
    this.#frame = frame;
    this.#watcher = watcher;
    this.filesystem = new Filesystem(image, STATE_OPTIONS, watcher);
    this.#dispatch = new Dispatch(this.filesystem, { crash: noCrash, failed }, frame);
    this.#dispatch.attach(new StateWire(session, frame.reply, this.base));
  }

  handle(opcode: number, name: string, name2: string): number {
    if (this.#watcher === undefined) return this.#dispatch.handle(opcode, name, name2);
    this.#watcher.before(opcode, this.#frame, name, name2);
    const status = this.#dispatch.handle(opcode, name, name2);
    this.#watcher.after(opcode, status);
    return status;
  }

  /** Answers the LOOKUP of its root directory. */
  lookup(): void {
    this.#frame.request[Q.nodeid] = ROOT_INO;
    const status = this.#dispatch.handle(OP.GETATTR);
    assert(status === 0, 'every image has a root');
    const { reply } = this.#frame;
    reply[REPLY.nodeid] = this.base + ROOT_INO;
    reply[REPLY.generation] = 1;
    reply[REPLY.entryTimeoutSec] = FOREVER_SEC;
  }
}

/** The session as the operations of one state see it: by their own inode numbers. */
class StateWire implements Wire {
  readonly requestBytes: Uint8Array;
  readonly replyBytes: Uint8Array;
  readonly #session: Session;
  readonly #reply: Float64Array;
  readonly #base: number;

  constructor(session: Session, reply: Float64Array, base: number) {
    this.requestBytes = session.requestBytes;
    this.replyBytes = session.replyBytes;
    this.#session = session;
    this.#reply = reply;
    this.#base = base;
  }

  addEntry(name: string, cookie: number): boolean {
    translateNode(this.#reply, this.#base);
    return this.#session.addEntry(name, cookie);
  }

  resume(unique: number): void {
    this.#session.resume(unique);
  }

  answer(unique: number, opcode: number, status: number): void {
    this.#session.answer(unique, opcode, status);
  }

  invalidateInode(ino: number, offset: number, length: number): void {
    this.#session.invalidateInode(this.#base + ino, offset, length);
  }

  notificationsDone(): Promise<void> {
    return this.#session.notificationsDone();
  }
}

/** 0 names no inode. */
function translateNode(reply: Float64Array, base: number): void {
  const ino = reply[REPLY.nodeid] as number;
  assert(ino < SLOT_NODES, `inode ${ino} does not fit a slot`);
  if (ino !== 0) reply[REPLY.nodeid] = base + ino;
}

function noCrash(): never {
  throw new Errno('EOPNOTSUPP', 'a crash state is not crashable');
}

function mountData(): string {
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  // Checks may run programs as other users (a database server that refuses root).
  return `rootmode=40000,user_id=${uid},group_id=${gid},default_permissions,allow_other`;
}
