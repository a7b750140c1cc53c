/** The recorder: traces it takes, and calls of either serving thread. */
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { OP } from '../../lib/frame.js';
import type { Recorder } from '../../lib/addon/recorder.js';
import { loadNative } from '../../lib/native.js';
import { MAPPING_OP } from '../../lib/trace/request.js';
import {
  callIdOf,
  KIND,
  makeFifo,
  number,
  type RawEvent,
  readRawTrace,
  textOf,
  writeTraceHead,
} from './raw_trace.js';
import { scratchFolder, scratchRegion } from './scratch.js';
import { NOTHING_TO_KILL, SERVE_READS, SERVE_WRITES, TinyMount } from './tiny_mount.js';

const FOPEN_DIRECT_IO = 1;
const native = loadNative();

function scratchTrace(t: Test): string {
  const path = join(scratchFolder(t), 'trace');
  writeTraceHead(path);
  return path;
}

function open(t: Test, path: string): Recorder {
  const recorder = native.openRecorder(path, { outputs: [] });
  t.teardown(() => recorder.close());
  return recorder;
}

const DAMAGES: [string, (path: string) => void, string, RegExp][] = [
  ['an empty file', (path) => truncateSync(path, 0), 'EBADMSG', /it is no trace/],
  ['another file', (path) => writeFileSync(path, 'x'.repeat(99)), 'EBADMSG', /it is no trace/],
  ['version 1', (path) => patch(path, 8, 1), 'EBADMSG', /a trace of version 1/],
  ['a cut chunk', (path) => truncateSync(path, 97), 'EBADMSG', /chunk at byte 64 is damaged/],
  [
    'half a chunk header',
    (path) => appendFileSync(path, 'CHNK'),
    'EBADMSG',
    /at byte 98 is damaged/,
  ],
  ['another sequence', (path) => patch(path, 72, 1), 'EBADMSG', /at byte 64 is damaged/],
  ['a chunk length', (path) => patch(path, 80, 1), 'EBADMSG', /at byte 64 is damaged/],
  [
    'a finished trace',
    (path) => native.openRecorder(path, { outputs: [] }).finish(),
    'EEXIST',
    /it is finished/,
  ],
];

function patch(path: string, at: number, value: number): void {
  const bytes = readFileSync(path);
  bytes[at] = value;
  writeFileSync(path, bytes);
}

t.test('a trace that cannot be gone on with is refused, and left as it is', async (t) => {
  for (const [what, damage, code, message] of DAMAGES) {
    const path = scratchTrace(t);
    damage(path);
    const before = readFileSync(path);
    const again = () => native.openRecorder(path, { outputs: [] });
    t.throws(again, { code, message }, what);
    t.throws(again, { message: path }, what);
    t.ok(before.equals(readFileSync(path)), what);
  }
});

t.test('an output that is no FIFO, or not there, is refused by its name', async (t) => {
  const path = scratchTrace(t);
  const outputs = (output: string) => ({ outputs: [{ path: output, stream: 'stdout' as const }] });
  t.throws(() => native.openRecorder(path, outputs(path)), { code: 'EINVAL', message: path });
  t.throws(() => native.openRecorder(path, outputs('/none')), { code: 'ENOENT', message: '/none' });
});

t.test('recordings follow each other in a trace until one finishes it', async (t) => {
  const path = scratchTrace(t);
  for (const text of ['fsync', 'limit']) {
    const recorder = native.openRecorder(path, { outputs: [] });
    recorder.append('commit', text, 0);
    recorder.sync();
    recorder.close();
  }
  t.same(readRawTrace(path).events.map(textOf), ['fsync', 'limit']);
  t.equal(readRawTrace(path).end, undefined);
  open(t, path).finish();
  t.same(readRawTrace(path).end, { events: 0, chunks: 0 });
});

t.test('every change of a region has its record, in order', async (t) => {
  const path = scratchTrace(t);
  const recorder = open(t, path);
  const region = scratchRegion(t, 600);
  region.record(recorder);
  region.store(100, Buffer.from('abc'));
  region.flush(100, 3);
  region.storeFlushed(5000, Buffer.alloc(3 << 19, 'x')); // more than one piece
  region.zeroFlushed(8192, 10);
  region.copyFlushed(100, 9000, 3);
  region.fence();
  region.poison(7);
  region.fillCanary(6, 3, 42);
  recorder.append('force', 'fsync', 2 ** 40);
  t.same(recorder.counters(), { events: 10, chunks: 2, calls: 0 });
  recorder.finish();
  const trace = readRawTrace(path);
  t.same(trace.end, { events: 10, chunks: 3 });
  t.same(trace.events.map(shape), [
    [KIND.store, 0, 100, 'abc'],
    [KIND.flush, 0, 100, 3, 0],
    [KIND.store, 1, 5000, 'x'.repeat(1 << 20)],
    [KIND.store, 1, 5000 + (1 << 20), 'x'.repeat(1 << 19)],
    [KIND.zero, 1, 8192, 10],
    [KIND.store, 1, 9000, 'abc'],
    [KIND.fence, 0, 0],
    [KIND.canary, 0, 6, 1, 42],
    [KIND.canary, 0, 8, 1, 42],
    [KIND.force, 0, 2 ** 40, 'fsync'],
  ]);
});

/** An event without its call, as numbers and text. */
function shape(event: RawEvent): (number | string)[] {
  const { kind, flags, body } = event;
  const at = (offset: number): number => number(body, offset);
  const fields: Record<number, () => (number | string)[]> = {
    [KIND.store]: () => [at(0), body.subarray(16).toString()],
    [KIND.zero]: () => [at(0), at(16)],
    [KIND.flush]: () => [at(0), at(8), body.readUInt32LE(24)],
    [KIND.fence]: () => [body.readUInt32LE(8)],
    [KIND.canary]: () => [at(0), at(8), at(16)],
    [KIND.force]: () => [at(8), textOf(event)],
  };
  return [kind, flags, ...(fields[kind]?.() ?? [])];
}

t.test('a call of a mapping is between the calls of FUSE, with what was done for it', async (t) => {
  const path = scratchTrace(t);
  const recorder = open(t, path);
  const region = scratchRegion(t, 16);
  region.record(recorder);
  const flags = 1;
  const fault = { operation: 'DAX_FAULT', pid: process.pid, tid: 5, ino: 7, offset: 4096 } as const;
  const first = recorder.begin({ ...fault, lengthBytes: 8192, flags });
  const other = {
    operation: 'DAX_DRAIN',
    pid: 0,
    tid: 0,
    ino: 0,
    offset: 0,
    lengthBytes: 0,
  } as const;
  const second = recorder.begin({ ...other, flags: 0 });
  t.equal(recorder.serve(first), 0);
  region.zeroFlushed(4096, 64);
  t.equal(recorder.serve(0), first);
  region.fence();
  recorder.end(first, 28);
  recorder.end(second, 0);
  recorder.finish();
  t.ok(first % 2 === 1 && second % 2 === 1 && first !== second, 'no request of FUSE is odd');
  const { events } = readRawTrace(path);
  const calls = events.filter(({ kind }) => kind === KIND.call);
  const numbers = calls.map(({ body }) => [
    ...[number(body, 0), body.readUInt32LE(16), body.readUInt32LE(20), number(body, 32)],
    ...[number(body, 48), number(body, 56), body.readUInt32LE(64), body.readUInt32LE(68)],
  ]);
  t.same(numbers, [
    [first, MAPPING_OP.DAX_FAULT, process.pid, 7, 4096, 8192, flags, 5],
    [second, MAPPING_OP.DAX_DRAIN, 0, 0, 0, 0, 0, 0],
  ]);
  const done = events.filter(({ kind }) => kind !== KIND.call && kind !== KIND.process);
  t.same(
    done.map(({ kind, body }) => [kind, number(body, kind === KIND.zero ? 8 : 0)]),
    [
      [KIND.zero, first],
      [KIND.fence, 0],
      [KIND.return, first],
      [KIND.return, second],
    ],
  );
  t.equal(done[2]!.body.readInt32LE(8), 28);
  t.match(textOf(events.find(({ kind }) => kind === KIND.process)!), /node/, 'and who it was');
});

t.test('a recorded region is recorded once, and not crashed', async (t) => {
  const recorder = open(t, scratchTrace(t));
  const region = scratchRegion(t, 16);
  region.trackUndecided();
  region.record(recorder);
  t.throws(() => region.record(recorder), /recorded already/);
  t.throws(() => region.crash({ keep: 'none' }), /a recorded region is not crashed/);
  region.store(4096, Buffer.from('x'));
  t.equal(region.undecidedLineCount(), 1, 'undecided lines are tracked all the same');
});

t.test('a line that never ends becomes several', async (t) => {
  const path = scratchTrace(t);
  const fifo = makeFifo(join(scratchFolder(t), 'fifo'));
  const recorder = native.openRecorder(path, { outputs: [{ path: fifo, stream: 'mark' }] });
  writeFileSync(fifo, 'x'.repeat(1_000_000));
  recorder.append('workload-end', '', 7);
  recorder.finish();
  const outputs = readRawTrace(path).events.filter(({ kind }) => kind === KIND.output);
  t.same(outputs.map(textOf).join(''), 'x'.repeat(1_000_000));
  t.same(outputs.map((event) => textOf(event).length).slice(0, 3), [1 << 18, 1 << 18, 1 << 18]);
  t.ok(
    outputs.every(({ body }) => body.readUInt32LE(8) === 1),
    'of the stream mark',
  );
});

t.test('nothing can be asked of a recorder that has finished', async (t) => {
  const recorder = open(t, scratchTrace(t));
  t.throws(() => recorder.append('commit', 'fsync', Number.NaN), RangeError);
  recorder.finish();
  t.throws(() => recorder.append('commit', 'fsync', 0), /the recorder is closed/);
  t.throws(() => recorder.finish(), /the recorder is closed/);
  recorder.close();
});

for (const [what, bits] of [
  ['serves', SERVE_READS | SERVE_WRITES | NOTHING_TO_KILL],
  ['hands over', SERVE_READS],
] as const) {
  t.test(`a call that the helper ${what} is recorded once, with what it did inside`, async (t) => {
    const path = scratchTrace(t);
    const recorder = open(t, path);
    const mount = new TinyMount({ recorder });
    mount.openFlags = FOPEN_DIRECT_IO;
    mount.share(bits);
    const done = mount.client(`const fd = fs.openSync(path, 'r+');
    for (let n = 0; n < 60; n++) fs.writeSync(fd, Buffer.alloc(99, n + 1), 0, 99, n * 4090);`);
    const blocking = setInterval(() => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
    }, 0);
    const { status, stderr } = await done;
    clearInterval(blocking);
    t.equal(status, 0, stderr);
    t.ok(mount.session.counters().helperRequests > 20, 'the helper took some');
    const asked = mount.callsOf(OP.WRITE).length;
    t.ok(what === 'serves' ? asked === 0 : asked === 60, `${asked} were asked of JavaScript`);
    mount.close();
    recorder.finish();

    const { events } = readRawTrace(path);
    const writes = events.filter(
      (e) => e.kind === KIND.call && e.body.readUInt32LE(16) === OP.WRITE,
    );
    t.equal(writes.length, 60);
    const called = new Set<number>();
    for (const { kind, body } of events) {
      if (kind === KIND.call) called.add(number(body, 0));
      if (kind !== KIND.return || called.delete(number(body, 0))) continue;
      t.fail('a return is of a recorded call, and there is one');
    }
    writes.forEach((call, index) => {
      const id = number(call.body, 0);
      const start = events.indexOf(call);
      const end = events.findIndex((e) => e.kind === KIND.return && number(e.body, 0) === id);
      const stores = events.filter((e) => e.kind === KIND.store && callIdOf(e) === id);
      const bytes = Buffer.concat(stores.map(({ body }) => body.subarray(16)));
      const inside = stores.every((store) => {
        const at = events.indexOf(store);
        return at > start && at < end;
      });
      if (!inside || !bytes.equals(Buffer.alloc(99, index + 1))) t.fail(`write ${index}`);
      t.equal(call.body.readUInt32LE(40), 40, 'its payload is not among the arguments');
    });
  });
}
