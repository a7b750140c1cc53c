/** Recordings of programs that print, each way that there is: what they stored before comes before it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { END, missing, recordBuilt, scratchFolder, store } from './recorded.js';

/** What a program does that stores to one line after the other, and prints a word after each. */
function storesAndPrints(words: string[]): string[] {
  return [...words.flatMap((word, index) => [store(64 * (index + 1)), `prints '${word}'`]), END];
}

/** The ways to print of test/dax/prints.c, in its order. */
const WAYS: [name: string, words: string[], ways: string][] = [
  [
    'bytes',
    [],
    `write writev pwritev2 vmsplice tee tee sendfile send sendto sendmsg sendmmsg
    puts fputs fputs_unlocked fwrite fwrite_unlocked put fflush fflush_unlocked fclose
    fputc putc fputc_unlocked putc_unlocked putchar putchar_unlocked
    printf fprintf dprintf vprintf vfprintf vdprintf`,
  ],
  [
    'wide characters',
    ['wide'],
    `fputwc putwc fputwc_unlocked putwc_unlocked putwchar putwchar_unlocked
    fputws fputws_unlocked wprintf fwprintf vwprintf vfwprintf`,
  ],
];

/** Lines by C++'s streams: those of libc, and their own. */
const CPP_WAYS = `#include <iostream>
#include <libpmem.h>
int main(int argc, char**) {
  std::ios::sync_with_stdio(argc == 1);
  size_t bytes; int is_pmem;
  char* line = (char*)pmem_map_file("f", 8192, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
  if (line == nullptr || !is_pmem) return 9;
  pmem_memset_persist(line, '.', 8192);
  std::cout << "start" << std::endl;
  line += 64; *(volatile char*)line = 'x'; std::cout << "endl" << std::endl;
  std::cout << "a byte"; line += 64; *(volatile char*)line = 'x'; std::cout << '\\n' << std::flush;
  line += 64; *(volatile char*)line = 'x'; std::cout << 3 << "\\n" << std::flush;
  line += 64; *(volatile char*)line = 'x'; std::cout.write("write\\n", 6).flush();
}
`;

t.test('programs that print', { skip: missing() }, async (t) => {
  for (const [name, words, ways] of WAYS) {
    for (const flags of [['-O0'], ['-O2', '-D_FORTIFY_SOURCE=2']]) {
      t.test(`each way to print ${name} comes after the store before it: ${flags}`, async (t) => {
        const compile = ['cc', ...flags, '-Wno-unused-result', 'test/dax/prints.c', '-lpmem'];
        const { status, stderr, seen } = recordBuilt(t, scratchFolder(t), compile, [], words);
        t.equal(status, 0, stderr);
        t.same(seen, storesAndPrints(ways.split(/\s+/)));
      });
    }
  }

  for (const words of [[], ['unsynced']]) {
    t.test(`so does each of C++'s streams ${words}`, async (t) => {
      const dir = scratchFolder(t);
      const source = join(dir, 'p.cc');
      writeFileSync(source, CPP_WAYS);
      const compile = ['c++', source, '-lpmem'];
      const { status, stderr, seen } = recordBuilt(t, dir, compile, [], words);
      t.equal(status, 0, stderr);
      t.same(seen, storesAndPrints(['endl', 'a byte', '3', 'write']));
    });
  }
});
