/** Writes without the kernel, as native/shim_write.c makes them, beside a daemon that is only memory. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CC'] ?? 'cc';
const FLAGS = '-std=gnu17 -O1 -g -Wall -Wextra -Werror -pthread -I native'.split(' ');
const SOURCES = ['test/native/shim_queue.c', 'native/shim_write.c', 'native/shim_copy.c'];

t.test('a write is in the queue, or the kernel makes it', async (t) => {
  const program = join(scratchFolder(t), 'shim_queue');
  const made = spawnSync(COMPILER, [...FLAGS, ...SOURCES, '-o', program, '-ldl'], { cwd: ROOT });
  t.equal(made.status, 0, `${made.stderr}`);
  const { stdout, status } = spawnSync(program, { encoding: 'utf8', timeout: 10_000 });
  for (const line of stdout.split('\n')) {
    const [, outcome, name] = /^(ok|not ok) (.*)$/.exec(line) ?? [];
    if (name !== undefined) t.equal(outcome, 'ok', name);
  }
  t.match(stdout, /^end$/m, 'it came to its end');
  t.equal(status, 0);
});
