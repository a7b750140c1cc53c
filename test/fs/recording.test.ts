/** Recorded mounts: the trace tells what happened, all of it, in the order in which it happened. */
import { spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Mount, MountOptions } from '../../fs/index.js';
import type { MetadataRecord } from '../../lib/metadata/records.js';
import {
  KIND,
  makeFifo,
  number,
  type RawTrace,
  readRawTrace,
  textOf,
  writeTraceHead,
} from '../native/raw_trace.js';
import { makePlace, mount, type Place } from './image.js';

interface Recorded extends Place {
  fs: Mount;
  trace: string;
  stdout: string;
  mark: string;
  /** A copy of the image as it was before. */
  base: string;
}

async function record(t: Test, options: Partial<MountOptions> = {}): Promise<Recorded> {
  const place = makePlace(t);
  const root = join(place.imageDir, '..');
  const [trace, base] = [join(root, 'trace'), join(root, 'base')];
  const stdout = makeFifo(join(root, 'stdout'));
  const mark = makeFifo(join(root, 'mark'));
  writeTraceHead(trace);
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
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, MARK: recorded.mark },
    timeout: 60_000,
  });
  const status = await new Promise((resolve) => child.once('exit', resolve));
  if (status !== 0) throw new Error(`the workload ended with ${String(status)}`);
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
      if (event.kind === KIND.call && event.body.readUInt32LE(16) === 16) {
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
