/**
 * Calls that shims make for their programs: msync, and the fallocate that the kernel does not pass on.
 * Each is answered when it has been carried out; in a recording each is a call of its process. Fault
 * rules see them as the requests that they would be without the shim: `fsync` and `fallocate`.
 */
import type { DaxEngine } from '../../lib/dax/engine.js';
import type { PageRange } from '../../lib/dax/mmu.js';
import { Signal } from '../../lib/dax/signal.js';
import type { Task } from '../../lib/dax/task.js';
import { Errno } from '../../lib/errno.js';
import type { FaultServer, FaultServerEvent } from '../../lib/addon/fault_server.js';
import type { MappingCall, Recorder } from '../../lib/addon/recorder.js';
import type { Session } from '../../lib/addon/session.js';
import { PAGE_BYTES } from '../../lib/units.js';
import * as content from '../content.js';
import { POWER_CUT, type PowerSwitch } from '../crash.js';
import type { FaultOp } from '../faults.js';
import type { Filesystem } from '../filesystem.js';
import type { Clients } from './clients.js';
import { fallocatePlan, runPlan } from './plans.js';
import type { LiveScheduler } from './scheduler.js';

export const NOT_DAX = new Errno('EOPNOTSUPP', 'not a DAX file').errno;

interface Served {
  server: FaultServer;
  engine: DaxEngine;
}

interface Parts {
  session: Session;
  recorder: Recorder | undefined;
  power: PowerSwitch;
}

export class ShimCalls {
  readonly #fs: Filesystem;
  readonly #parts: Parts;
  readonly #scheduler: LiveScheduler;
  readonly #clients: Clients;

  constructor(
    fs: Filesystem,
    parts: Parts,
    { scheduler, clients }: { scheduler: LiveScheduler; clients: Clients },
  ) {
    this.#fs = fs;
    this.#parts = parts;
    this.#scheduler = scheduler;
    this.#clients = clients;
  }

  /**
   * Runs what a program asked for through a mapping as a call of a recording: the scheduler keeps
   * what it does later to it, too. `run` says when it has ended, before it is answered.
   */
  recorded(
    client: number,
    call: Omit<MappingCall, 'pid'>,
    run: (ended: (error: number) => void) => void,
  ): void {
    const { recorder } = this.#parts;
    if (recorder === undefined) {
      run(() => {});
      return;
    }
    const pid = this.#clients.pid(client) ?? 0;
    const callId = recorder.begin({ ...call, pid });
    const before = recorder.serve(callId);
    try {
      run((error) => recorder.end(callId, error));
    } finally {
      recorder.serve(before);
    }
  }

  /** msync(2) with MS_SYNC: of one mapping after the other, each a call of its own, up to an error. */
  sync(served: Served, { call, client, tid, parts }: FaultServerEvent & { type: 'sync' }): void {
    const mapped = parts.flatMap((part) => {
      const mapping = this.#clients.mapping(part.mapping);
      return mapping === undefined || !mapping.isShared ? [] : [{ ino: mapping.ino, part }];
    });
    const syncFrom = (index: number): void => {
      const next = mapped[index];
      if (next === undefined) {
        served.server.reply(call, 0);
        return;
      }
      const { ino, part } = next;
      const offset = part.filePage * PAGE_BYTES;
      const what = { ino, offset, lengthBytes: part.pageCount * PAGE_BYTES, flags: 0 };
      this.recorded(client, { operation: 'DAX_MSYNC', tid, ...what }, (ended) => {
        this.#ruled('fsync', ino, syncPart(this.#fs, served.engine, next), (error) => {
          ended(error);
          if (error === 0) syncFrom(index + 1);
          else served.server.reply(call, error);
        });
      });
    };
    syncFrom(0);
  }

  /** What the kernel's FUSE refuses, and MADV_REMOVE. */
  fallocate({ server, engine }: Served, event: FaultServerEvent & { type: 'fallocate' }): void {
    const { ino, mode, offset, lengthBytes, call } = event;
    const range = { offset, lengthBytes };
    const run = (): number => {
      if (this.#fs.nodes.get(ino)?.isDax !== true) return NOT_DAX;
      content.fallocate(this.#fs, ino, range, mode);
      return 0;
    };
    const what = { ino, ...range, flags: mode, tid: event.tid };
    this.recorded(event.client, { operation: 'DAX_FALLOCATE', ...what }, (ended) => {
      const plan = runPlan(engine, fallocatePlan(ino, mode, range), run);
      this.#ruled('fallocate', ino, plan, (error) => {
        ended(error);
        // Size, times and bytes changed behind the kernel's back: pages that sendfile(2) left in its
        // cache go. It takes no size from an answer that was under way meanwhile, and the process is
        // about to ask for one (LearnSize in shim_file.c).
        const { session, power } = this.#parts;
        session.invalidateInode(ino, 0, 0);
        session.notificationsDone().then(() => server.reply(call, error), power.failed);
      });
    });
  }

  /** Carries it out, and answers, as fault rules have it. */
  #ruled(op: FaultOp, ino: number, task: Task<number>, answer: (error: number) => void): void {
    const { faults, nodes } = this.#fs;
    const { power } = this.#parts;
    const action = faults.armed ? faults.match(op, nodes.path(ino)) : undefined;
    switch (action?.do) {
      case 'error':
        answer(new Errno(action.code, 'fault rule').errno);
        return;
      case 'delay':
        this.#answering(ino, this.#late(action.delayMs, task), answer);
        return;
      case 'crash':
        this.#answering(ino, task, answer, () => {
          power.crash(action.keep).catch(power.failed);
          answer(POWER_CUT);
        });
        return;
      default:
        this.#answering(ino, task, answer);
    }
  }

  *#late(delayMs: number, task: Task<number>): Task<number> {
    const due = new Signal();
    setTimeout(() => {
      due.set();
      this.#scheduler.drain();
    }, delayMs);
    yield due;
    return yield* task;
  }

  /** @param ended instead of `answer`, unless the power is cut before */
  #answering(
    ino: number,
    task: Task<number>,
    answer: (error: number) => void,
    ended = answer,
  ): void {
    this.#scheduler.start(ino, task, {
      done: ended,
      failed: (error) => {
        if (error instanceof Errno) ended(error.errno);
        else this.#parts.power.failed(error);
      },
      abandoned: () => answer(POWER_CUT),
    });
  }
}

function* syncPart(
  fs: Filesystem,
  engine: DaxEngine,
  { ino, part }: { ino: number; part: PageRange },
): Task<number> {
  yield* engine.writeback(ino, part);
  content.fsync(fs, 'fdatasync', ino);
  // On the host's disk, only a commit makes stores durable.
  if (fs.options.durable === 'process' && fs.isCommitted) engine.settle(ino);
  return 0;
}
