/** Programs that flush by themselves are told from those that do not (native/shim_scan.c). */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CC'] ?? 'cc';
const FLAGS = '-std=c17 -O1 -Wall -Wextra -Werror -I native'.split(' ');
// What of the shim it takes, flushes of its own among it.
const SHIM = ['native/shim_scan.c', 'native/shim_decode.c', 'native/shim_flush.c'];
const LIBPMEM = '/usr/lib/x86_64-linux-gnu/libpmem';

function build(t: Test, args: string[]): void {
  const { status, stderr } = spawnSync(COMPILER, [...FLAGS, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  t.equal(status, 0, stderr);
}

function compile(t: Test, flags: string[], libraries: string[] = []): string {
  const program = join(scratchFolder(t), 'own-flushes');
  const shim = `${program}.so`;
  build(t, ['-shared', '-fPIC', ...SHIM, '-o', shim]);
  const sources = ['test/native/own_flushes.c', shim, ...libraries];
  build(t, ['-rdynamic', ...flags, ...sources, '-o', program]);
  return program;
}

function run(program: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const FLUSHES: [instruction: string, text: string][] = [
  ['clflush', 'clflush (%0)'],
  ['clflushopt', 'clflushopt 64(%0)'],
  ['clwb', 'clwb (%0)'],
  ['clwb', 'mov %0, %%r12; clwb 4096(%%r12)'],
  ['clflushopt', '.byte 0x66; clflush (%0)'],
];

for (const [instruction, text] of FLUSHES) {
  t.test(`a program with ${text} is refused, by the name of the function`, async (t) => {
    const program = compile(t, [`-DFLUSH="${text}"`]);
    const { status, stdout, stderr } = run(program);
    t.match({ status, stdout }, { status: 3, stdout: '' });
    t.match(stderr, `flushes by itself (${instruction} at FlushLine+0x`);
    t.match(stderr, program);
    t.equal(stderr.split('\n').length, 2, 'one line');
    t.match(run(program, 'ignore'), { status: 0, stdout: 'passed\n', stderr: '' });
  });
}

t.test('bytes of a flush inside other instructions are none', async (t) => {
  t.match(run(compile(t, [])), { status: 0, stdout: 'passed\n', stderr: '' });
});

t.test('so is a library that is gone before the next barrier', async (t) => {
  const program = compile(t, []);
  const [source, library] = [`${program}-library.c`, `${program}-library.so`];
  writeFileSync(source, 'void FlushAll(char* line) { __builtin_ia32_clflush(line); }\n');
  build(t, ['-shared', '-fPIC', source, '-o', library]);
  const { status, stderr } = run(program, library);
  t.equal(status, 3);
  t.match(stderr, `${library}: flushes by itself (clflush at FlushAll+0x`);
  t.match(run(program, 'ignore', library), { status: 0, stdout: 'passed\n', stderr: '' });
});

t.test('without tables for unwinding such bytes count', async (t) => {
  const program = compile(t, ['-fno-asynchronous-unwind-tables', '-Wl,--no-eh-frame-hdr']);
  t.match(run(program), { status: 3, stderr: /flushes by itself/ });
});

const noLibrary = { skip: existsSync(`${LIBPMEM}.so.1`) ? false : 'needs libpmem1' };
t.test('libpmem is known, and its flushes are seen elsewhere', noLibrary, async (t) => {
  const program = compile(t, [], ['-Wl,--no-as-needed', `${LIBPMEM}.so.1`]);
  t.match(run(program), { status: 0, stdout: 'passed\n', stderr: '' });
});

const noArchive = { skip: existsSync(`${LIBPMEM}.a`) ? false : 'needs libpmem-dev' };
t.test('libpmem inside the program itself is refused', noArchive, async (t) => {
  const archive = ['-Wl,--whole-archive', `${LIBPMEM}.a`, '-Wl,--no-whole-archive'];
  const program = compile(t, [], [...archive, '-lndctl', '-ldaxctl']);
  t.match(run(program), { status: 3, stderr: /flushes by itself/ });
});
