/**
 * The trace of a run on a crash state, in memory: what a check's recovery, or the workload that goes
 * on, did to the image, for a crash inside it. Its base is the state itself. Events are those that
 * a recorded mount writes (fs/recording.ts) except what processes print; where a recorded mount has
 * the native recorder, here the frames of the requests are read.
 *
 * Order that matters: the trace is there before the state's image is opened, watches its metadata
 * before the filesystem does anything, and is taken after the last request.
 */
import type { CrashState } from '../../lib/crash/state/state.js';
import type { OpenState } from '../../lib/crash/state/open_state.js';
import { NO_REPLY, OP, Q, REQUEST } from '../../lib/frame.js';
import type { CallEvent, CommitReason, ForceKind, TraceEvent } from '../../lib/trace/event.js';
import type { TraceInfo, TraceSource } from '../../lib/trace/source.js';
import type { Frame } from '../call.js';
import type { Watcher } from './explorer.js';

const FATTR_SIZE = 1 << 3;
const WRITE_CACHE = 1;
/** A longer store is several events: each has room in a chunk of a trace file. */
const STORE_BYTES_MAX = 1 << 20;

type CallFields = Omit<CallEvent, 'type' | 'callId' | 'timeNs' | 'operation' | 'pid' | 'ino'>;
type Read = (slot: number) => number;

/** Numbers of a request that its event has, by opcode; only these requests are events. */
const FIELDS: Readonly<Record<number, (read: Read) => CallFields>> = {
  [OP.SETATTR]: (read) => {
    const flags = read(REQUEST.setattr.valid);
    return (flags & FATTR_SIZE) === 0
      ? { flags }
      : { flags, lengthBytes: read(REQUEST.setattr.size) };
  },
  [OP.SYMLINK]: () => ({}),
  [OP.MKNOD]: () => ({}),
  [OP.MKDIR]: () => ({}),
  [OP.UNLINK]: () => ({}),
  [OP.RMDIR]: () => ({}),
  [OP.RENAME]: (read) => ({ ino2: read(REQUEST.rename.newdir), flags: 0 }),
  [OP.RENAME2]: (read) => ({
    ino2: read(REQUEST.rename.newdir),
    flags: read(REQUEST.rename.flags),
  }),
  [OP.LINK]: (read) => ({ ino2: read(REQUEST.link.oldnodeid) }),
  [OP.OPEN]: (read) => ({ flags: read(REQUEST.open.flags) }),
  [OP.CREATE]: (read) => ({ flags: read(REQUEST.create.flags) }),
  [OP.TMPFILE]: (read) => ({ flags: read(REQUEST.create.flags) }),
  [OP.READ]: (read) => {
    const { offset, size, flags } = REQUEST.read;
    return { offset: read(offset), lengthBytes: read(size), flags: read(flags) };
  },
  [OP.WRITE]: (read) => {
    const { offset, size, flags, writeFlags } = REQUEST.write;
    const fields = { offset: read(offset), lengthBytes: read(size), flags: read(flags) };
    return (read(writeFlags) & WRITE_CACHE) === 0 ? fields : { ...fields, isWriteback: true };
  },
  [OP.FSYNC]: (read) => ({ flags: read(REQUEST.fsync.fsyncFlags) }),
  [OP.FSYNCDIR]: (read) => ({ flags: read(REQUEST.fsync.fsyncFlags) }),
  [OP.SYNCFS]: () => ({}),
  [OP.SETXATTR]: (read) => {
    const { size, flags } = REQUEST.setxattr;
    return { lengthBytes: read(size), flags: read(flags) };
  },
  [OP.REMOVEXATTR]: () => ({}),
  [OP.FALLOCATE]: (read) => {
    const { offset, length, mode } = REQUEST.fallocate;
    return { offset: read(offset), lengthBytes: read(length), flags: read(mode) };
  },
  [OP.COPY_FILE_RANGE]: copyFields,
  [OP.COPY_FILE_RANGE_64]: copyFields,
  [OP.RELEASE]: (read) => ({ flags: read(REQUEST.release.flags) }),
  [OP.IOCTL]: (read) => ({ flags: read(REQUEST.ioctl.cmd) }),
};

function copyFields(read: Read): CallFields {
  const { nodeidOut, offOut, len } = REQUEST.copyFileRange;
  return { ino2: read(nodeidOut), offset: read(offOut), lengthBytes: read(len) };
}

const OPERATION_NAMES = new Map<number, string>(
  Object.entries(OP).map(([name, opcode]) => [opcode, name]),
);

export class RunTrace implements Watcher {
  readonly #state: CrashState;
  readonly #info: TraceInfo;
  readonly #events: TraceEvent[] = [];
  readonly #startedNs = process.hrtime.bigint();
  #open: OpenState | undefined;
  /** The request under way; 0 for the filesystem itself. */
  #callId = 0;

  constructor(state: CrashState, info: TraceInfo) {
    this.#state = state;
    this.#info = info;
  }

  /** Gets what happens to the region; for openState(). */
  readonly sink = (event: TraceEvent): void => {
    if (event.type !== 'store') {
      this.#events.push(event);
      return;
    }
    const { offset, bytes } = event;
    for (let at = 0; at < bytes.length; at += STORE_BYTES_MAX) {
      // The bytes are the caller's own, and change with the next request.
      const piece = new Uint8Array(bytes.subarray(at, at + STORE_BYTES_MAX));
      this.#events.push({ ...event, offset: offset + at, bytes: piece });
    }
  };

  attach(open: OpenState): void {
    this.#open = open;
    open.image.metadata.sink = (record) => {
      this.#events.push({ type: 'metadata', callId: this.#callId, record });
    };
  }

  before(opcode: number, { request }: Frame, name: string, name2: string): void {
    const fields = FIELDS[opcode];
    if (fields === undefined) return;
    const callId = request[Q.unique] as number;
    const call: CallEvent = {
      type: 'call',
      callId,
      timeNs: this.#nowNs(),
      operation: OPERATION_NAMES.get(opcode) ?? String(opcode),
      pid: request[Q.pid] as number,
      ino: request[Q.nodeid] as number,
      ...fields((slot) => request[slot] as number),
    };
    if (name !== '') call.name = name;
    if (name2 !== '') call.name2 = name2;
    this.#events.push(call);
    this.#setCall(callId);
  }

  after(opcode: number, status: number): void {
    if (FIELDS[opcode] === undefined) return;
    const error = status === NO_REPLY ? 0 : status;
    this.#events.push({ type: 'return', callId: this.#callId, error });
    this.#setCall(0);
  }

  committed(reason: CommitReason): void {
    this.#events.push({ type: 'commit', callId: this.#callId, reason });
  }

  forced(kind: ForceKind, ino: number): void {
    this.#events.push({ type: 'force', callId: this.#callId, kind, ino });
  }

  /** All that happened; the state must stay as long as this is used. */
  take(): TraceSource {
    const end: TraceEvent = {
      type: 'workload-end',
      timeNs: this.#nowNs(),
      exitStatus: null,
      signal: null,
    };
    const events = [...this.#events, end];
    return { base: this.#state, info: this.#info, events: () => events };
  }

  #setCall(callId: number): void {
    this.#callId = callId;
    if (this.#open !== undefined) this.#open.region.callId = callId;
  }

  #nowNs(): number {
    return Number(process.hrtime.bigint() - this.#startedNs);
  }
}
