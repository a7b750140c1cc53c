// The kill -9 loop itself, in a plain directory of a trusted filesystem, where clients are killed
// instead of a daemon: it finds nothing when nothing is lost, and finds each kind of broken
// promise.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const loop = join(import.meta.dirname, 'kill9', 'kill9.mjs');

function run(test: Test, ...args: string[]): { status: number | null; text: string } {
  const dir = mkdtempSync(join(tmpdir(), 'kill9-'));
  test.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const done = spawnSync(process.execPath, [loop, '--dir', dir, ...args], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { status: done.status, text: done.stdout + done.stderr };
}

t.test('killed clients on a trusted filesystem lose no promise', async (t) => {
  const done = run(t, '--rounds', '6', '--seed', '1', '--alive-ms', '200');
  t.equal(done.status, 0, done.text);
  t.match(
    done.text,
    /seed 1: 6 rounds, [1-9]\d+ acknowledged, \d+ in flight at a kill, nothing lost/,
  );
});

for (const [plant, message] of [
  ['flip', /promised|holds a word of another/],
  ['cut', /promised \d+:.* found \d+:/],
  ['drop', /promised \d+:.* found -/],
] as const) {
  t.test(`a promise broken by ${plant} is reported with its seed and round`, async (t) => {
    const done = run(t, '--rounds', '6', '--seed', '3', '--plant', plant);
    t.equal(done.status, 1, done.text);
    t.match(done.text, /LOST in round \d of seed 3: /);
    t.match(done.text, message);
  });
}
