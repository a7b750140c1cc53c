/**
 * What fault rules do to a request (fs/faults.ts says which): fail it, cut it short, hold it back,
 * poison what it touches, or cut the power with it.
 */
import type { PageRange } from '../lib/dax/mmu.js';
import { Errno } from '../lib/errno.js';
import { DEFERRED, OP, Q, REPLY, REQUEST } from '../lib/frame.js';
import type { Keep } from '../lib/region.js';
import { LINE_BYTES } from '../lib/units.js';
import { type Call, type Operation, statusOf } from './call.js';
import * as content from './content.js';
import { POWER_CUT, type PowerSwitch } from './crash.js';
import { pagesOf } from './dax/plans.js';
import type { Requests } from './dax/requests.js';
import type { FaultAction, FaultOp } from './faults.js';
import type { Filesystem } from './filesystem.js';

const FATTR_SIZE = 1 << 3;
const TORN = new Errno('EIO', 'fault rule: torn write');

export class Faulty {
  readonly #fs: Filesystem;
  readonly #call: Call;
  readonly #power: PowerSwitch;
  readonly #requests: Requests;

  constructor(fs: Filesystem, call: Call, to: { power: PowerSwitch; requests: Requests }) {
    this.#fs = fs;
    this.#call = call;
    this.#power = to.power;
    this.#requests = to.requests;
  }

  /** Carries out one operation as the rules have it. @throws {Errno} the operation's, or a rule's */
  run(opcode: number, operation: Operation, name: string, name2: string): number {
    const ino = this.#call.in(Q.nodeid);
    const run = (): number => operation(ino, name, name2);
    const op = this.#faultOp(opcode);
    if (op === undefined) return run();
    const { nodes, faults } = this.#fs;
    const path = NAMED_OPS.has(op) && name !== '' ? nodes.pathOf(ino, name) : nodes.path(ino);
    const action = faults.match(op, path);
    return action === undefined ? run() : this.#act(opcode, op, action, run);
  }

  #faultOp(opcode: number): FaultOp | undefined {
    if (opcode !== OP.SETATTR) return FAULT_OP_OF[opcode];
    const cuts = (this.#call.in(REQUEST.setattr.valid) & FATTR_SIZE) !== 0;
    return cuts ? 'truncate' : 'setattr';
  }

  #act(opcode: number, op: FaultOp, action: FaultAction, run: () => number): number {
    const call = this.#call;
    const sizeSlot = op === 'write' ? REQUEST.write.size : REQUEST.read.size;
    const size = call.in(sizeSlot);
    switch (action.do) {
      case 'error':
        throw new Errno(action.code, 'fault rule');
      case 'short':
        call.request[sizeSlot] = Math.min(size, action.bytes ?? Math.ceil(size / 2));
        return run();
      case 'torn':
        call.request[sizeSlot] = Math.min(size, action.bytes ?? tornBytes(size));
        if (run() !== DEFERRED) throw TORN;
        this.#requests.answerAs(call.in(Q.unique), TORN.errno);
        return DEFERRED;
      case 'poison':
        return this.#poison(opcode, size, run);
      case 'delay':
        setTimeout(this.#later(opcode, run), action.delayMs);
        return DEFERRED;
      case 'crash':
        if (!LOOK_OPS.has(opcode)) this.#runBeforeCut(opcode, run);
        return this.#crash(action.keep);
    }
  }

  /** Who maps the pages is shown them no more: the next access meets the bad memory. */
  #poison(opcode: number, lengthBytes: number, run: () => number): number {
    const ino = this.#call.in(Q.nodeid);
    const pages = pagesOf({ offset: this.#call.in(REQUEST.read.offset), lengthBytes });
    const poison = (): void => this.#poisonPages(ino, pages);
    const { dax } = this.#fs;
    if (dax?.isMapped(ino) !== true) {
      poison();
      return run();
    }
    let isLate = false;
    let isOver = false;
    const runLate = this.#later(opcode, run);
    dax.whileNotShown(ino, pages, poison, {
      done: () => {
        isOver = true;
        if (isLate) runLate();
      },
      abandoned: this.#later(opcode, () => POWER_CUT),
    });
    if (isOver) return run();
    isLate = true;
    return DEFERRED;
  }

  #poisonPages(ino: number, { filePage, pageCount }: PageRange): void {
    const inode = this.#fs.inode(ino);
    const extents = this.#fs.metadata.extents(inode).slice(filePage, filePage + pageCount);
    for (const extent of extents) {
      for (let page = 0; page < extent.pageCount; page += 1) {
        this.#fs.image.region.poison(extent.regionPage + page);
      }
    }
  }

  /** Keeps the frame. @returns what answers later, as if the request had come then */
  #later(opcode: number, run: () => number): () => void {
    const call = this.#call;
    const frame = call.request.slice();
    const slots = opcode === OP.WRITE ? REQUEST.write : REQUEST.setxattr;
    const carries = opcode === OP.WRITE || opcode === OP.SETXATTR;
    const start = call.in(slots.payload);
    const payload = carries ? call.payload(start, call.in(slots.size)).slice() : undefined;
    return () => {
      const unique = frame[Q.unique] as number;
      call.request.set(frame);
      if (payload !== undefined) call.wire.requestBytes.set(payload, start);
      if (opcode === OP.READDIR || opcode === OP.READDIRPLUS) call.wire.resume(unique);
      const status = statusOf(run);
      // What defers itself answers itself.
      if (status !== DEFERRED) call.wire.answer(unique, opcode, status);
    };
  }

  /** What has to wait for processes that map the file is not carried out before the cut. */
  #runBeforeCut(opcode: number, run: () => number): void {
    const unique = this.#call.in(Q.unique);
    const status = statusOf(run);
    if (status === DEFERRED) this.#requests.withdraw(unique);
    if (status === 0) this.#takeBack(opcode);
  }

  /** The kernel will see an error instead of the entry: it took no reference and opened nothing. */
  #takeBack(opcode: number): void {
    const nodeid = this.#call.reply[REPLY.nodeid] as number;
    if (opcode === OP.CREATE || opcode === OP.TMPFILE) content.release(this.#fs, nodeid);
    if (opcode === OP.OPEN) content.release(this.#fs, this.#call.in(Q.nodeid));
    if (ENTRY_OPS.has(opcode) && nodeid !== 0) this.#fs.forget(nodeid, 1);
  }

  /**
   * The power goes now. The call that was under way fails at once: the kernel holds its pages or
   * its directory locked until it is answered, and could not forget what it caches before.
   */
  #crash(keep: Keep): number {
    this.#power.crash(keep).catch((error: unknown) => this.#power.failed(error));
    return POWER_CUT;
  }
}

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

/**
 * Operations that change nothing, and whose answer the crash takes away: not carried out before it.
 * READDIRPLUS would take references and LSEEK wait for writebacks of what is about to be lost.
 */
const LOOK_OPS: ReadonlySet<number> = new Set([OP.LSEEK, OP.READDIR, OP.READDIRPLUS]);

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
