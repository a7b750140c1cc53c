/** A trace that is cut, damaged or of another version is refused as a whole, in one line. */
import fs from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { crc32 } from 'node:zlib';
import type { TraceEvent } from '../../lib/trace/event.js';
import { MemoryTrace } from '../../lib/trace/memory_trace.js';
import { TraceReader } from '../../lib/trace/reader.js';
import { writeTrace } from '../../lib/trace/writer.js';
import { makeDir } from '../unit/image_fixture.js';
import { baseFile, INFO, SAMPLE_EVENTS } from './sample.js';

interface Sample {
  file: string;
  bytes: Buffer;
  /** Offsets of chunk headers by kind; the first of each. */
  chunks: Map<number, number>;
}

function sample(t: Test): Sample {
  const { trace } = baseFile(t);
  // The base alone has no end: it is closed here with one that holds no events.
  const base = fs.readFileSync(trace);
  t.throws(() => new TraceReader(trace), { name: 'TraceError', message: /cut after/ });
  const file = path.join(makeDir(t), 'trace');
  fs.writeFileSync(trace, Buffer.concat([base, endChunk(chunkCount(base))]));
  const reader = new TraceReader(trace);
  writeTrace(file, new MemoryTrace(reader.base, SAMPLE_EVENTS, INFO));
  reader.close();
  const bytes = fs.readFileSync(file);
  const chunks = new Map<number, number>();
  for (let at = 64; at < bytes.length; at += 32 + bytes.readUInt32LE(at + 16)) {
    const kind = bytes.readUInt32LE(at + 4);
    if (!chunks.has(kind)) chunks.set(kind, at);
  }
  t.same([...chunks.keys()], [1, 2, 3, 4, 5]);
  return { file, bytes, chunks };
}

function chunkCount(bytes: Buffer): number {
  let count = 0;
  for (let at = 64; at < bytes.length; at += 32 + bytes.readUInt32LE(at + 16)) count++;
  return count;
}

function endChunk(sequence: number): Buffer {
  const bytes = Buffer.alloc(32 + 16);
  bytes.writeUInt32LE(0x4b4e4843);
  bytes.writeUInt32LE(5, 4);
  bytes.writeUInt32LE(sequence, 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt32LE(crc32(bytes.subarray(32)), 20);
  sealChunk(bytes, 0);
  return bytes;
}

/** Makes the checksums of a changed chunk right again. */
function sealChunk(bytes: Buffer, at: number): void {
  const payload = bytes.subarray(at + 32, at + 32 + bytes.readUInt32LE(at + 16));
  bytes.writeUInt32LE(crc32(payload), at + 20);
  bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 28)), at + 28);
}

function refused(t: Test, file: string, bytes: Buffer, message: RegExp, what: string): void {
  fs.writeFileSync(file, bytes);
  t.throws(() => new TraceReader(file), { name: 'TraceError', message }, what);
  try {
    new TraceReader(file).close();
  } catch (error) {
    t.match((error as Error).message, /^[^\n]+$/, 'one line');
    t.ok((error as Error).message.startsWith(`${file}: `), 'names the file');
  }
}

t.test('a byte that changed anywhere is found', async (t) => {
  const { file, bytes, chunks } = sample(t);
  const places: [what: string, at: number, message: RegExp][] = [
    ['magic', 0, /: not a trace$/],
    ['version', 8, /: version 253: this program reads version 2: record it again$/],
    ['length of the header', 12, /damaged at byte 0 \(checksum of the header\)/],
    ['page count', 16, /damaged at byte 0/],
    ['uuid', 30, /damaged at byte 0/],
    ['zeroes of the header', 50, /damaged at byte 0/],
    ['checksum of the header', 61, /damaged at byte 0/],
  ];
  for (const [kind, at] of chunks) {
    const head = new RegExp(`damaged at byte ${at} \\(checksum of a chunk header\\)`);
    places.push([`magic of chunk ${kind}`, at, new RegExp(`byte ${at} \\(no chunk begins here`)]);
    for (const field of [4, 8, 12, 16, 20, 24, 28]) {
      places.push([`chunk ${kind}, header byte ${field}`, at + field, head]);
    }
    const body = new RegExp(`damaged at byte ${at + 32} \\(checksum of a chunk\\)`);
    const payloadBytes = bytes.readUInt32LE(at + 16);
    for (const field of [0, payloadBytes >> 1, payloadBytes - 1]) {
      places.push([`chunk ${kind}, payload byte ${field}`, at + 32 + field, body]);
    }
  }
  for (const [what, at, message] of places) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 0xff;
    refused(t, file, changed, message, what);
  }
});

t.test('each single byte of the header and of small chunks matters', async (t) => {
  const { file, bytes, chunks } = sample(t);
  const ends: [number, number][] = [
    [0, 64],
    [chunks.get(1)!, chunks.get(2)!],
    [chunks.get(4)!, bytes.length],
  ];
  const missed: number[] = [];
  for (const [from, to] of ends) {
    for (let at = from; at < to; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      fs.writeFileSync(file, changed);
      try {
        new TraceReader(file).close();
        missed.push(at);
      } catch (error) {
        if ((error as Error).name !== 'TraceError') throw error;
      }
    }
  }
  t.same(missed, []);
});

t.test('a trace that is cut says where and what to do', async (t) => {
  const { file, bytes, chunks } = sample(t);
  const lengths = [1, 63, 64, 65, 96, chunks.get(4)!, chunks.get(5)!, bytes.length - 1];
  for (const length of lengths) {
    const message = new RegExp(`cut after ${length} bytes \\(no end of trace\\): record it again$`);
    refused(t, file, bytes.subarray(0, length), message, `${length} bytes`);
  }
  refused(t, file, Buffer.alloc(0), /: not a trace: empty$/, 'no bytes');
  refused(t, file, Buffer.from('#!/bin/sh\n'.repeat(20)), /: not a trace$/, 'another file');
  const more = Buffer.concat([bytes, Buffer.alloc(1)]);
  refused(t, file, more, /bytes after the end of the trace/, 'one byte too many');
});

t.test('what is whole and makes no sense is refused too', async (t) => {
  const { file, bytes, chunks } = sample(t);
  const [info, database, pages, events, end] = [1, 2, 3, 4, 5].map((kind) => chunks.get(kind)!);
  const changes: [what: string, chunk: number, at: number, value: number, message: RegExp][] = [
    ['another kind', pages!, 4, 9, /a chunk of kind 9 after one of kind 2/],
    ['pages before the database', database!, 4, 3, /a chunk of kind 2|kind 3|page of the base/],
    ['two infos', database!, 4, 1, /a chunk of kind 1 after one of kind 1/],
    ['no info', info!, 4, 2, /no info/],
    ['a chunk twice', events!, 8, 1, /chunk 1 where \d+ belongs/],
    ['info that is no JSON', info!, 32, 0x5b, /info that is not JSON/],
    ['a page outside', pages!, 32 + 2, 1, /a page of the base/],
    ['pages that descend', pages!, 32, 40, /a page of the base/],
    ['an unknown event', events!, 32 + 4, 99, /event of kind 99/],
    ['an event too short', events!, 32, 8, /length of an event/],
    ['an event too long', events!, 32 + 3, 1, /length of an event/],
    ['one event less', end!, 32, 1, /counts at the end/],
    ['one chunk more', end!, 40, 9, /counts at the end/],
  ];
  for (const [what, chunk, at, value, message] of changes) {
    const changed = Buffer.from(bytes);
    changed[chunk + at] = value;
    sealChunk(changed, chunk);
    refused(t, file, changed, message, what);
  }
});

t.test('what is no readable file is refused by name', async (t) => {
  const dir = makeDir(t);
  const missing = path.join(dir, 'missing');
  t.throws(() => new TraceReader(missing), {
    name: 'TraceError',
    message: `${missing}: cannot be opened: no such file or directory`,
  });
  t.throws(() => new TraceReader(dir), { message: /not a regular file/ });
  t.throws(() => new TraceReader('/dev/null'), { message: /not a regular file/ });
});

t.test('an event that reaches outside the region is refused', async (t) => {
  const { file } = sample(t);
  const reader = new TraceReader(file);
  t.teardown(() => reader.close());
  const end = reader.base.pageCount * 4096;
  const bytes = Buffer.alloc(64);
  const table: [TraceEvent, RegExp | undefined][] = [
    [{ type: 'store', callId: 1, offset: end - 64, bytes, isFlushed: true }, undefined],
    [{ type: 'store', callId: 1, offset: end - 63, bytes, isFlushed: true }, /a store outside/],
    [{ type: 'flush', callId: 1, offset: end, lengthBytes: 1, thread: 0 }, /a flush outside/],
    [{ type: 'canary', page: end / 4096, pageCount: 1, ownerIno: 0 }, /a canary outside/],
  ];
  for (const [event, message] of table) {
    const other = `${file}.other`;
    writeTrace(other, new MemoryTrace(reader.base, [event]));
    if (message === undefined) new TraceReader(other).close();
    else t.throws(() => new TraceReader(other), { name: 'TraceError', message });
  }
});
