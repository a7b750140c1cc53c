/**
 * Event records: the bytes inside the event chunks of a trace, one record an event. SPEC.md, Trace.
 * Mirrored in native/recorder.cc, which writes what a mount does. Pure encoding: whoever decodes
 * says how a record is refused.
 */
import assert from 'node:assert/strict';
import type { MetadataRecord } from '../metadata/records.js';
import { PAGE_BYTES } from '../units.js';
import type { CommitReason, ForceKind, TraceEvent } from './event.js';
import { decodeArguments, encodeArguments, opcodeOf, operationName } from './request.js';

export const RECORD = {
  call: 1,
  return: 2,
  store: 3,
  zero: 4,
  flush: 5,
  fence: 6,
  canary: 7,
  metadata: 8,
  commit: 9,
  force: 10,
  output: 11,
  process: 12,
  workloadEnd: 13,
} as const;

/** Bytes in front of the fields of every record. */
const HEAD_BYTES = 8;
/** Of each kind, head and fixed fields; what is longer is its text, bytes or arguments. */
const RECORD_BYTES_MIN: Record<number, number> = {
  [RECORD.call]: HEAD_BYTES + 48,
  [RECORD.return]: HEAD_BYTES + 16,
  [RECORD.store]: HEAD_BYTES + 16,
  [RECORD.zero]: HEAD_BYTES + 24,
  [RECORD.flush]: HEAD_BYTES + 32,
  [RECORD.fence]: HEAD_BYTES + 16,
  [RECORD.canary]: HEAD_BYTES + 24,
  [RECORD.metadata]: HEAD_BYTES + 8,
  [RECORD.commit]: HEAD_BYTES + 8,
  [RECORD.force]: HEAD_BYTES + 16,
  [RECORD.output]: HEAD_BYTES + 16,
  [RECORD.process]: HEAD_BYTES + 8,
  [RECORD.workloadEnd]: HEAD_BYTES + 16,
};
const FLUSHED = 1;
const STREAMS = ['stdout', 'mark'] as const;
const COMMIT_REASONS = ['fsync', 'timer', 'limit', 'space'] as const satisfies CommitReason[];
const FORCE_KINDS = [
  'fsync',
  'fdatasync',
  'fsyncdir',
  'syncfs',
  'osync',
  'odsync',
] as const satisfies ForceKind[];
/** A longer zero record becomes one store event for each MiB begun. */
const ZEROES = new Uint8Array(2 ** 20);
const U32 = 2 ** 32;

// Decoding

export interface DecodeOptions {
  regionBytes: number;
  /** Throws what is to be thrown for a bad record at this byte of the payload. */
  refuse: (at: number, what: string) => never;
}

/**
 * The events of one chunk. They share its bytes: an event is valid until the next is asked for.
 * @returns how many records there were
 */
export function* decodeEvents(
  payload: Buffer,
  options: DecodeOptions,
): Generator<TraceEvent, number> {
  let count = 0;
  for (let at = 0; at < payload.length; count++) {
    const lengthBytes = at + HEAD_BYTES <= payload.length ? payload.readUInt32LE(at) : 0;
    const kind = lengthBytes === 0 ? 0 : payload[at + 4]!;
    const least = RECORD_BYTES_MIN[kind];
    if (least === undefined && lengthBytes !== 0) options.refuse(at, `event of kind ${kind}`);
    if (least === undefined || lengthBytes < least || at + lengthBytes > payload.length) {
      options.refuse(at, 'length of an event');
    }
    const record = payload.subarray(at, at + lengthBytes);
    const refuse = (what: string): never => options.refuse(at, what);
    if (kind === RECORD.zero) yield* decodeZero(record, options.regionBytes, refuse);
    else yield decodeRecord(kind, record, options.regionBytes, refuse);
    at += lengthBytes;
  }
  return count;
}

type Refuse = (what: string) => never;

function decodeRecord(
  kind: number,
  record: Buffer,
  regionBytes: number,
  refuse: Refuse,
): TraceEvent {
  switch (kind) {
    case RECORD.call:
      return decodeCall(record, refuse);
    case RECORD.return:
      return { type: 'return', callId: u64(record, 8), error: record.readInt32LE(16) };
    case RECORD.store: {
      const offset = u64(record, 8);
      const bytes = record.subarray(HEAD_BYTES + 16);
      if (offset + bytes.length > regionBytes) refuse('a store outside the region');
      const isFlushed = (record[5]! & FLUSHED) !== 0;
      return { type: 'store', callId: u64(record, 16), offset, bytes, isFlushed };
    }
    case RECORD.flush: {
      const [offset, lengthBytes] = [u64(record, 8), u64(record, 16)];
      if (offset + lengthBytes > regionBytes) refuse('a flush outside the region');
      const thread = record.readUInt32LE(32);
      return { type: 'flush', callId: u64(record, 24), offset, lengthBytes, thread };
    }
    case RECORD.fence:
      return { type: 'fence', callId: u64(record, 8), thread: record.readUInt32LE(16) };
    case RECORD.canary: {
      const [page, pageCount] = [u64(record, 8), u64(record, 16)];
      if ((page + pageCount) * PAGE_BYTES > regionBytes) refuse('a canary outside the region');
      return { type: 'canary', page, pageCount, ownerIno: u64(record, 24) };
    }
    case RECORD.metadata: {
      const change = parseRecordJson(record.toString('utf8', 16));
      if (change === undefined) refuse('a change of metadata');
      return { type: 'metadata', callId: u64(record, 8), record: change };
    }
    case RECORD.commit: {
      const reason = oneOf(COMMIT_REASONS, record.toString('utf8', 16));
      return { type: 'commit', callId: u64(record, 8), reason: reason ?? refuse('a commit') };
    }
    case RECORD.force: {
      const kind = oneOf(FORCE_KINDS, record.toString('utf8', 24)) ?? refuse('a force');
      return { type: 'force', callId: u64(record, 8), ino: u64(record, 16), kind };
    }
    default:
      return decodeWorkload(kind, record, refuse);
  }
}

function decodeCall(record: Buffer, refuse: Refuse): TraceEvent {
  const operation = operationName(record.readUInt32LE(24)) ?? refuse('opcode of a call');
  const argumentBytes = record.readUInt32LE(48);
  if (argumentBytes !== record.length - 56) refuse('arguments of a call');
  return {
    type: 'call',
    callId: u64(record, 8),
    timeNs: u64(record, 16),
    operation,
    pid: record.readUInt32LE(28),
    ino: u64(record, 40),
    ...decodeArguments(operation, record.subarray(56)),
  };
}

function* decodeZero(record: Buffer, regionBytes: number, refuse: Refuse): Generator<TraceEvent> {
  const [offset, callId, lengthBytes] = [u64(record, 8), u64(record, 16), u64(record, 24)];
  const end = offset + lengthBytes;
  if (end > regionBytes) refuse('a store outside the region');
  for (let at = offset; at < end; at += ZEROES.length) {
    const bytes = ZEROES.subarray(0, Math.min(ZEROES.length, end - at));
    yield { type: 'store', callId, offset: at, bytes, isFlushed: true };
  }
}

/** What the workload says and what becomes of it. */
function decodeWorkload(kind: number, record: Buffer, refuse: Refuse): TraceEvent {
  switch (kind) {
    case RECORD.output: {
      const stream = STREAMS[record.readUInt32LE(16)] ?? refuse('stream of an output');
      const lines = record.toString('utf8', 24).split('\n');
      return { type: 'output', timeNs: u64(record, 8), stream, lines };
    }
    case RECORD.process: {
      const [pid, parentPid] = [record.readUInt32LE(8), record.readUInt32LE(12)];
      return { type: 'process', pid, parentPid, command: record.toString('utf8', 16) };
    }
    default: {
      assert(kind === RECORD.workloadEnd);
      const status = record.readInt32LE(16);
      const signal = record.toString('utf8', 24);
      return {
        type: 'workload-end',
        timeNs: u64(record, 8),
        exitStatus: status < 0 ? null : status,
        signal: signal === '' ? null : signal,
      };
    }
  }
}

// Encoding

/** One event as one record. What has no room in a chunk (an output, a store) is the caller's. */
export function encodeEvent(event: TraceEvent): Buffer {
  switch (event.type) {
    case 'call':
      return encodeCall(event);
    case 'return':
      return record(RECORD.return, [event.callId, [event.error, 0]]);
    case 'store': {
      const flags = event.isFlushed ? FLUSHED : 0;
      return record(RECORD.store, [event.offset, event.callId], event.bytes, flags);
    }
    case 'flush': {
      const { offset, lengthBytes, callId, thread } = event;
      return record(RECORD.flush, [offset, lengthBytes, callId, [thread, 0]]);
    }
    case 'fence':
      return record(RECORD.fence, [event.callId, [event.thread, 0]]);
    case 'canary':
      return record(RECORD.canary, [event.page, event.pageCount, event.ownerIno]);
    case 'metadata':
      return record(RECORD.metadata, [event.callId], recordJson(event.record));
    case 'commit':
      return record(RECORD.commit, [event.callId], event.reason);
    case 'force':
      return record(RECORD.force, [event.callId, event.ino], event.kind);
    case 'output': {
      assert(event.lines.length > 0 && event.lines.every((line) => !line.includes('\n')));
      const stream = STREAMS.indexOf(event.stream);
      return record(RECORD.output, [event.timeNs, [stream, 0]], event.lines.join('\n'));
    }
    case 'process':
      return record(RECORD.process, [[event.pid, event.parentPid]], event.command);
    case 'workload-end': {
      const fields: Field[] = [event.timeNs, [event.exitStatus ?? -1, 0]];
      return record(RECORD.workloadEnd, fields, event.signal ?? '');
    }
  }
}

function encodeCall(event: TraceEvent & { type: 'call' }): Buffer {
  const opcode = opcodeOf(event.operation);
  assert(opcode !== undefined, `no operation ${event.operation}`);
  const bytes = encodeArguments(event);
  const { callId, timeNs, pid, ino } = event;
  const fields: Field[] = [callId, timeNs, [opcode, pid], [0, 0], ino, [bytes.length, 0]];
  return record(RECORD.call, fields, bytes);
}

/** An u64, or two 32-bit numbers. */
type Field = number | [number, number];

function record(kind: number, fields: Field[], tail: Uint8Array | string = '', flags = 0): Buffer {
  const tailBytes = typeof tail === 'string' ? Buffer.from(tail) : tail;
  const bytes = Buffer.alloc(HEAD_BYTES + fields.length * 8 + tailBytes.length);
  bytes.writeUInt32LE(bytes.length);
  bytes[4] = kind;
  bytes[5] = flags;
  let at = HEAD_BYTES;
  for (const field of fields) {
    if (typeof field === 'number') {
      bytes.writeBigUInt64LE(BigInt(field), at);
    } else {
      bytes.writeInt32LE(field[0] | 0, at);
      bytes.writeInt32LE(field[1] | 0, at + 4);
    }
    at += 8;
  }
  bytes.set(tailBytes, at);
  return bytes;
}

/** The text of a metadata record. */
export function recordJson(change: MetadataRecord): string {
  if (change.type !== 'set-xattr') return JSON.stringify(change);
  const base64 = Buffer.from(change.value).toString('base64');
  return JSON.stringify({ ...change, value: { base64 } });
}

function parseRecordJson(text: string): MetadataRecord | undefined {
  try {
    const change = JSON.parse(text) as MetadataRecord;
    if (typeof change.type !== 'string') return undefined;
    if (change.type !== 'set-xattr') return change;
    const { base64 } = change.value as unknown as { base64: string };
    return { ...change, value: new Uint8Array(Buffer.from(base64, 'base64')) };
  } catch {
    // The text is not JSON, or no object: the caller refuses the record.
    return undefined;
  }
}

function oneOf<T extends string>(words: readonly T[], word: string): T | undefined {
  return words.find((known) => known === word);
}

function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * U32;
}
