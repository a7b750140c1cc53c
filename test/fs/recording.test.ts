/** Recorded mounts: the trace tells what happened, all of it, in the order in which it happened. */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import t, { type Test } from 'tap';
import type { Mount, MountOptions } from '../../fs/index.js';
import { DATABASE_NAME, openImage, REGION_NAME } from '../../lib/image.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import { applyRecord, type MetadataRecord } from '../../lib/metadata/records.js';
import { writeBase } from '../../lib/trace/base.js';
import { TraceReader } from '../../lib/trace/reader.js';
import type { TraceInfo } from '../../lib/trace/source.js';
import {
  callIdOf,
  KIND,
  makeFifo,
  number,
  type RawTrace,
  readRawTrace,
  replayStores,
  textOf,
  writeTraceHead,
} from '../native/raw_trace.js';
import { makePlace, mount, type Place } from './image.js';

const OPCODE = { WRITE: 16, FSYNC: 20, MKDIR: 9 };
const PAGE_BYTES = 4096;
const INFO: TraceInfo = {
  dir: '/mnt',
  workload: 'w',
  setup: null,
  startedAt: '',
  fauxdaxVersion: '0',
  mountOptions: '',
};

interface Recorded extends Place {
  fs: Mount;
  trace: string;
  stdout: string;
  mark: string;
  /** A copy of the image as it was before. */
  base: string;
}

async function record(
  t: Test,
  options: Partial<MountOptions> = {},
  traceDir?: string,
): Promise<Recorded> {
  const place = makePlace(t);
  const root = join(place.imageDir, '..');
  const [trace, base] = [join(traceDir ?? root, 'trace'), join(root, 'base')];
  const stdout = makeFifo(join(root, 'stdout'));
  const mark = makeFifo(join(root, 'mark'));
  writeBase(place.imageDir, trace, INFO);
  cpSync(place.imageDir, base, { recursive: true });
  const outputs = [
    { path: stdout, stream: 'stdout' as const },
    { path: mark, stream: 'mark' as const },
  ];
  const fs = await mount(place.imageDir, place.dir, options, { record: { trace, outputs } });
  let gone = false;
  void fs.exited.then(() => {
    gone = true;
  });
  t.teardown(async () => {
    if (!gone) await fs.unmount().catch(() => fs.kill());
  });
  return { ...place, fs, trace, stdout, mark, base };
}

/** Runs a Python program with standard output to the FIFO and the mount as its first argument. */
async function workload(recorded: Recorded, program: string): Promise<void> {
  const words = ['-c', `exec python3 -u -c "$1" "$2" > "$3"`, 'sh', program];
  const child = spawn('sh', [...words, recorded.dir, recorded.stdout], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, MARK: recorded.mark },
    timeout: 60_000,
  });
  let complained = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complained += text;
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  if (status !== 0) throw new Error(`the workload ended with ${String(status)}: ${complained}`);
}

/** Unmounts; the trace as it is then. */
async function finished(recorded: Recorded): Promise<RawTrace> {
  await recorded.fs.unmount();
  return readRawTrace(recorded.trace);
}

const ACKNOWLEDGE = `
import os, sys, threading
dir = sys.argv[1]
lock = threading.Lock()
def run(number):
    fd = os.open(f'{dir}/{number}', os.O_CREAT | os.O_RDWR)
    for turn in range(100):
        os.pwrite(fd, b'%08d' % turn * 100, turn % 7 * 4096)
        os.fsync(fd)
        os.write(1, b'%d %d\\n' % (number, turn))
        os.pwrite(fd, b'next', 100000 + turn)
threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
`;

t.test(
  'what a program printed comes after what it waited for, before what it did next',
  async (t) => {
    const recorded = await record(t);
    await workload(recorded, ACKNOWLEDGE);
    await recorded.fs.control.recordEnd(0, null);
    const { events, end } = await finished(recorded);
    t.equal(end?.events, events.length);
    const inos = new Map<number, number>();
    const turns = [0, 0, 0]; // printed so far
    const forces = [0, 0, 0];
    const nexts = [0, 0, 0];
    let wrong = 0;
    for (const event of events) {
      if (event.kind === KIND.metadata) {
        const record = JSON.parse(textOf(event)) as MetadataRecord;
        if (record.type === 'add-name') inos.set(record.ino, Number(record.name));
      }
      if (event.kind === KIND.force) {
        const file = inos.get(number(event.body, 8)) as number;
        forces[file] = (forces[file] as number) + 1;
      }
      if (event.kind === KIND.call && event.body.readUInt32LE(16) === OPCODE.WRITE) {
        const file = inos.get(number(event.body, 32)) as number;
        const offset = number(event.body, 56);
        if (offset < 100_000) continue;
        nexts[file] = (nexts[file] as number) + 1;
        if (turns[file] !== offset - 100_000 + 1) wrong += 1;
      }
      if (event.kind === KIND.output) {
        for (const line of textOf(event).split('\n')) {
          const [file, turn] = line.split(' ').map(Number) as [number, number];
          if (turns[file] !== turn || (forces[file] as number) < turn + 1) wrong += 1;
          if ((nexts[file] as number) > turn) wrong += 1;
          turns[file] = turn + 1;
        }
      }
    }
    t.equal(wrong, 0, 'lines out of order');
    t.same(
      [turns, forces, nexts],
      [
        [100, 100, 100],
        [100, 100, 100],
        [100, 100, 100],
      ],
    );
  },
);

const EVERYTHING = `
import ctypes, mmap, os, sys, threading
dir = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
def fallocate(fd, mode, offset, length):
    libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))
def churn(number):
    base = f'{dir}/d{number}'
    os.mkdir(base)
    for turn in range(40):
        path = f'{base}/f{turn % 6}'
        fd = os.open(path + '.tmp', os.O_CREAT | os.O_RDWR | (os.O_DSYNC if turn % 7 == 0 else 0))
        os.write(fd, os.urandom(100 + turn * 1500))
        os.pwrite(fd, b'z' * 5000, turn * 333)
        if turn % 3 == 0: os.fsync(fd)
        if turn % 4 == 0: fallocate(fd, 3, 4096, 8192)
        if turn % 5 == 0: fallocate(fd, 16, 1000, 9000)
        if turn % 6 == 0: os.ftruncate(fd, turn * 100)
        if turn % 8 == 0:
            os.ftruncate(fd, 1 << 16)
            pages = mmap.mmap(fd, 1 << 16)
            pages[5000:5010] = b'mapped now'
            if turn % 16 == 0: pages.flush()
            pages.close()
        if turn % 9 == 0: os.copy_file_range(fd, fd, 4096, 0, 1 << 17)
        os.setxattr(path + '.tmp', 'user.\u00e4', os.urandom(turn * 3))
        os.close(fd)
        os.rename(path + '.tmp', path)
        if turn % 10 == 0: os.unlink(path)
        if turn % 11 == 0: os.symlink('a' * 300, f'{base}/l{turn}')
        if turn % 12 == 0 and os.path.exists(path): os.link(path, os.fsencode(f'{base}/h{turn}') + b'\\xff')
threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
`;

for (const options of [{}, { canary: true }]) {
  const what = Object.keys(options).join() || 'no options';
  t.test(`with ${what}, the base and the trace give the image, byte for byte`, async (t) => {
    const recorded = await record(t, options);
    await workload(recorded, EVERYTHING);
    const trace = await finished(recorded);

    const region = readFileSync(join(recorded.base, REGION_NAME));
    const pages = new MemoryRegion(region.length / PAGE_BYTES);
    replayStores(trace, region, (page, ownerIno) => {
      const bytes = Buffer.alloc(PAGE_BYTES);
      pages.fillCanary(page, 1, ownerIno);
      pages.read(page * PAGE_BYTES, bytes);
      return bytes;
    });
    t.ok(region.equals(readFileSync(join(recorded.imageDir, REGION_NAME))), 'the region');
    t.equal(
      trace.events.some(({ kind }) => kind === KIND.canary),
      'canary' in options,
    );

    t.ok(replayMetadata(recorded.base, trace), 'the last record is committed');
    t.same(tables(recorded.base), tables(recorded.imageDir), 'the metadata');
  });
}

t.test('the reader of traces takes what was recorded, word by word', async (t) => {
  const recorded = await record(t);
  await workload(recorded, EVERYTHING);
  await recorded.fs.control.recordEnd(3, null);
  await recorded.fs.unmount();
  const reader = new TraceReader(recorded.trace);
  t.teardown(() => reader.close());
  const region = readFileSync(join(recorded.imageDir, REGION_NAME));
  const replayed = Buffer.concat(
    Array.from({ length: reader.base.pageCount }, (_, page) => reader.base.page(page)),
  );
  const seen: Record<string, number> = {};
  const names: (string | undefined)[] = [];
  for (const event of reader.events()) {
    seen[event.type] = (seen[event.type] ?? 0) + 1;
    if (event.type === 'store') replayed.set(event.bytes, event.offset);
    if (event.type === 'call' && event.operation === 'MKDIR') names.push(event.name);
    if (event.type === 'workload-end') t.match(event, { exitStatus: 3, signal: null });
  }
  t.same(names.sort(), ['d0', 'd1', 'd2']);
  t.equal(seen['call'], seen['return']);
  t.equal(seen['workload-end'], 1);
  const extents = tables(recorded.imageDir)[3] as { region_page: number; page_count: number }[];
  const pages = (bytes: Buffer): Buffer[] =>
    [{ region_page: 0, page_count: 1 }, ...extents].map((extent) => {
      const start = extent.region_page * PAGE_BYTES;
      return bytes.subarray(start, start + extent.page_count * PAGE_BYTES);
    });
  t.ok(extents.length > 0);
  t.ok(Buffer.concat(pages(replayed)).equals(Buffer.concat(pages(region))), 'what files show');
});

/** Applies the metadata of a trace to an image; true when nothing is left uncommitted. */
function replayMetadata(imageDir: string, trace: RawTrace): boolean {
  const openRegion = (_: string, pageCount: number) => new MemoryRegion(pageCount);
  const image = openImage(imageDir, { openRegion });
  for (const event of trace.events) {
    if (event.kind === KIND.metadata) applyRecord(image.metadata, recordOf(textOf(event)));
    if (event.kind === KIND.commit) image.metadata.commit();
  }
  const clean = !image.metadata.dirty;
  image.close();
  return clean;
}

function recordOf(text: string): MetadataRecord {
  return JSON.parse(text, (_, value: unknown) => {
    const { base64 } = (value ?? {}) as { base64?: string };
    return base64 === undefined ? value : new Uint8Array(Buffer.from(base64, 'base64'));
  }) as MetadataRecord;
}

function tables(imageDir: string): unknown[] {
  const db = new Database(join(imageDir, DATABASE_NAME), { readonly: true });
  try {
    return ['inode', 'name', 'xattr', 'extent'].map((table) =>
      db.prepare(`SELECT * FROM ${table} ORDER BY 1, 2`).all(),
    );
  } finally {
    db.close();
  }
}

t.test('all that a call does lies between the call and its return', async (t) => {
  const recorded = await record(t);
  await workload(recorded, EVERYTHING);
  const { events } = await finished(recorded);
  const open = new Set<number>();
  const returned = new Set<number>();
  const caused = new Set([KIND.store, KIND.zero, KIND.flush, KIND.fence, KIND.metadata]);
  let outside = 0;
  let inside = 0;
  for (const event of events) {
    if (event.kind === KIND.call) open.add(number(event.body, 0));
    if (event.kind === KIND.return) {
      const id = number(event.body, 0);
      if (!open.delete(id) || returned.has(id)) outside += 1;
      returned.add(id);
    }
    if (!(caused as Set<number>).has(event.kind) || callIdOf(event) === 0) continue;
    if (open.has(callIdOf(event))) inside += 1;
    else outside += 1;
  }
  t.equal(outside, 0);
  t.ok(inside > 500, `${inside} events inside a call`);
  t.equal(open.size, 0, 'every call returned');
});

t.test('a commit comes before what is done with the pages it frees', async (t) => {
  const recorded = await record(t, { canary: true });
  await workload(
    recorded,
    `
import os, sys
fd = os.open(sys.argv[1] + '/f', os.O_CREAT | os.O_RDWR)
os.write(fd, b'x' * 40960)
os.fsync(fd)
os.ftruncate(fd, 0)
os.fsync(fd)
`,
  );
  const { events } = await finished(recorded);
  const canary = events.findIndex(({ kind }) => kind === KIND.canary);
  const unmap = events.findIndex((e) => e.kind === KIND.metadata && textOf(e).includes('"unmap"'));
  const commits = events.slice(unmap, canary).filter(({ kind }) => kind === KIND.commit);
  t.ok(unmap > 0 && canary > unmap);
  t.same(commits.map(textOf), ['fsync']);
  const forces = events.filter(({ kind }) => kind === KIND.force);
  t.same(forces.map(textOf), ['fsync', 'fsync']);
  t.ok(events.indexOf(forces[1]!) > events.indexOf(commits[0]!), 'the force after the commit');
});

const FORCES: [string, string][] = [
  ["os.fsync(os.open(d + '/f', os.O_RDWR | os.O_CREAT))", 'fsync'],
  ["os.fdatasync(os.open(d + '/f', os.O_RDWR | os.O_CREAT))", 'fdatasync'],
  ['os.fsync(os.open(d, os.O_RDONLY))', 'fsyncdir'],
  ["os.posix_fallocate(os.open(d + '/f', os.O_RDWR | os.O_CREAT | os.O_SYNC), 0, 9)", 'osync'],
  ["os.posix_fallocate(os.open(d + '/f', os.O_RDWR | os.O_CREAT | os.O_DSYNC), 0, 9)", 'odsync'],
  ["os.write(os.open(d + '/f', os.O_RDWR | os.O_CREAT | os.O_DSYNC), b'x')", 'fdatasync'],
  ["os.write(os.open(d + '/f', os.O_RDWR | os.O_CREAT | os.O_SYNC), b'x')", 'fsync'],
  ["os.mkdir(d + '/a'); os.system(f'chattr +S {d}/a'); os.mkdir(d + '/a/b')", 'fsyncdir'],
];

t.test('what was asked to be durable is said with its kind and its inode', async (t) => {
  for (const [statement, kind] of FORCES) {
    const recorded = await record(t);
    await workload(recorded, `import os, sys\nd = sys.argv[1]\n${statement}`);
    const { events } = await finished(recorded);
    const forces = events.filter((event) => event.kind === KIND.force);
    t.equal(textOf(forces.at(-1)!), kind, statement);
    const root = kind === 'fsyncdir' && !statement.includes('chattr');
    t.equal(number(forces.at(-1)!.body, 8), root ? 1 : 2, statement);
    const call = events.find(
      (e) => e.kind === KIND.call && number(e.body, 0) === callIdOf(forces.at(-1)!),
    );
    t.ok(call, `${statement}: a call asked for it`);
  }
});

t.test('a process is named before its first call, and again after an exec', async (t) => {
  const recorded = await record(t);
  const script = 'mkdir "$0/before"; exec python3 -c "import os; os.mkdir(\'$0/after\')"';
  const child = spawnSync('sh', ['-c', script, recorded.dir], { encoding: 'utf8' });
  t.equal(child.status, 0, child.stderr);
  const { events } = await finished(recorded);
  const commands = new Map<number, string>();
  const made: string[] = [];
  for (const { kind, body, flags } of events) {
    const text = textOf({ kind, body, flags });
    if (kind === KIND.process) commands.set(body.readUInt32LE(0), text);
    if (kind !== KIND.call || body.readUInt32LE(16) !== OPCODE.MKDIR) continue;
    made.push(commands.get(body.readUInt32LE(20)) ?? 'unknown');
  }
  t.match(made, [/^mkdir .*before$/, /python3 -c import os; os.mkdir.*after/]);
});

t.test('the shell that turns into another program is one process with two names', async (t) => {
  const recorded = await record(t);
  const script = ': > "$0/one"; exec python3 -c "open(\'$0/two\', \'w\')"';
  spawnSync('sh', ['-c', script, recorded.dir]);
  const { events } = await finished(recorded);
  const names = events.filter(({ kind }) => kind === KIND.process);
  t.equal(new Set(names.map(({ body }) => body.readUInt32LE(0))).size, 1);
  t.match(names.map(textOf), [/^sh -c/, /python3 -c/]);
  t.equal(names[0]!.body.readUInt32LE(4), process.pid, 'its parent');
});

t.test('the end of the workload takes its last line, finished or not', async (t) => {
  const recorded = await record(t);
  await workload(recorded, `import os\nos.write(1, b'whole\\n\\nrest')`);
  await workload(recorded, `import os\nopen(os.environ['MARK'], 'w').write('a mark\\n')`);
  await recorded.fs.control.recordEnd(null, 'SIGKILL');
  const now = readRawTrace(recorded.trace);
  const outputs = now.events.filter(({ kind }) => kind === KIND.output);
  const lines = (stream: number) =>
    outputs
      .filter(({ body }) => body.readUInt32LE(8) === stream)
      .flatMap((e) => textOf(e).split('\n'));
  t.same([lines(0), lines(1)], [['whole', '', 'rest'], ['a mark']]);
  const last = now.events.at(-1)!;
  t.same([last.kind, textOf(last), last.body.readInt32LE(8)], [KIND.workloadEnd, 'SIGKILL', -1]);
  t.equal(now.end, undefined, 'not ended yet');
  await t.rejects(recorded.fs.control.recordEnd(0, null), { code: 'EALREADY' });
  const { end, events } = await finished(recorded);
  t.equal(end?.events, events.length);
});

t.test('the timer commits nothing while recording', async (t) => {
  const recorded = await record(t, { commitSeconds: 0.05 });
  await workload(recorded, `import os, sys, time\nos.mkdir(sys.argv[1] + '/a')\ntime.sleep(0.5)`);
  const { commits } = (await recorded.fs.info()).daemon;
  t.same(commits, { fsync: 0, timer: 0, limit: 0, space: 0 });
});

t.test('kill -9 of the daemon leaves a trace without an end', async (t) => {
  const recorded = await record(t);
  await workload(recorded, EVERYTHING);
  await recorded.fs.kill();
  // Also cut inside a chunk it would have no end.
  t.notOk(readFileSync(recorded.trace).subarray(-48).includes(Buffer.from('CHNK\x05')));
});

const root = { skip: process.getuid?.() !== 0 && 'mounting a tmpfs needs root' };

t.test('a full disk ends the recording and the mount, and says so', root, async (t) => {
  const small = mkdtempSync(join(tmpdir(), 'fauxdax-small-'));
  const made = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', small]);
  t.equal(made.status, 0);
  t.teardown(() => {
    spawnSync('umount', [small]);
    rmdirSync(small);
  });
  const recorded = await record(t, {}, small);
  const writes = `
import os, sys
fd = os.open(sys.argv[1] + '/f', os.O_CREAT | os.O_RDWR)
while True:
    os.pwrite(fd, b'x' * 100000, 0)
`;
  await t.rejects(workload(recorded, writes), 'the mount goes');
  t.equal(await recorded.fs.exited, 74);
  const log = readFileSync(join(recorded.imageDir, 'daemon.log'), 'utf8');
  t.match(log, `cannot write the trace ${recorded.trace}: No space left on device`);
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), recorded.dir);
});

const REFUSED: [string, Partial<MountOptions>, string | undefined, RegExp][] = [
  ['crashable', { crashable: true }, undefined, /cannot have -o crashable/],
  ['read-only', { readOnly: true }, undefined, /cannot have -o ro/],
  ['fuse-native', { transport: 'fuse-native' }, undefined, /transport=kernel/],
  ['into something else', {}, 'no trace', /it is no trace/],
];

for (const [what, options, content, message] of REFUSED) {
  t.test(`a recording is refused: ${what}`, async (t) => {
    const place = makePlace(t);
    const trace = join(t.testdir(), 'trace');
    writeTraceHead(trace);
    if (content !== undefined) writeFileSync(trace, content);
    const how = { record: { trace, outputs: [] } };
    await t.rejects(mount(place.imageDir, place.dir, options, how), { message });
  });
}

t.test('a trace in the mount it records is refused', async (t) => {
  const place = makePlace(t);
  mkdirSync(join(place.dir, 'sub'));
  const how = { record: { trace: join(place.dir, 'sub', 'trace'), outputs: [] } };
  await t.rejects(mount(place.imageDir, place.dir, {}, how), {
    message: /cannot lie in the mount/,
  });
});
