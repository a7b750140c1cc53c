/** Parts of the shim beside a daemon that is only memory: a C program that prints a line for each thing. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Test } from 'tap';
import { scratchFolder } from './scratch.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CC'] ?? 'cc';
const FLAGS = '-std=gnu17 -O1 -g -Wall -Wextra -Werror -pthread -I native'.split(' ');

/** Compiles the sources, and runs what they make to its end: each of its lines holds. */
export function allHold(t: Test, sources: readonly string[]): void {
  const program = join(scratchFolder(t), 'program');
  const made = spawnSync(COMPILER, [...FLAGS, ...sources, '-o', program, '-ldl'], { cwd: ROOT });
  t.equal(made.status, 0, `${made.stderr}`);
  const { stdout, status } = spawnSync(program, { encoding: 'utf8', timeout: 10_000 });
  for (const line of stdout.split('\n')) {
    const [, outcome, name] = /^(ok|not ok) (.*)$/.exec(line) ?? [];
    if (name !== undefined) t.equal(outcome, 'ok', name);
  }
  t.match(stdout, /^end$/m, `it came to its end: ${stdout}`);
  t.equal(status, 0);
}
