/**
 * The lab's checkers, checked: with one line of the engine made wrong, a scenario says so. A mutation is
 * made in a copy of the compiled library, which runs in a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { MUTATIONS, type Mutation, UNTOLD_MUTATIONS } from './mutations.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MUTANT = fileURLToPath(new URL('mutant.mjs', import.meta.url));

const dir = mkdtempSync(join(tmpdir(), 'fauxdax-mutant-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));
cpSync(join(ROOT, 'dist/lib'), join(dir, 'lib'), { recursive: true });
symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
writeFileSync(join(dir, 'package.json'), '{"type":"module"}');

function run(scenario: string): string {
  const args = [MUTANT, join(dir, 'lib'), scenario];
  return spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout.trim();
}

function mutated(source: string, { from, to, nth }: Mutation): string | undefined {
  let at = source.indexOf(from);
  for (let count = 0; count < nth && at >= 0; count++) at = source.indexOf(from, at + 1);
  return at < 0 ? undefined : source.slice(0, at) + to + source.slice(at + from.length);
}

for (const mutation of MUTATIONS) {
  const { file, from, to, caughtBy } = mutation;
  t.test(`${caughtBy} catches ${file}: ${from} made ${to || 'nothing'}`, async (t) => {
    const path = join(dir, 'lib', `${file}.js`);
    const source = readFileSync(path, 'utf8');
    const wrong = mutated(source, mutation);
    t.type(wrong, 'string', 'the line is there');
    writeFileSync(path, wrong ?? source);
    const caught = run(caughtBy);
    writeFileSync(path, source);
    t.match(caught, new RegExp(`^${caughtBy} `));
    t.comment(`${file}: ${from} -> ${to}: ${caught}`);
  });
}

t.test('what no scenario tells is still there to be looked at', async (t) => {
  for (const mutation of UNTOLD_MUTATIONS) {
    const source = readFileSync(join(dir, 'lib', `${mutation.file}.js`), 'utf8');
    t.type(mutated(source, mutation), 'string', mutation.from);
  }
});

t.test('nothing is caught where nothing is wrong', async (t) => {
  for (const scenario of ['hole-fault-race', 'two-syncs']) t.equal(run(scenario), '');
});
