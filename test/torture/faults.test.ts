// The torture of faults itself, in a plain directory: its shadow agrees with a trusted filesystem, and
// each kind of wrong bytes is found and told for what it is.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const runner = join(import.meta.dirname, 'faults', 'run.sh');

function torture(test: Test, ...args: string[]): { status: number | null; text: string } {
  const dir = mkdtempSync(join(tmpdir(), 'faults-'));
  test.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const done = spawnSync(runner, ['--dir', dir, ...args], { encoding: 'utf8', timeout: 90_000 });
  return { status: done.status, text: done.stdout + done.stderr };
}

t.test('a trusted filesystem shows nothing wrong', async (t) => {
  const done = torture(t, '--seed', '7', '--seconds', '4', '--pages', '256');
  t.equal(done.status, 0, done.text);
  t.match(done.text, /seed 7: [1-9]\d{2,} operations, nothing wrong/);
});

const plants: [kind: string, message: RegExp][] = [
  ['flip', /finds in word 3 nobody's/],
  ['lost', /finds in word \d zero/],
  ['stale', /finds in word \d word \d of write \d+ to file 0/],
  ['foreign', /finds in word \d word \d of write \d+ to file 1/],
];
for (const [kind, message] of plants) {
  t.test(
    `${kind} bytes are found, with their line, its state and what was done near it`,
    async (t) => {
      const done = torture(t, '--seed', '8', '--seconds', '20', '--pages', '64', '--plant', kind);
      t.equal(done.status, 1, done.text);
      // Any page: planted bytes may have been copied on before they are found.
      t.match(done.text, /FAILED: file 0, page \d+, line \d+ of it: /);
      t.match(done.text, message);
      t.match(done.text, /what was begun near it, last [1-9]/);
    },
  );
}

t.test('wrong options are refused with status 2', async (t) => {
  for (const args of [
    ['--seconds', 'x'],
    ['--pages', '3'],
    ['--threads', '99'],
  ]) {
    t.equal(torture(t, ...args).status, 2, args.join(' '));
  }
});
