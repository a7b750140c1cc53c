/** What a process says that a signal ends: faults of its own, in any thread, and V8's. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { builtFolder } from '../../lib/native.js';
import { scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const WORDS = '-std=c++20 -O1 -Wall -Wextra -Werror -pthread -rdynamic -I native'.split(' ');
const SOURCES = ['test/native/last_words.cc', 'native/last_words.cc'];

const folder = scratchFolder(t);
const program = join(folder, 'last_words');
/** A core, where those are allowed, lands in the folder. */
const how = { encoding: 'utf8', cwd: folder } as const;
const compiler = process.env['CXX'] ?? 'c++';
const made = spawnSync(compiler, [...WORDS, ...SOURCES, '-o', program], { cwd: ROOT });
t.equal(made.status, 0, `${made.stderr}`);

interface Line {
  level: number;
  time: number;
  pid: number;
  msg: string;
  frames?: string[];
}

type Ended = SpawnSyncReturns<string>;

/** The lines that are JSON; what comes before them is said by somebody else. */
function linesOf({ stderr }: Ended): Line[] {
  const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as Line);
}

interface Case {
  word: string;
  signal: NodeJS.Signals;
  says: RegExp;
  frame?: RegExp;
  /** Somebody else says, before. */
  before?: RegExp;
}

const THREAD = /in thread \d+ \(of a \?test\?\): nothing further is committed$/;
const CASES: Case[] = [
  {
    word: 'nothing',
    signal: 'SIGSEGV',
    says: /^ended by SIGSEGV at address 0x1230, in thread \d+ \(last_words\)/,
    frame: /\/last_words\+0x[0-9a-f]+ StoreTo$/,
  },
  { word: 'thread', signal: 'SIGSEGV', says: THREAD, frame: / StoreTo$/ },
  {
    word: 'thread-bus',
    signal: 'SIGBUS',
    says: /^ended by SIGBUS at address 0x[0-9a-f]+000, in/,
    frame: / StoreTo$/,
  },
  {
    word: 'thread-check',
    signal: 'SIGABRT',
    says: /^ended by SIGABRT, in thread \d+ \(of a/,
    before: /last_words\.cc:\d+: CHECK failed: kNothing == nullptr: of a test\n/,
  },
  {
    word: 'thread-throw',
    signal: 'SIGABRT',
    says: /^ended by SIGABRT, in thread \d+ \(of a/,
    before: /what\(\): +of a test\n/,
  },
  { word: 'stack', signal: 'SIGSEGV', says: /^ended by SIGSEGV at/, frame: / Deeper$/ },
  { word: 'thread-stack', signal: 'SIGSEGV', says: THREAD, frame: / Deeper$/ },
];

for (const { word, signal, says, frame, before } of CASES) {
  t.test(`${word}: it says ${signal} and where, and dies of it`, async (t) => {
    const began = Date.now();
    const ended = spawnSync(program, [word], how);
    t.equal(ended.signal, signal);
    const [what, where, ...more] = linesOf(ended);
    t.same(more, []);
    t.match(what, { level: 60, pid: ended.pid, msg: says });
    t.ok(what!.time >= began && what!.time <= Date.now(), 'milliseconds since 1970');
    t.match(where, { level: 60, pid: ended.pid, msg: 'where it ended' });
    t.ok((where?.frames?.length ?? 0) > 2, 'there are frames');
    if (frame !== undefined)
      t.ok(
        where?.frames?.some((text) => frame.test(text)),
        `${frame}`,
      );
    if (before !== undefined) t.match(ended.stderr, before);
  });
}

t.test('of threads that die together one speaks', async (t) => {
  const ended = spawnSync(program, ['together'], how);
  t.equal(ended.signal, 'SIGSEGV');
  t.match(linesOf(ended), [{ msg: /^ended by SIGSEGV/ }, { msg: 'where it ended' }]);
  t.equal(linesOf(ended).length, 2);
});

t.test('nothing is said of a process that lives', async (t) => {
  t.match(spawnSync(program, ['-'], how), { status: 0, stderr: '' });
});

/** Runs JavaScript in a process with last words. */
function inNode(script: string, ...options: string[]): Ended {
  const addon = join(builtFolder(), 'fauxdax.node');
  const words = [...options, '-e', `require(process.argv[1]).sayLastWords(); ${script}`, addon];
  return spawnSync(process.execPath, words, how);
}

/** (module (memory 1) (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))) */
const WASM = `Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 5, 3, 1,
  0, 1, 7, 8, 1, 4, 108, 111, 97, 100, 0, 0, 10, 9, 1, 7, 0, 32, 0, 40, 2, 0, 11)`;
const TRAP = `
  const { load } = new WebAssembly.Instance(new WebAssembly.Module(${WASM})).exports;
  for (let count = 0; count < 3; count++)
    try { load(1 << 20); } catch (error) { console.log(error.message); }`;

t.test('a fault of WebAssembly is an exception as ever', async (t) => {
  const { status, stdout, stderr } = inNode(TRAP);
  t.match({ status, stderr }, { status: 0, stderr: '' });
  t.equal(stdout, 'memory access out of bounds\n'.repeat(3));
});

t.test('a fault that is none of WebAssembly is said after one that was', async (t) => {
  const ended = inNode(`${TRAP} process.kill(process.pid, 'SIGSEGV'); setTimeout(() => {}, 60000)`);
  t.equal(ended.signal, 'SIGSEGV');
  t.match(linesOf(ended), [{ msg: /^ended by SIGSEGV, in/ }, { msg: 'where it ended' }]);
});

t.test('V8 without memory says so, and then we', async (t) => {
  const ended = inNode(
    'const all = []; for (;;) all.push([all.length])',
    '--max-old-space-size=16',
  );
  t.equal(ended.signal, 'SIGABRT');
  t.match(ended.stderr, /heap out of memory/);
  t.match(linesOf(ended), [{ msg: /^ended by SIGABRT, in/ }, { msg: 'where it ended' }]);
});

t.test('what somebody handles is left to them', async (t) => {
  const script =
    "process.on('SIGUSR2', () => console.log('mine')); process.kill(process.pid, 'SIGUSR2')";
  const ended = inNode(`${script}; setTimeout(() => {}, 100)`);
  t.match(ended, { status: 0, stdout: 'mine\n', stderr: '' });
});
