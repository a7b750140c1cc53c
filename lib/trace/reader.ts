/**
 * A trace file as a TraceSource. Opening verifies all of it (checksums, order, counts, every event)
 * before anything is run on it; afterwards each reading of the events goes through the file once
 * more, one chunk in memory. In memory for good: the database and where each page of the base lies.
 * Synchronous; the file must not change meanwhile.
 */
import fs from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { crc32 } from 'node:zlib';
import { REGION_PAGES_MIN } from '../image.js';
import { REGION_PAGES_MAX } from '../space/allocator.js';
import { PAGE_BYTES } from '../units.js';
import { PagedBase } from './pages.js';
import { decodeEvents } from './codec.js';
import type { TraceEvent } from './event.js';
import {
  beginsLikeTrace,
  CHUNK,
  CHUNK_HEADER_BYTES,
  type ChunkHeader,
  decodeChunkHeader,
  decodeHeader,
  HEADER_BYTES,
  PAYLOAD_BYTES_MAX,
  TraceError,
  type TraceHeader,
} from './format.js';
import type { BaseImage, TraceInfo, TraceSource } from './source.js';
import { PAGE_ENTRY_BYTES } from './writer.js';

export interface ReadOptions {
  /** While the file is verified, once a chunk. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
}

interface Chunk extends ChunkHeader {
  /** Of its header in the file. */
  offset: number;
  payload: Buffer;
}

export class TraceReader implements TraceSource {
  readonly base: BaseImage;
  readonly info: TraceInfo;
  private readonly file: TraceFile;
  private readonly eventsOffset: number;

  /** @throws {TraceError} it cannot be opened, is cut or damaged, or has another version */
  constructor(path: string, options: ReadOptions = {}) {
    this.file = new TraceFile(path);
    try {
      const found = new Verifier(this.file, options).run();
      this.info = found.info;
      this.eventsOffset = found.eventsOffset;
      const { pageCount, uuid } = found.header;
      const listed = (page: number) => this.listedPage(found.pages.get(page));
      this.base = new PagedBase({ pageCount, uuid, database: found.database, listed });
    } catch (error) {
      this.file.close();
      throw error;
    }
  }

  *events(): Generator<TraceEvent> {
    const buffer = this.file.chunkBuffer();
    const regionBytes = this.base.pageCount * PAGE_BYTES;
    let offset = this.eventsOffset;
    for (;;) {
      const chunk = this.file.chunk(offset, buffer);
      if (chunk.kind !== CHUNK.events) return;
      yield* this.file.events(chunk, regionBytes);
      offset += CHUNK_HEADER_BYTES + chunk.payloadBytes;
    }
  }

  /** May be called twice; nothing is read afterwards. */
  close(): void {
    this.file.close();
  }

  private listedPage(offset: number | undefined): Buffer | undefined {
    if (offset === undefined) return undefined;
    const bytes = Buffer.alloc(PAGE_BYTES);
    this.file.read(bytes, offset);
    return bytes;
  }
}

/** The file and its name: every refusal is made here. */
class TraceFile {
  readonly sizeBytes: number;
  private fd: number | undefined;

  constructor(readonly path: string) {
    try {
      this.fd = fs.openSync(path, 'r');
    } catch (error) {
      throw new TraceError(`${path}: cannot be opened: ${reasonOf(error)}`);
    }
    const stat = fs.fstatSync(this.fd);
    if (!stat.isFile()) {
      this.close();
      throw new TraceError(`${path}: not a trace: not a regular file`);
    }
    this.sizeBytes = stat.size;
  }

  close(): void {
    if (this.fd === undefined) return;
    fs.closeSync(this.fd);
    this.fd = undefined;
  }

  damaged(offset: number, what: string): TraceError {
    return new TraceError(`${this.path}: damaged at byte ${offset} (${what}): record it again`);
  }

  cut(): TraceError {
    const where = `cut after ${this.sizeBytes} bytes`;
    return new TraceError(`${this.path}: ${where} (no end of trace): record it again`);
  }

  /** Room for any chunk of this file. */
  chunkBuffer(): Buffer {
    return Buffer.allocUnsafe(Math.min(this.sizeBytes, PAYLOAD_BYTES_MAX));
  }

  /** Fills `target`. */
  read(target: Buffer, offset: number): void {
    if (this.fd === undefined) throw new Error(`${this.path} is closed`);
    for (let done = 0; done < target.length; ) {
      let count: number;
      try {
        count = fs.readSync(this.fd, target, done, target.length - done, offset + done);
      } catch (error) {
        throw new TraceError(`${this.path}: cannot be read: ${reasonOf(error)}`);
      }
      if (count === 0) throw this.cut();
      done += count;
    }
  }

  header(): TraceHeader {
    if (this.sizeBytes === 0) throw new TraceError(`${this.path}: not a trace: empty`);
    const bytes = Buffer.alloc(Math.min(HEADER_BYTES, this.sizeBytes));
    this.read(bytes, 0);
    if (bytes.length < HEADER_BYTES) {
      throw beginsLikeTrace(bytes) ? this.cut() : new TraceError(`${this.path}: not a trace`);
    }
    const header = decodeHeader(bytes);
    if (typeof header === 'string') throw new TraceError(`${this.path}: ${header}`);
    if (header.pageCount < REGION_PAGES_MIN || header.pageCount > REGION_PAGES_MAX) {
      throw this.damaged(0, `${header.pageCount} pages`);
    }
    return header;
  }

  /** The chunk at `offset`; its payload lies in `buffer`. */
  chunk(offset: number, buffer: Buffer): Chunk {
    if (offset + CHUNK_HEADER_BYTES > this.sizeBytes) throw this.cut();
    const head = buffer.subarray(0, CHUNK_HEADER_BYTES);
    this.read(head, offset);
    const header = decodeChunkHeader(head);
    if (typeof header === 'string') throw this.damaged(offset, header);
    if (offset + CHUNK_HEADER_BYTES + header.payloadBytes > this.sizeBytes) throw this.cut();
    const payload = buffer.subarray(0, header.payloadBytes);
    this.read(payload, offset + CHUNK_HEADER_BYTES);
    if (crc32(payload) !== header.payloadCrc) {
      throw this.damaged(offset + CHUNK_HEADER_BYTES, 'checksum of a chunk');
    }
    return { ...header, offset, payload };
  }

  events(chunk: Chunk, regionBytes: number): Generator<TraceEvent, number> {
    const start = chunk.offset + CHUNK_HEADER_BYTES;
    const refuse = (at: number, what: string): never => {
      throw this.damaged(start + at, what);
    };
    return decodeEvents(chunk.payload, { regionBytes, refuse });
  }
}

/** Goes through all of a file once. */
class Verifier {
  private readonly databaseParts: Buffer[] = [];
  private readonly pages = new Map<number, number>();
  private info: TraceInfo | undefined;
  private eventCount = 0;
  private eventChunkCount = 0;
  private eventsOffset: number | undefined;
  private lastPage = -1;
  private header: TraceHeader = { pageCount: 0, uuid: '' };

  constructor(
    private readonly file: TraceFile,
    private readonly options: ReadOptions,
  ) {}

  run(): {
    header: TraceHeader;
    info: TraceInfo;
    database: Buffer;
    /** Where the bytes of each listed page are in the file. */
    pages: Map<number, number>;
    eventsOffset: number;
  } {
    const { file } = this;
    this.header = file.header();
    const buffer = file.chunkBuffer();
    let lastKind = 0;
    let offset = HEADER_BYTES;
    for (let sequence = 0; lastKind !== CHUNK.end; sequence++) {
      const chunk = file.chunk(offset, buffer);
      if (chunk.sequence !== sequence) {
        throw file.damaged(offset, `chunk ${chunk.sequence} where ${sequence} belongs`);
      }
      const isAgain = chunk.kind === lastKind;
      const isSingle = chunk.kind === CHUNK.info || chunk.kind === CHUNK.end;
      if (chunk.kind < lastKind || (isAgain && isSingle) || chunk.kind > CHUNK.end) {
        throw file.damaged(offset, `a chunk of kind ${chunk.kind} after one of kind ${lastKind}`);
      }
      this.take(chunk);
      lastKind = chunk.kind;
      offset += CHUNK_HEADER_BYTES + chunk.payloadBytes;
      this.options.onProgress?.(offset, file.sizeBytes);
    }
    if (offset !== file.sizeBytes) throw file.damaged(offset, 'bytes after the end of the trace');
    if (this.info === undefined) throw file.damaged(HEADER_BYTES, 'no info');
    if (this.databaseParts.length === 0) throw file.damaged(HEADER_BYTES, 'no database');
    return {
      header: this.header,
      info: this.info,
      database: Buffer.concat(this.databaseParts),
      pages: this.pages,
      eventsOffset: this.eventsOffset!,
    };
  }

  private take(chunk: Chunk): void {
    if (chunk.kind >= CHUNK.events) this.eventsOffset ??= chunk.offset;
    switch (chunk.kind) {
      case CHUNK.info:
        this.info = this.parseInfo(chunk);
        return;
      case CHUNK.database:
        this.databaseParts.push(Buffer.from(chunk.payload));
        return;
      case CHUNK.pages:
        this.takePages(chunk);
        return;
      case CHUNK.events:
        this.takeEvents(chunk);
        return;
      case CHUNK.end:
        this.compareCounts(chunk);
        return;
      default:
        throw this.file.damaged(chunk.offset, `a chunk of kind ${chunk.kind}`);
    }
  }

  private parseInfo(chunk: Chunk): TraceInfo {
    try {
      return JSON.parse(chunk.payload.toString('utf8')) as TraceInfo;
    } catch {
      throw this.file.damaged(chunk.offset, 'info that is not JSON');
    }
  }

  private takePages(chunk: Chunk): void {
    const start = chunk.offset + CHUNK_HEADER_BYTES;
    for (let at = 0; at < chunk.payloadBytes; at += PAGE_ENTRY_BYTES) {
      const isWhole = at + PAGE_ENTRY_BYTES <= chunk.payloadBytes;
      const page = isWhole ? Number(chunk.payload.readBigUInt64LE(at)) : -1;
      if (page <= this.lastPage || page >= this.header.pageCount) {
        throw this.file.damaged(start + at, 'a page of the base');
      }
      this.lastPage = page;
      this.pages.set(page, start + at + 8);
    }
  }

  private takeEvents(chunk: Chunk): void {
    const events = this.file.events(chunk, this.header.pageCount * PAGE_BYTES);
    for (;;) {
      const { done, value } = events.next();
      if (done !== true) continue;
      this.eventCount += value;
      this.eventChunkCount++;
      return;
    }
  }

  private compareCounts(chunk: Chunk): void {
    const { payload, offset } = chunk;
    const isRight =
      payload.length === 16 &&
      payload.readBigUInt64LE() === BigInt(this.eventCount) &&
      payload.readBigUInt64LE(8) === BigInt(this.eventChunkCount);
    if (!isRight) throw this.file.damaged(offset, 'the counts at the end of the trace');
  }
}

/** `no such file or directory` */
function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return getSystemErrorMap().get(errno ?? 0)?.[1] ?? message;
}
