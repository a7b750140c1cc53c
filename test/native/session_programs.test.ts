/** Native service compiled into a program of its own, for the sanitizers. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { scratchFile, scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CXX'] ?? 'c++';
const FLAGS = '-std=c++20 -O1 -g -Wall -Wextra -Werror -pthread -I native'.split(' ');
const SOURCES = [
  'data_service device file_map file_table in_place page_watch persist poison published_files',
  'queued_writes region shared_memory',
  'recorder trace_file crc32 output processes undecided',
]
  .join(' ')
  .split(' ')
  .map((name) => `native/${name}.cc`);

const CASES = [
  { what: 'both serving threads at once have no data race', flag: '-fsanitize=thread' },
  { what: 'native service keeps inside its memory', flag: '-fsanitize=address,undefined' },
];
const PROGRAMS = ['data_threads', 'queued_writes'];

/** The reason when the compiler cannot do what `flag` asks for. */
function lacking(flag: string): string | false {
  const words = ['-x', 'c++', '-', flag, '-o', '/dev/null'];
  const { status } = spawnSync(COMPILER, words, { input: 'int main() {}' });
  return status !== 0 && `${COMPILER} ${flag} does not work here`;
}

for (const { what, flag } of CASES) {
  t.test(what, { skip: lacking(flag) }, async (t) => {
    for (const name of PROGRAMS) {
      const program = join(scratchFolder(t), name);
      const words = [...FLAGS, flag, '-fno-sanitize-recover=all', `test/native/${name}.cc`];
      const made = spawnSync(COMPILER, [...words, ...SOURCES, '-o', program], { cwd: ROOT });
      t.equal(made.status, 0, `${made.stderr}`);
      // With many bits of address randomisation a sanitizer's shadow may not fit: switched off.
      const ran = spawnSync('setarch', ['-R', program, scratchFile(t, 64)], { encoding: 'utf8' });
      t.equal(ran.status, 0, ran.stderr);
      t.match(ran.stdout, /^done$/m);
    }
  });
}
