/**
 * The outer form of a trace file: a header and chunks with checksums. SPEC.md, Trace. Pure
 * encoding; writer.ts and reader.ts put chunks into files, codec.ts has the events inside. Mirrored
 * in native/trace_file.cc.
 */
import { crc32 } from 'node:zlib';

const TRACE_VERSION = 2;
export const HEADER_BYTES = 64;
export const CHUNK_HEADER_BYTES = 32;
export const PAYLOAD_BYTES_MAX = 4 * 2 ** 20;
const MAGIC = Buffer.from('FDXTRACE', 'latin1');
const CHUNK_MAGIC = 0x4b4e4843; // "CHNK"

/** In the order in which a trace has them; info and end once. */
export const CHUNK = { info: 1, database: 2, pages: 3, events: 4, end: 5 } as const;
export type ChunkKind = (typeof CHUNK)[keyof typeof CHUNK];

const AT = { version: 8, headerBytes: 12, pageCount: 16, uuid: 24, crc: 60 } as const;
const CHUNK_AT = { kind: 4, sequence: 8, payloadBytes: 16, payloadCrc: 20, crc: 28 } as const;

/** A trace is refused. One line: which file, what is wrong, where, what to do. */
export class TraceError extends Error {
  override readonly name = 'TraceError';
}

export interface TraceHeader {
  /** Of the region. */
  pageCount: number;
  /** Canonical form, lower case. */
  uuid: string;
}

export interface ChunkHeader {
  kind: number;
  /** From 0, without gaps. */
  sequence: number;
  payloadBytes: number;
  payloadCrc: number;
}

export function encodeHeader(header: TraceHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(TRACE_VERSION, AT.version);
  bytes.writeUInt32LE(HEADER_BYTES, AT.headerBytes);
  bytes.writeBigUInt64LE(BigInt(header.pageCount), AT.pageCount);
  bytes.write(header.uuid.replaceAll('-', ''), AT.uuid, 'hex');
  bytes.writeUInt32LE(crc32(bytes.subarray(0, AT.crc)), AT.crc);
  return bytes;
}

/** Whether the bytes, however few, may be the first of a trace. */
export function beginsLikeTrace(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, MAGIC.length);
  return bytes.subarray(0, length).equals(MAGIC.subarray(0, length));
}

/**
 * A string says why the bytes are none, in the words that come after the name of the file.
 * @param bytes HEADER_BYTES of them
 */
export function decodeHeader(bytes: Buffer): TraceHeader | string {
  if (!beginsLikeTrace(bytes)) return 'not a trace';
  const version = bytes.readUInt32LE(AT.version);
  // Said before the checksum, which another version may have elsewhere.
  if (version !== TRACE_VERSION) {
    return `version ${version}: this program reads version ${TRACE_VERSION}: record it again`;
  }
  if (bytes.readUInt32LE(AT.crc) !== crc32(bytes.subarray(0, AT.crc))) {
    return 'damaged at byte 0 (checksum of the header): record it again';
  }
  if (bytes.readUInt32LE(AT.headerBytes) !== HEADER_BYTES) {
    return `damaged at byte ${AT.headerBytes} (length of the header): record it again`;
  }
  const uuid = bytes.toString('hex', AT.uuid, AT.uuid + 16);
  return {
    pageCount: Number(bytes.readBigUInt64LE(AT.pageCount)),
    uuid: uuid.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
  };
}

/** The header of a chunk with this payload. */
export function encodeChunkHeader(kind: ChunkKind, sequence: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(CHUNK_HEADER_BYTES);
  bytes.writeUInt32LE(CHUNK_MAGIC);
  bytes.writeUInt32LE(kind, CHUNK_AT.kind);
  bytes.writeBigUInt64LE(BigInt(sequence), CHUNK_AT.sequence);
  bytes.writeUInt32LE(payload.length, CHUNK_AT.payloadBytes);
  bytes.writeUInt32LE(crc32(payload), CHUNK_AT.payloadCrc);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CHUNK_AT.crc)), CHUNK_AT.crc);
  return bytes;
}

/** A string says in a few words why the bytes are none. */
export function decodeChunkHeader(bytes: Buffer): ChunkHeader | string {
  if (bytes.readUInt32LE() !== CHUNK_MAGIC) return 'no chunk begins here';
  if (bytes.readUInt32LE(CHUNK_AT.crc) !== crc32(bytes.subarray(0, CHUNK_AT.crc))) {
    return 'checksum of a chunk header';
  }
  const payloadBytes = bytes.readUInt32LE(CHUNK_AT.payloadBytes);
  if (payloadBytes > PAYLOAD_BYTES_MAX) return 'length of a chunk';
  return {
    kind: bytes.readUInt32LE(CHUNK_AT.kind),
    sequence: Number(bytes.readBigUInt64LE(CHUNK_AT.sequence)),
    payloadBytes,
    payloadCrc: bytes.readUInt32LE(CHUNK_AT.payloadCrc),
  };
}
