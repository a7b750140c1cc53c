/** Native test programs: what the addon's surface cannot reach, compiled with the system's compiler. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { writeTraceHead } from './raw_trace.js';
import { scratchFile, scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CXX'] ?? 'c++';
const FLAGS = '-std=c++20 -O1 -g -Wall -Wextra -Werror -pthread -I native'.split(' ');
const THREADS = '-fsanitize=thread';
const ADDRESSES = '-fsanitize=address,undefined';
const REGION_SOURCES =
  'persist poison page_watch region undecided recorder trace_file crc32 output processes'
    .split(' ')
    .map((name) => `${name}.cc`);

/** Compiles a program of this folder with these sources of native/; returns its path. */
function compile(test: Test, name: string, sources: string[], flags: string[]): string {
  const program = join(scratchFolder(test), name);
  const files = [`test/native/${name}.cc`, ...sources.map((source) => `native/${source}`)];
  const result = spawnSync(COMPILER, [...FLAGS, ...flags, ...files, '-o', program], { cwd: ROOT });
  test.equal(result.status, 0, `${name} compiles: ${result.stderr}`);
  return program;
}

/** Skips a test, with the reason, when the compiler cannot do what `flag` asks for. */
function lacking(flag: string): { skip: string | false } {
  const input = { input: 'int main() { return 0; }' };
  const { status } = spawnSync(COMPILER, ['-x', 'c++', '-', flag, '-o', '/dev/null'], input);
  return { skip: status !== 0 && `${COMPILER} ${flag} does not work here` };
}

t.test('each flush instruction and vector width stores its range', lacking('-O1'), async (t) => {
  const program = compile(t, 'persist_paths', ['persist.cc'], []);
  const { status, stdout, stderr } = spawnSync(program, { encoding: 'utf8' });
  t.equal(status, 0, stderr);
  t.match(stdout, /^clflush 16$/m);
});

t.test('threads using a region at once have no data race', lacking(THREADS), async (t) => {
  const program = compile(t, 'region_threads', REGION_SOURCES, [THREADS]);
  // With many bits of address randomisation the sanitizer's shadow may not fit: switched off.
  const words = ['-R', program, scratchFile(t, 64)];
  const { status, stdout, stderr } = spawnSync('setarch', words, { encoding: 'utf8' });
  t.equal(status, 0, stderr);
  t.match(stdout, /^done$/m);
});

t.test('a region keeps inside its memory', lacking(ADDRESSES), async (t) => {
  const flags = [ADDRESSES, '-fno-sanitize-recover=all'];
  const program = compile(t, 'region_threads', REGION_SOURCES, flags);
  const { status, stderr } = spawnSync(program, [scratchFile(t, 64)], { encoding: 'utf8' });
  t.equal(status, 0, stderr);
});

for (const [what, flag] of [
  ['a recorder has no data race, and its trace gives the region', THREADS],
  ['a recorder keeps inside its memory', ADDRESSES],
] as const) {
  t.test(what, lacking(flag), async (t) => {
    const flags = [flag, '-fno-sanitize-recover=all'];
    const program = compile(t, 'recorder_threads', REGION_SOURCES, flags);
    const trace = join(scratchFolder(t), 'trace');
    writeTraceHead(trace);
    const words = ['-R', program, scratchFile(t, 64), trace];
    const { status, stdout, stderr } = spawnSync('setarch', words, { encoding: 'utf8' });
    t.equal(status, 0, stderr);
    t.match(stdout, /^done$/m);
  });
}
