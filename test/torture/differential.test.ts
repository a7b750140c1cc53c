// fxdiff itself is checked here: two directories of one trusted filesystem never differ, and each
// kind of planted error is seen, for what it is, and again when its replay line is run.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const runner = join(import.meta.dirname, 'differential', 'run.sh');

// Plant, and what the report has to say about it.
const plants: [kind: string, difference: RegExp][] = [
  ['flip-byte', /bytes differ in \[0, 0\]/],
  ['short-write', /bytes differ|size A=/],
  ['drop-punch', /bytes differ/],
  ['stale-tail', /bytes differ.*first A=aa B=00/],
  ['wrong-store', /bytes differ/],
  ['lost-name', /A=ENOENT B=0|only in B/],
  ['wrong-errno', /errno A=EIO B=ENOENT/],
  ['lost-mtime', /mtime A=.* B=clock/],
  ['lost-xattr', /A=ENODATA|attributes A=|result A=|text A=/],
];

function pair(test: Test): string[] {
  const root = mkdtempSync(join(tmpdir(), 'fxdiff-'));
  test.teardown(() => rmSync(root, { recursive: true, force: true }));
  const [a, b] = [join(root, 'a'), join(root, 'b')];
  mkdirSync(a);
  mkdirSync(b);
  return ['--dir', a, '--peer', b];
}

function fxdiff(args: string[]): { status: number | null; text: string } {
  const done = spawnSync(runner, args, {
    encoding: 'latin1',
    timeout: 240_000,
    maxBuffer: 1 << 26,
  });
  return { status: done.status, text: done.stdout + done.stderr };
}

t.test('two directories of one filesystem do not differ', async (t) => {
  for (const seed of [1, 2, 3]) {
    const run = fxdiff([...pair(t), '--seed', String(seed), '--ops', '20000']);
    t.equal(run.status, 0, `seed ${seed}: ${run.text.slice(-2000)}`);
  }
});

for (const [kind, difference] of plants) {
  t.test(`a planted ${kind} is reported and its replay finds it again`, async (t) => {
    const where = pair(t);
    const planted = ['--plant', `${kind}:2000`];
    const run = fxdiff([...where, '--seed', '11', '--ops', '60000', ...planted]);
    t.equal(run.status, 1, 'exit status 1');
    const report = /DIFFERENCE at seed 11 operation (\d+): (.*)/.exec(run.text);
    t.match(report?.[2] ?? run.text.slice(-2000), difference);
    const again = fxdiff([...where, '--replay', `11:${report?.[1]}`, ...planted]);
    t.equal(again.status, 1, 'the replay differs too');
    t.match(again.text, `operation ${report?.[1]}: ${report?.[2]}`);
  });
}

t.test('the trees are compared again after the remount command', async (t) => {
  const where = pair(t);
  const clean = fxdiff([...where, '--ops', '3000', '--remount', 'true', '--remount-every', '1000']);
  t.equal(clean.status, 0, clean.text.slice(-2000));
  t.match(clean.text, '3 remounts');
  const losing = `find ${where[1]}/fxdiff -type f -exec truncate -s +1 {} ';' -quit`;
  const lost = fxdiff([...where, '--ops', '3000', '--remount', losing, '--remount-every', '1000']);
  t.equal(lost.status, 1);
  t.match(lost.text, 'after remount: ');
});

t.test('wrong options are refused with status 2', async (t) => {
  for (const args of [
    [],
    ['--dir', '/tmp'],
    ['--dir', '/tmp', '--peer', '/tmp', '--seed', 'x'],
    ['--dir', '/tmp', '--peer', '/tmp', '--plant', 'nothing:1'],
  ]) {
    t.equal(fxdiff(args).status, 2, args.join(' '));
  }
});
