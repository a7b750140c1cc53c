/** msync without the daemon, as native/shim_sync.c makes it, beside a table that is only memory. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CC'] ?? 'cc';
const FLAGS = '-std=gnu17 -O1 -g -Wall -Wextra -Werror -pthread -I native'.split(' ');
const SOURCES = ['test/native/shim_sync.c', 'native/shim_sync.c'];

t.test('an msync flushes what is listed, or asks the daemon', async (t) => {
  const program = join(scratchFolder(t), 'shim_sync');
  const made = spawnSync(COMPILER, [...FLAGS, ...SOURCES, '-o', program], { cwd: ROOT });
  t.equal(made.status, 0, `${made.stderr}`);
  const { stdout, status } = spawnSync(program, { encoding: 'utf8', timeout: 10_000 });
  for (const line of stdout.split('\n')) {
    const [, outcome, name] = /^(ok|not ok) (.*)$/.exec(line) ?? [];
    if (name !== undefined) t.equal(outcome, 'ok', name);
  }
  t.match(stdout, /^end$/m, `it came to its end: ${stdout}`);
  t.equal(status, 0);
});
