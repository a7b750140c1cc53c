/**
 * Native test programs: what the addon's surface cannot reach, compiled with the system's compiler, most
 * of them under its sanitizers. The sources of native/ that they share are compiled once for each.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { lacking } from './compiler.js';
import { writeTraceHead } from './raw_trace.js';
import { scratchFile, scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CXX'] ?? 'c++';
const FLAGS = '-std=c++20 -O1 -g -Wall -Wextra -Werror -pthread -fno-sanitize-recover=all'.split(
  ' ',
);
const INCLUDED = ['-I', join(ROOT, 'native')];
const SOURCES = [
  'data_service device file_clock file_map file_table in_place page_watch persist poison published_files',
  'queued_writes region shared_memory',
  'recorder trace_file crc32 output processes undecided thread_flushes last_words',
]
  .join(' ')
  .split(' ')
  .map((name) => join(ROOT, 'native', `${name}.cc`));

/** Each says `done`, or what is wrong. Its argument: the file of a region. */
const PROGRAMS = [
  'region_threads',
  'recorder_threads',
  'data_threads',
  'file_times',
  'queued_writes',
  'thread_flushes',
];

function compile(t: Test, cwd: string, words: string[]): void {
  const { status, stderr } = spawnSync(COMPILER, [...FLAGS, ...INCLUDED, ...words], { cwd });
  t.equal(status, 0, `compiles: ${stderr}`);
}

/** The last argument of the program that records. */
function traceFor(name: string, folder: string): string[] {
  if (name !== 'recorder_threads') return [];
  const trace = join(folder, 'trace');
  writeTraceHead(trace);
  return [trace];
}

t.test('each flush instruction and vector width stores its range', async (t) => {
  const folder = scratchFolder(t);
  const source = join(ROOT, 'test/native/persist_paths.cc');
  compile(t, folder, [source, join(ROOT, 'native/persist.cc'), '-o', 'persist_paths']);
  const { status, stdout, stderr } = spawnSync(join(folder, 'persist_paths'), { encoding: 'utf8' });
  t.equal(status, 0, stderr);
  t.match(stdout, /^clflush 16$/m);
});

for (const [what, flag] of [
  ['threads that use native parts at once have no data race', '-fsanitize=thread'],
  ['native parts keep inside their memory', '-fsanitize=address,undefined'],
] as const) {
  t.test(what, { skip: lacking(COMPILER, flag) }, async (t) => {
    const folder = scratchFolder(t);
    compile(t, folder, [flag, '-c', ...SOURCES]);
    const objects = SOURCES.map((path) => path.replace(/.*\/(\w+)\.cc$/, '$1.o'));
    for (const name of PROGRAMS) {
      compile(t, folder, [flag, join(ROOT, `test/native/${name}.cc`), ...objects, '-o', name]);
      // With many bits of address randomisation a sanitizer's shadow may not fit: switched off.
      const words = ['-R', join(folder, name), scratchFile(t, 64), ...traceFor(name, folder)];
      const { status, stdout, stderr } = spawnSync('setarch', words, { encoding: 'utf8' });
      t.equal(status, 0, `${name}: ${stderr}`);
      t.match(stdout, /^done$/m, name);
    }
  });
}
