/**
 * Writes trace files: the base section of a recording, which the daemon's recorder then continues,
 * and whole traces. Synchronous, one chunk in memory. A file that was not ended is refused by its
 * reader, so that a death in between leaves nothing that looks like a trace.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { canaryPage } from '../canary.js';
import { PAGE_BYTES } from '../units.js';
import { mappedPages } from './pages.js';
import { encodeEvent } from './codec.js';
import type { TraceEvent } from './event.js';
import {
  CHUNK,
  type ChunkKind,
  encodeChunkHeader,
  encodeHeader,
  PAYLOAD_BYTES_MAX,
  type TraceHeader,
} from './format.js';
import type { TraceInfo, TraceSource } from './source.js';

export const PAGE_ENTRY_BYTES = 8 + PAGE_BYTES;

/** Call info(), database(), page() and event() in this order; each but info() may be left out. */
export class TraceWriter {
  private readonly fd: number;
  private sequence = 0;
  private eventCount = 0;
  private eventChunkCount = 0;
  private readonly pending = Buffer.alloc(PAYLOAD_BYTES_MAX);
  private pendingBytes = 0;
  private pendingKind: ChunkKind = CHUNK.info;

  /** Replaces what is at `path`. */
  constructor(path: string, header: TraceHeader) {
    this.fd = fs.openSync(path, 'w', 0o600);
    writeAll(this.fd, encodeHeader(header));
  }

  info(info: TraceInfo): void {
    this.writeChunk(CHUNK.info, Buffer.from(JSON.stringify(info)));
  }

  /** @param bytes as serializeDatabase() gives them */
  database(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PAYLOAD_BYTES_MAX) {
      this.writeChunk(CHUNK.database, bytes.subarray(at, at + PAYLOAD_BYTES_MAX));
    }
  }

  /** Ascending; pages that are left out have the content SPEC.md says. */
  page(regionPage: number, bytes: Uint8Array): void {
    assert(bytes.length === PAGE_BYTES);
    const entry = this.reserve(CHUNK.pages, PAGE_ENTRY_BYTES);
    entry.writeBigUInt64LE(BigInt(regionPage));
    entry.set(bytes, 8);
  }

  event(event: TraceEvent): void {
    const bytes = encodeEvent(event);
    this.reserve(CHUNK.events, bytes.length).set(bytes);
    this.eventCount++;
  }

  /** Writes the end and closes the file: it is a trace from here on. */
  end(): void {
    this.flush();
    const counts = Buffer.alloc(16);
    counts.writeBigUInt64LE(BigInt(this.eventCount));
    counts.writeBigUInt64LE(BigInt(this.eventChunkCount), 8);
    this.writeChunk(CHUNK.end, counts);
    this.close();
  }

  /** Closes the file without an end. @returns the sequence of the chunk that comes next */
  close(): number {
    this.flush();
    fs.closeSync(this.fd);
    return this.sequence;
  }

  private reserve(kind: ChunkKind, lengthBytes: number): Buffer {
    assert(lengthBytes <= PAYLOAD_BYTES_MAX);
    if (kind !== this.pendingKind || this.pendingBytes + lengthBytes > PAYLOAD_BYTES_MAX) {
      this.flush();
      this.pendingKind = kind;
    }
    const at = this.pendingBytes;
    this.pendingBytes += lengthBytes;
    return this.pending.subarray(at, this.pendingBytes);
  }

  private flush(): void {
    if (this.pendingBytes === 0) return;
    const payload = this.pending.subarray(0, this.pendingBytes);
    this.pendingBytes = 0;
    this.writeChunk(this.pendingKind, payload);
    if (this.pendingKind === CHUNK.events) this.eventChunkCount++;
  }

  private writeChunk(kind: ChunkKind, payload: Uint8Array): void {
    assert(payload.length <= PAYLOAD_BYTES_MAX, `a chunk of ${payload.length} bytes`);
    assert(this.pendingBytes === 0);
    writeAll(this.fd, encodeChunkHeader(kind, this.sequence, payload));
    writeAll(this.fd, payload);
    this.sequence++;
  }
}

/** A whole trace in one file, of whatever gives events. */
export function writeTrace(path: string, source: TraceSource): void {
  const { base } = source;
  const writer = new TraceWriter(path, { pageCount: base.pageCount, uuid: base.uuid });
  writer.info(source.info);
  writer.database(base.database);
  const mapped = mappedPages(base.database);
  const canary = Buffer.alloc(PAGE_BYTES);
  const zeroes = Buffer.alloc(PAGE_BYTES);
  for (let page = 0; page < base.pageCount; page++) {
    const bytes = base.page(page);
    const isZero = page === 0 || mapped.has(page);
    const unlisted = isZero ? zeroes : canaryPage(canary, page, 0);
    if (!unlisted.equals(bytes)) writer.page(page, bytes);
  }
  for (const event of source.events()) writer.event(event);
  writer.end();
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done);
  }
}
