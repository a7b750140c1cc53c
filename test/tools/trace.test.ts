/** `fauxdax trace` and `fauxdax lint` on traces that are whole, and on traces that are not. */
import { spawnSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import type { TraceEvent } from '../../lib/trace/event.js';
import { MemoryTrace } from '../../lib/trace/memory_trace.js';
import { writeTrace } from '../../lib/trace/writer.js';
import { call, INFO, SAMPLE_EVENTS, sampleBase } from '../trace/sample.js';
import { makeDir } from '../unit/image_fixture.js';

const MAIN = resolve('dist/tools/fauxdax.js');
const ESCAPE = '\u001b';

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function fauxdax(args: string[], environment: NodeJS.ProcessEnv = {}): Ended {
  const env = { ...process.env, ...environment };
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 30_000, env });
}

function traceOf(t: Test, events: TraceEvent[]): string {
  const file = join(makeDir(t), 'trace');
  writeTrace(file, new MemoryTrace(sampleBase(t), events, INFO));
  return file;
}

const write = call('WRITE', { offset: 0, lengthBytes: 3 });
const callId = write.callId;
const UNSAFE: TraceEvent[] = [
  { type: 'process', pid: 7, parentPid: 1, command: '/usr/bin/python3 work.py' },
  write,
  { type: 'store', callId, offset: 4096 + 64, bytes: Buffer.from('abc'), isFlushed: true },
  { type: 'return', callId, error: 0 },
  { type: 'output', timeNs: 5_000_000, stream: 'stdout', lines: ['done \u001b[31m'] },
  { type: 'return', callId: 77, error: 28 },
  { type: 'workload-end', timeNs: 6_000_000, exitStatus: 0, signal: null },
];

t.test('each event is a line with its position, time and process', async (t) => {
  const { status, stdout, stderr } = fauxdax(['trace', traceOf(t, UNSAFE)]);
  t.match({ status, stderr }, { status: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  t.equal(lines.length, UNSAFE.length + 1);
  t.match(lines[0], /^ *position +seconds +process +event$/);
  t.match(lines[1], /^ +0 +7 +is '\/usr\/bin\/python3 work\.py', child of 1$/);
  t.match(lines[2], /^ +1 +0\.0000\d\d +7 python3 +write\(file, offset 0, 3 bytes\)$/);
  t.match(lines[3], /^ +2 +store 3 B at page 1 \+ 64 \(file, offset 64\): 616263$/);
  t.match(lines[4], /^ +3 += 0$/);
  t.match(lines[5], /^ +4 +0\.005000 +prints 'done \\x1b\[31m'$/);
  t.match(lines[6], /^ +5 += ENOSPC$/);
  t.match(lines[7], /^ +6 +0\.006000 +end of the workload: status 0$/);
  t.notOk(stdout.includes(ESCAPE), 'no colour, and nothing that acts on a terminal');
});

t.test('every kind of event has its words', async (t) => {
  const { status, stdout } = fauxdax(['trace', traceOf(t, SAMPLE_EVENTS)]);
  t.equal(status, 0);
  t.equal(stdout.trimEnd().split('\n').length, SAMPLE_EVENTS.length + 1);
  const words = [
    /store to a mapping of file \(offset 70, 3 bytes, line 1\)$/,
    /store to the region \(offset 245760, 64 bytes\)$/,
    /flush of file \(offset 0, 129 bytes, lines 0 to 2\)$/,
    /drain\(\)$/,
    /msync\(file, offset 4096, 8192 bytes\)$/,
    /page fault of a store \(file, offset 4096, 4096 bytes\)$/,
    /collapse_range\(file, offset 0, 4096 bytes\)$/,
    /^ +\d+ +store 4 KiB at page 2 \(file, offset 4096\): (09){8}\.\.\.$/,
    /^ +\d+ +store 3 B at page 1 \+ 4 \(file, offset 4\), not flushed: 6e6577$/,
    /^ +\d+ +flush 3 B at page 1 \+ 4 \(file, offset 4\)$/,
    /^ +\d+ +flush 3 B at page 60 \+ 4 by thread 4000000000$/,
    /^ +\d+ +fence$/,
    /^ +\d+ +fence by thread 4000000000$/,
    /^ +\d+ +canary in 2 pages from 3, last of inode 8$/,
    /^ +\d+ +set-xattr ino 2, name 'user\.x', value of 3 B$/,
    /^ +\d+ +end of operation 0$/,
    /^ +\d+ +commit \(fsync\)$/,
    /^ +\d+ +durable by fdatasync: file$/,
    /^ +\d+ +durable by syncfs: all$/,
    /^ +\d+ +0\.000000 +marks ''$/,
    /^ +\d+ +0\.000000 +end of the workload: SIGKILL$/,
  ];
  for (const word of words) t.match(stdout, new RegExp(word.source, 'm'));
});

t.test('a part can be asked for, with the names of that moment', async (t) => {
  const file = traceOf(t, UNSAFE);
  const positions = (...args: string[]): number[] => {
    const { stdout } = fauxdax(['trace', file, '--json', ...args]);
    const lines = stdout.split('\n').filter((line) => line !== '');
    return lines.map((line) => (JSON.parse(line) as { position: number }).position);
  };
  t.same(positions(), [0, 1, 2, 3, 4, 5, 6]);
  t.same(positions('--from', '2', '--to', '4'), [2, 3]);
  t.same(positions('--from', '9'), []);
  t.same(positions('--calls'), [0, 1, 4, 5, 6], 'of returns only errors');
});

t.test('as JSON each line is an object, its bytes summarised', async (t) => {
  const { stdout } = fauxdax(['trace', traceOf(t, UNSAFE), '--json']);
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  t.match(events[1], {
    position: 1,
    type: 'call',
    operation: 'WRITE',
    path: 'file',
    text: 'write(file, offset 0, 3 bytes)',
    command: '/usr/bin/python3 work.py',
  });
  t.same(events[2], {
    position: 2,
    type: 'store',
    callId,
    offset: 4160,
    isFlushed: true,
    lengthBytes: 3,
    firstBytesHex: '616263',
  });
});

t.test('a reader that has seen enough ends the command', async (t) => {
  const many = Array.from(
    { length: 20_000 },
    (): TraceEvent => ({ type: 'fence', callId: 1, thread: 0 }),
  );
  const command = `"$0" "$1" trace "$2" | head -n 2`;
  const args = ['-c', command, process.execPath, MAIN, traceOf(t, many)];
  const { stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8', timeout: 30_000 });
  t.equal(stdout.split('\n').length, 3);
  t.equal(stderr, '');
});

t.test('lint says what it found, and its status says whether', async (t) => {
  const unsafe = traceOf(t, UNSAFE);
  const message = /^error +'done \\x1b\[31m' was printed before write\(file, offset 0, 3 bytes\)/;
  t.match(fauxdax(['lint', unsafe]), { status: 1, stdout: message, stderr: '' });
  const json = fauxdax(['lint', unsafe, '--json']);
  t.equal(json.status, 1);
  t.match(JSON.parse(json.stdout), [
    { lint: 'acknowledged-before-durable', severity: 'error', path: 'file', count: 1 },
  ]);
  const safe = traceOf(
    t,
    UNSAFE.filter((event) => event.type !== 'store'),
  );
  t.match(fauxdax(['lint', safe]), { status: 0, stdout: `${safe}: clean\n`, stderr: '' });
  t.match(fauxdax(['lint', safe, '--json']), { status: 0, stdout: '[]\n' });
});

t.test('a note is no finding', async (t) => {
  const sync = call('FSYNC', { flags: 0 });
  const events: TraceEvent[] = [
    sync,
    { type: 'force', callId: sync.callId, kind: 'fsync', ino: 2 },
    { type: 'return', callId: sync.callId, error: 0 },
  ];
  const { status, stdout } = fauxdax(['lint', traceOf(t, events)]);
  t.equal(status, 0);
  t.match(stdout, /^note {5}fsync\(file\) has nothing to do[^\n]+\n[^\n]+: clean, 1 note\n$/);
});

t.test('a trace that is refused is one line and status 3', async (t) => {
  const file = traceOf(t, UNSAFE);
  const size = readFileSync(file).length - 5;
  truncateSync(file, size);
  const stderr = `fauxdax: ${file}: cut after ${size} bytes (no end of trace): record it again\n`;
  for (const command of ['trace', 'lint']) {
    t.same(pick(fauxdax([command, file])), { status: 3, stdout: '', stderr });
    const missing = fauxdax([command, `${file}.no`]);
    t.match(missing, { status: 3, stdout: '', stderr: /no such file or directory\n$/ });
  }
  writeFileSync(file, 'text\n');
  t.match(fauxdax(['lint', file]), { status: 3, stderr: /: not a trace\n$/ });
});

t.test('a position that is none is a usage error', async (t) => {
  const file = traceOf(t, UNSAFE);
  const table: [string[], RegExp][] = [
    [['--from', 'x'], /--from x: expected a whole number/],
    [['--to', '-1'], /--to -1: expected a whole number/],
    [['--from', '5', '--to', '4'], /--to 4 contradicts --from 5/],
  ];
  for (const [args, message] of table) {
    t.match(fauxdax(['trace', file, ...args]), { status: 2, stdout: '', stderr: message });
  }
  t.match(fauxdax(['lint']), { status: 2, stderr: /missing required argument 'TRACE'/ });
});

function pick({ status, stdout, stderr }: Ended): Ended {
  return { status, stdout, stderr };
}
