/**
 * Traces by their bytes (SPEC.md, Trace), without the reader of lib/trace: a header to begin with,
 * and the events that were recorded, each with its fields as they lie.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

const HEADER_BYTES = 64;
const CHUNK_HEADER_BYTES = 32;
const CHUNK_MAGIC = 0x4b4e4843;

export interface RawEvent {
  kind: number;
  flags: number;
  body: Buffer;
}

export interface RawTrace {
  events: RawEvent[];
  chunkCount: number;
  /** What the end chunk says; undefined: the trace is cut. */
  end: { events: number; chunks: number } | undefined;
}

/** Writes a header and one chunk of information. */
export function writeTraceHead(path: string, info = '{}'): void {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('FDXTRACE', 0, 'latin1');
  header.writeUInt32LE(2, 8);
  header.writeUInt32LE(HEADER_BYTES, 12);
  header.writeUInt32LE(crc32(header.subarray(0, 60)), 60);
  writeFileSync(path, Buffer.concat([header, chunk(1, 0, Buffer.from(info))]));
}

function chunk(kind: number, sequence: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(CHUNK_HEADER_BYTES);
  header.writeUInt32LE(CHUNK_MAGIC, 0);
  header.writeUInt32LE(kind, 4);
  header.writeBigUInt64LE(BigInt(sequence), 8);
  header.writeUInt32LE(payload.length, 16);
  header.writeUInt32LE(crc32(payload), 20);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  return Buffer.concat([header, payload]);
}

/** Reads a trace, all checksums checked. */
export function readRawTrace(path: string): RawTrace {
  const bytes = readFileSync(path);
  const trace: RawTrace = { events: [], chunkCount: 0, end: undefined };
  let sequence = 0;
  for (let at = HEADER_BYTES; at < bytes.length; sequence += 1) {
    const header = bytes.subarray(at, at + CHUNK_HEADER_BYTES);
    const payloadBytes = header.readUInt32LE(16);
    const payload = bytes.subarray(at + CHUNK_HEADER_BYTES, at + CHUNK_HEADER_BYTES + payloadBytes);
    const ok =
      header.readUInt32LE(0) === CHUNK_MAGIC &&
      Number(header.readBigUInt64LE(8)) === sequence &&
      header.readUInt32LE(28) === crc32(header.subarray(0, 28)) &&
      header.readUInt32LE(20) === crc32(payload) &&
      trace.end === undefined;
    if (!ok) throw new Error(`chunk ${sequence} at byte ${at} is damaged`);
    const kind = header.readUInt32LE(4);
    if (kind === 4) {
      trace.chunkCount += 1;
      trace.events.push(...eventsOf(payload));
    }
    if (kind === 5) trace.end = { events: number(payload, 0), chunks: number(payload, 8) };
    at += CHUNK_HEADER_BYTES + payloadBytes;
  }
  return trace;
}

function eventsOf(payload: Buffer): RawEvent[] {
  const events: RawEvent[] = [];
  for (let at = 0; at < payload.length; ) {
    const lengthBytes = payload.readUInt32LE(at);
    const body = payload.subarray(at + 8, at + lengthBytes);
    events.push({ kind: payload[at + 4] as number, flags: payload[at + 5] as number, body });
    at += lengthBytes;
  }
  return events;
}

/** The u64 at `at`. */
export function number(body: Buffer, at: number): number {
  return Number(body.readBigUInt64LE(at));
}

export const KIND = {
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

/** Text behind the fixed fields of a record. */
export function textOf(event: RawEvent): string {
  const fixedBytes: Record<number, number> = {
    [KIND.metadata]: 8,
    [KIND.commit]: 8,
    [KIND.force]: 16,
    [KIND.output]: 16,
    [KIND.process]: 8,
    [KIND.workloadEnd]: 16,
  };
  return event.body.subarray(fixedBytes[event.kind]).toString();
}

/** callId of an event that has one. */
export function callIdOf(event: RawEvent): number {
  const at: Record<number, number> = { [KIND.store]: 8, [KIND.zero]: 8, [KIND.flush]: 16 };
  return number(event.body, at[event.kind] ?? 0);
}

/** Does to `region` what the trace says was done; canary pages are given to `canary`. */
export function replayStores(
  trace: RawTrace,
  region: Buffer,
  canary: (page: number, ownerIno: number) => Uint8Array,
): void {
  for (const { kind, body } of trace.events) {
    if (kind === KIND.store) region.set(body.subarray(16), number(body, 0));
    if (kind === KIND.zero) {
      region.fill(0, number(body, 0), number(body, 0) + number(body, 16));
    }
    if (kind !== KIND.canary) continue;
    for (let page = number(body, 0); page < number(body, 0) + number(body, 8); page += 1) {
      region.set(canary(page, number(body, 16)), page * 4096);
    }
  }
}

export function makeFifo(path: string): string {
  execFileSync('mkfifo', [path]);
  return path;
}
