/**
 * Requests on files that are mapped directly. What processes are shown has to be taken back before
 * the file's map or size changes, and they may take a moment to comply: then the request is answered
 * later, as if it had come then. Its frame and payload are kept, for other requests use the buffers
 * meanwhile. A request that need not wait is answered at once.
 */
import { Errno } from '../../lib/errno.js';
import { DEFERRED, OP, Q, REPLY, REQUEST } from '../../lib/frame.js';
import { isWritten } from '../../lib/space/pieces.js';
import { pageOf, pagesFor } from '../../lib/units.js';
import { type Call, type Operation, statusOf } from '../call.js';
import { POWER_CUT, type PowerSwitch } from '../crash.js';
import type { Filesystem } from '../filesystem.js';
import { isDirect, syncOf, syncOfFlags } from '../handles.js';
import { ALL_PAGES, fallocatePlan, pagesOf, type Plan, runPlan, truncatePlan } from './plans.js';

const FATTR_SIZE = 1 << 3;
const O_TRUNC = 0o1000;
const REPLY_SLOTS = Math.max(...Object.values(REPLY)) + 1;

export class Requests {
  readonly #fs: Filesystem;
  readonly #call: Call;
  readonly #power: PowerSwitch;
  /** By `unique`: what each request that waits is answered, where that is settled already. */
  readonly #deferred = new Map<number, number | undefined>();

  constructor(fs: Filesystem, call: Call, power: PowerSwitch) {
    this.#fs = fs;
    this.#call = call;
    this.#power = power;
  }

  /** The operation, made to wait for mappings where the file has any. */
  wrap(opcode: number, operation: Operation): Operation {
    const plan = this.#plans[opcode];
    if (plan === undefined) return operation;
    return (ino, name, name2) => {
      const { dax } = this.#fs;
      if (dax === undefined) return operation(ino, name, name2);
      const call = this.#call;
      const isCopy = opcode === OP.COPY_FILE_RANGE || opcode === OP.COPY_FILE_RANGE_64;
      const changed = isCopy ? call.in(REQUEST.copyFileRange.nodeidOut) : ino;
      if (!dax.isMapped(changed)) return operation(ino, name, name2);
      const run = (): number => operation(ino, name, name2);
      const made = plan(changed);
      return made === undefined ? run() : this.#carryOut(opcode, made, run);
    };
  }

  /** By opcode: what a request needs; undefined where it changes nothing that is shown. */
  readonly #plans: Record<number, (ino: number) => Plan | undefined> = {
    [OP.SETATTR]: (ino) => {
      const { valid, size } = REQUEST.setattr;
      if ((this.#call.in(valid) & FATTR_SIZE) === 0) return undefined;
      return truncatePlan(ino, this.#call.in(size), this.#fs.inode(ino).sizeBytes);
    },
    [OP.OPEN]: (ino) => {
      if ((this.#call.in(REQUEST.open.flags) & O_TRUNC) === 0) return undefined;
      return { ino, change: { ...ALL_PAGES, dropOwn: true } };
    },
    [OP.WRITE]: (ino) => this.#planWrite(ino),
    [OP.FSYNC]: (ino) => ({ ino, writeback: ALL_PAGES }),
    [OP.FALLOCATE]: (ino) => {
      const { offset, length, mode } = REQUEST.fallocate;
      const range = { offset: this.#call.in(offset), lengthBytes: this.#call.in(length) };
      return fallocatePlan(ino, this.#call.in(mode), range);
    },
    [OP.COPY_FILE_RANGE]: (ino) => this.#planCopy(ino),
    [OP.COPY_FILE_RANGE_64]: (ino) => this.#planCopy(ino),
  };

  /** In place, a write changes nothing that is shown but bytes. */
  #planWrite(ino: number): Plan | undefined {
    const { fh, offset, size, flags } = REQUEST.write;
    const inode = this.#fs.inode(ino);
    const start = this.#call.in(offset);
    const end = start + this.#call.in(size);
    const pages = pagesOf({ offset: start, lengthBytes: end - start });
    const list = this.#fs.metadata.extents(inode);
    const isInPlace = end <= inode.sizeBytes && isWritten(list, pageOf(start), pagesFor(end));
    const syncs = isDirect(this.#call.in(fh)) && syncOfFlags(this.#call.in(flags)) !== undefined;
    if (isInPlace && !syncs) return undefined;
    const plan: Plan = { ino };
    if (syncs) plan.synced = pages;
    if (!isInPlace) plan.change = { ...pages, dropOwn: false };
    return plan;
  }

  #planCopy(ino: number): Plan {
    const { fhOut, offOut, len } = REQUEST.copyFileRange;
    const range = { offset: this.#call.in(offOut), lengthBytes: this.#call.in(len) };
    const plan: Plan = { ino, change: { ...pagesOf(range), dropOwn: false } };
    if (syncOf(this.#call.in(fhOut)) !== undefined) plan.synced = pagesOf(range);
    return plan;
  }

  #carryOut(opcode: number, plan: Plan, run: () => number): number {
    const call = this.#call;
    const dax = this.#fs.dax!;
    const unique = call.in(Q.unique);
    let keepRequest: (() => void) | undefined;
    let answer: { status: number; reply: Float64Array } | undefined;
    const runKept = (): number => {
      keepRequest?.();
      // Times that native service left meanwhile come before those that the request sets.
      const isLate = keepRequest !== undefined;
      if (isLate && opcode !== OP.FSYNC) this.#fs.sharing.collectTimes();
      const status = statusOf(run);
      answer = { status, reply: call.reply.slice(0, REPLY_SLOTS) };
      return status;
    };
    let isDeferred = false;
    const finish = (status: number): void => {
      if (!isDeferred) {
        answer ??= { status, reply: call.reply.slice(0, REPLY_SLOTS) };
        return;
      }
      const settled = this.#deferred.get(unique);
      if (!this.#deferred.delete(unique)) return;
      if (answer !== undefined) call.reply.set(answer.reply);
      call.wire.answer(unique, opcode, settled ?? status);
    };
    let isOver = false;
    dax.scheduler.start(plan.ino, runPlan(dax.engine, plan, runKept), {
      done: (status) => {
        isOver = true;
        finish(status);
      },
      failed: (error) => {
        isOver = true;
        if (!(error instanceof Errno)) return this.#power.failed(error);
        answer = undefined;
        finish(error.errno);
      },
      abandoned: () => finish(POWER_CUT),
    });
    if (!isOver) keepRequest = this.#keep(opcode);
    // What others could do meanwhile may be what it waits for; they use the same frame.
    dax.scheduler.drain();
    if (isOver && answer !== undefined) {
      call.reply.set(answer.reply);
      return answer.status;
    }
    isDeferred = true;
    this.#deferred.set(unique, undefined);
    return DEFERRED;
  }

  /** Keeps frame and payload. @returns what brings them back */
  #keep(opcode: number): () => void {
    const call = this.#call;
    const frame = call.request.slice();
    const start = call.in(REQUEST.write.payload);
    const payload =
      opcode === OP.WRITE ? call.payload(start, call.in(REQUEST.write.size)).slice() : undefined;
    return () => {
      call.request.set(frame);
      if (payload !== undefined) call.wire.requestBytes.set(payload, start);
    };
  }

  /** A deferred request is carried out, and answered so nevertheless. */
  answerAs(unique: number, status: number): void {
    if (this.#deferred.has(unique)) this.#deferred.set(unique, status);
  }

  /** A request that was deferred just now is answered at once by whoever asks for this. */
  withdraw(unique: number): void {
    this.#deferred.delete(unique);
  }
}
