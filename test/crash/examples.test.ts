/**
 * The examples, as examples/run.sh runs them: `fauxdax test` must find each bug, say which file it
 * is about, and find nothing in the program that differs only in the fix.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import type { Result } from '../../lib/crash/result/result.js';
import { loadNative } from '../../lib/native.js';

interface Example {
  name: string;
  /** Models under which the buggy program fails. */
  fails: string[];
  /** Part of what the explanation must say. */
  names: string;
  /** Of `fauxdax test`. */
  options?: string[];
}

const examples: Example[] = JSON.parse(readFileSync('examples/examples.json', 'utf8'));
const results = mkdtempSync(join(tmpdir(), 'fauxdax-examples-'));
t.teardown(() => rmSync(results, { recursive: true, force: true }));

function missing(): string | false {
  for (const command of ['cc', 'python3']) {
    if (spawnSync(command, ['--version']).error !== undefined) return `${command} is not installed`;
  }
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return false;
  } catch {
    return '/dev/fuse cannot be opened';
  }
}

function whyNoDax(): string | false {
  for (const library of ['libpmem', 'libpmemobj']) {
    if (!existsSync(`/usr/include/${library}.h`)) return `needs ${library}-dev`;
  }
  try {
    return loadNative().probeUserfault() !== 0 && 'this kernel has no direct mappings';
  } catch (error) {
    return `userfaultfd: ${(error as Error).message}`;
  }
}

/** Runs one variant under one model; run.sh compares the exit status with the table. */
function run(example: Example, variant: string, model: string): Result {
  const args = ['--variant', variant, '--model', model, '--results', results, example.name];
  const ended = spawnSync(resolve('examples/run.sh'), args, { encoding: 'utf8' });
  if (ended.status !== 0) throw new Error(ended.stdout + ended.stderr);
  return JSON.parse(
    readFileSync(join(results, `${example.name}-${variant}-${model}.json`), 'utf8'),
  );
}

t.test('examples', { skip: missing() }, async (t) => {
  t.equal(examples.length, 13, 'there are thirteen');
  for (const example of examples) {
    const model = example.fails[0]!;
    const isDax = example.options?.includes('--dax') === true;
    const skip = isDax && whyNoDax();
    t.test(
      `${example.name}: the bug is found and explained, the fix passes`,
      { skip },
      async (t) => {
        const buggy = run(example, 'buggy', model);
        const failure = buggy.failures[0]!;
        t.match(failure.explanation.text, example.names, 'the explanation names the file');
        t.match(failure.explanation.needs, /./, 'it says what was needed');
        // A crash inside a recovery is looked for under the model of the first one.
        const models = example.options?.includes('--nested') ? [model] : example.fails;
        // Models of disks take no flush of a program: those of libpmem fail under them as well.
        if (!isDax) {
          t.same([...failure.models].sort(), [...models].sort(), 'under these models, no others');
        }
        const fixed = run(example, 'fixed', model);
        t.equal(fixed.failures.length, 0, 'the fixed program passes');
        if (isDax) {
          const lints = (result: Result) =>
            result.lints.filter(({ lint }) => lint === 'acknowledged-before-durable');
          t.match(lints(buggy)[0]?.severity, 'error', 'the lint finds it too');
          t.same(lints(fixed), [], 'and nothing in the fixed program');
        }
        t.ok(fixed.models[0]!.states.run > 0, 'states were checked');
      },
    );
  }
});
