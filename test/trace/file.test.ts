/** Traces written and read back: the base, the events, and files of any length. */
import fs from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { canaryPage } from '../../lib/canary.js';
import { openDatabaseBytes } from '../../lib/metadata/schema.js';
import { writeBase } from '../../lib/trace/base.js';
import { encodeEvent } from '../../lib/trace/codec.js';
import type { TraceEvent } from '../../lib/trace/event.js';
import { CHUNK, encodeChunkHeader } from '../../lib/trace/format.js';
import { MemoryTrace } from '../../lib/trace/memory_trace.js';
import { PageRuns } from '../../lib/trace/pages.js';
import { TraceReader } from '../../lib/trace/reader.js';
import { writeTrace } from '../../lib/trace/writer.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { UUID, makeDir } from '../unit/image_fixture.js';
import {
  baseFile,
  closedImage,
  copyEvents,
  INFO,
  PAGE_COUNT,
  plain,
  SAMPLE_EVENTS,
} from './sample.js';

function open(t: Test, file: string): TraceReader {
  const reader = new TraceReader(file);
  t.teardown(() => reader.close());
  return reader;
}

/** The base of closedImage(), its page bytes in memory. */
function sampleTrace(t: Test, events: TraceEvent[]): MemoryTrace {
  const { trace, nextSequence } = baseFile(t);
  appendEvents(trace, nextSequence, [[]]);
  return new MemoryTrace(open(t, trace).base, events, INFO);
}

/** What a recorder does: event chunks and the end behind a base section. */
function appendEvents(trace: string, nextSequence: number, chunks: TraceEvent[][]): void {
  let sequence = nextSequence;
  const counts = Buffer.alloc(16);
  const append = (kind: 4 | 5, payload: Buffer): void => {
    fs.appendFileSync(trace, encodeChunkHeader(kind, sequence++, payload));
    fs.appendFileSync(trace, payload);
  };
  for (const events of chunks) append(CHUNK.events, Buffer.concat(events.map(encodeEvent)));
  counts.writeBigUInt64LE(BigInt(chunks.flat().length));
  counts.writeBigUInt64LE(BigInt(chunks.length), 8);
  append(CHUNK.end, counts);
}

t.test('events of every kind come back as they were written', async (t) => {
  const file = path.join(makeDir(t), 'trace');
  writeTrace(file, sampleTrace(t, SAMPLE_EVENTS));
  const reader = open(t, file);
  t.same(plain(copyEvents(reader)), plain(SAMPLE_EVENTS));
  t.same(plain(copyEvents(reader)), plain(SAMPLE_EVENTS), 'each reading starts at the first');
  t.same(reader.info, INFO);
});

t.test('the base shows the image as it was', async (t) => {
  const { trace, nextSequence, filePage } = baseFile(t);
  appendEvents(trace, nextSequence, [[]]);
  const { base } = open(t, trace);
  t.match(base, { pageCount: PAGE_COUNT, uuid: UUID });
  t.equal(Buffer.from(base.page(0)).toString('latin1', 0, 7), 'FAUXDAX');
  t.equal(Buffer.from(base.page(filePage)).toString('latin1', 0, 4), 'old\0');
  t.ok(
    base.page(filePage + 1).every((byte) => byte === 0),
    'a mapped page of zeroes',
  );
  const free = PAGE_COUNT - 1;
  t.same(base.page(free), canaryPage(Buffer.alloc(PAGE_BYTES), free, 0), 'a free page');
  const db = openDatabaseBytes(base.database);
  t.teardown(() => db.close());
  t.equal(db.prepare("SELECT ino FROM name WHERE name = 'file'").pluck().get(), 2);
  t.throws(() => base.page(PAGE_COUNT), RangeError);
});

t.test('a base keeps no page that nobody can see', async (t) => {
  const { dir, filePage } = closedImage(t);
  const region = path.join(dir, 'region');
  const fd = fs.openSync(region, 'r+');
  fs.writeSync(fd, Buffer.alloc(PAGE_BYTES, 0x55), 0, PAGE_BYTES, (PAGE_COUNT - 1) * PAGE_BYTES);
  fs.closeSync(fd);
  const trace = path.join(dir, 'trace');
  appendEvents(trace, writeBase(dir, trace, INFO), [[]]);
  const bytes = fs.readFileSync(trace);
  t.notOk(bytes.includes(Buffer.alloc(64, 0x55)));
  t.ok(bytes.includes(Buffer.from('old\0')), `page ${filePage}`);
  const { base } = open(t, trace);
  t.equal(Buffer.from(base.page(PAGE_COUNT - 1)).toString('latin1', 0, 8), 'FDXSTALE');
});

t.test('pages that were read lately do not push out what is asked for', async (t) => {
  const { base } = sampleTrace(t, []);
  const first = Array.from({ length: PAGE_COUNT }, (_, page) => Buffer.from(base.page(page)));
  for (let page = PAGE_COUNT - 1; page >= 0; page--) t.same(base.page(page), first[page]);
});

t.test('a recorder goes on where the base section ends', async (t) => {
  const { trace, nextSequence } = baseFile(t);
  const parts = [SAMPLE_EVENTS.slice(0, 5), SAMPLE_EVENTS.slice(5, 6), SAMPLE_EVENTS.slice(6)];
  appendEvents(trace, nextSequence, parts);
  t.same(plain(copyEvents(open(t, trace))), plain(SAMPLE_EVENTS));
});

t.test('a long trace is many chunks, and none is above 4 MiB', async (t) => {
  const file = path.join(makeDir(t), 'trace');
  const bytes = Buffer.alloc(100_000, 1);
  const events: TraceEvent[] = Array.from({ length: 200 }, (_, index) => {
    return { type: 'store', callId: index, offset: 4096, bytes, isFlushed: true };
  });
  writeTrace(file, sampleTrace(t, events));
  let chunks = 0;
  const reader = new TraceReader(file, { onProgress: () => chunks++ });
  t.teardown(() => reader.close());
  t.ok(chunks >= 8, `${chunks} chunks`);
  let callId = 0;
  for (const event of reader.events()) {
    if (event.type !== 'store' || event.callId !== callId || !bytes.equals(event.bytes)) break;
    callId++;
  }
  t.equal(callId, 200);
});

t.test('a zero record is one store of zeroes for each MiB begun', async (t) => {
  const { trace, nextSequence } = baseFile(t);
  const zero = (offset: number, lengthBytes: number): Buffer => {
    const record = Buffer.alloc(32);
    record.writeUInt32LE(32);
    record[4] = 4;
    record.writeBigUInt64LE(BigInt(offset), 8);
    record.writeBigUInt64LE(77n, 16);
    record.writeBigUInt64LE(BigInt(lengthBytes), 24);
    return record;
  };
  const payload = zero(100, PAGE_COUNT * PAGE_BYTES - 100);
  fs.appendFileSync(trace, encodeChunkHeader(CHUNK.events, nextSequence, payload));
  fs.appendFileSync(trace, payload);
  const counts = Buffer.alloc(16);
  counts.writeBigUInt64LE(1n);
  counts.writeBigUInt64LE(1n, 8);
  fs.appendFileSync(trace, encodeChunkHeader(CHUNK.end, nextSequence + 1, counts));
  fs.appendFileSync(trace, counts);
  const events = copyEvents(open(t, trace));
  t.match(events, [{ type: 'store', callId: 77, offset: 100, isFlushed: true }]);
  t.equal((events[0] as { bytes: Uint8Array }).bytes.length, PAGE_COUNT * PAGE_BYTES - 100);
});

t.test('an image that is in use, or was not closed, is no base', async (t) => {
  const { dir } = closedImage(t);
  const trace = path.join(dir, 'trace');
  const held = { lockFile: () => false };
  t.throws(() => writeBase(dir, trace, INFO, held), { name: 'ImageError', message: /in use/ });
  const region = path.join(dir, 'region');
  const bytes = fs.readFileSync(region);
  const { encodeSuperblock } = await import('../../lib/superblock.js');
  encodeSuperblock({ uuid: UUID, pageCount: PAGE_COUNT, state: 1 }).copy(bytes);
  fs.writeFileSync(region, bytes);
  t.throws(() => writeBase(dir, trace, INFO), { message: /was not closed in order/ });
});

t.test('a page is in a run from its first to its last', async (t) => {
  const runs = new PageRuns([
    { page: 1, pageCount: 1 },
    { page: 2, pageCount: 2 },
    { page: 7, pageCount: 3 },
  ]);
  const found = Array.from({ length: 12 }, (_, page) => page).filter((page) => runs.has(page));
  t.same(found, [1, 2, 3, 7, 8, 9]);
  t.notOk(new PageRuns([]).has(0));
});
