/**
 * What each persistence model promises, and what it does not: tiny real programs, each with a claim
 * that a check demands of every crash state. The verdicts are worked out from the rules in SPEC.md,
 * Persistence models, and from what Linux was observed to do; not from what the explorer answers.
 * Under a model that may break the claim a state must be found; under one that keeps it the
 * exploration must come to its end without one.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import type { ModelName } from '../../lib/crash/choice.js';
import type { Result } from '../../lib/crash/result/result.js';

interface Claim {
  claim: string;
  workload: string;
  /** Holds in every crash state, if the claim does. */
  check: string;
  keeps: ModelName[];
  breaks: ModelName[];
  options?: string[];
}

const MAIN = resolve('dist/tools/fauxdax.js');
const skip = !existsSync('/dev/fuse') && '/dev/fuse is missing';
const base = mkdtempSync(join(tmpdir(), 'fauxdax-promises-'));
const runs = join(base, 'runs');
mkdirSync(runs);
t.teardown(() => rmSync(base, { recursive: true, force: true }));
const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: runs };
for (const name of Object.keys(env)) if (/^(SLURM|JOB_COMPLETION)/.test(name)) delete env[name];

/** `a` has 100 bytes, `big` two pages. */
const SETUP =
  'head -c 100 /dev/zero | tr "\\0" a > a; head -c 8192 /dev/zero | tr "\\0" b > big; cp a ref';
const ALL: ModelName[] = ['dax', 'eadr', 'sector', 'posix'];

const acked = (then: string) => `if grep -q done "$FAUXDAX_ACKED"; then ${then}; fi`;
/** Stores bytes of `letter` in place. */
const put = (file: string, letter: string, offset: number, count: number, flags = '') =>
  `head -c ${count} /dev/zero | tr "\\0" ${letter} | ` +
  `dd of=${file} bs=${count} seek=${offset} iflag=fullblock oflag=seek_bytes${flags} conv=notrunc status=none`;
const has = (file: string, letter: string, offset: number, count = 1) =>
  `test "$(tail -c +${offset + 1} ${file} | head -c ${count} | tr -d ${letter} | wc -c)" = 0`;
/** On the empty start too: a file that is not there holds no claim up. */
const where = (file: string, claim: string) => `if test -e ${file}; then ${claim}; fi`;
/** One of the letters alone, in all the bytes. */
const whole = (file: string, offset: number, count: number, letters: [string, string]) =>
  `${has(file, letters[0], offset, count)} || ${has(file, letters[1], offset, count)}`;
const python = (script: string) => `python3 -S -c '${script}'`;

const claims: Claim[] = [
  {
    claim: 'a new file that nothing synced is there',
    workload: 'printf new > f; echo done',
    check: acked('grep -qx new f'),
    keeps: [],
    breaks: ALL,
  },
  {
    claim: 'a new file is there after its fsync',
    workload: 'printf new > f; sync f; echo done',
    check: acked('grep -qx new f'),
    keeps: ['dax', 'eadr', 'sector'],
    breaks: ['posix'],
  },
  {
    claim: 'a new file is there after fsync of it and of its directory',
    workload: 'printf new > f; sync f; sync .; echo done',
    check: acked('grep -qx new f'),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a file in a new directory is there after its fsync',
    workload: 'mkdir d; printf new > d/f; sync d/f; echo done',
    check: acked('grep -qx new d/f'),
    keeps: ['dax', 'eadr', 'sector'],
    breaks: ['posix'],
  },
  {
    claim: 'fsync of another file keeps earlier names',
    workload: 'touch f; sync a; echo done',
    check: acked('test -e f'),
    keeps: ['dax', 'eadr', 'sector'],
    breaks: ['posix'],
  },
  {
    claim: 'fsync of another file keeps earlier bytes',
    workload: `${put('a', 'n', 0, 3)}; touch g; sync g; echo done`,
    check: acked(has('a', 'n', 0, 3)),
    keeps: ['dax', 'eadr'],
    breaks: ['sector', 'posix'],
  },
  {
    claim: 'bytes stored in place are there once write returned',
    workload: `${put('a', 'n', 0, 3)}; echo done`,
    check: acked(has('a', 'n', 0, 3)),
    keeps: ['eadr'],
    breaks: ['dax', 'sector', 'posix'],
  },
  {
    claim: 'bytes written through O_DSYNC are there once write returned',
    workload: `${put('a', 'n', 0, 3, ',dsync')}; echo done`,
    check: acked(has('a', 'n', 0, 3)),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'of two lines the one stored later is there only with the earlier',
    workload: `${put('a', 'n', 0, 3)}; ${put('a', 'm', 64, 3)}`,
    check: where('a', `! ${has('a', 'm', 64)} || ${has('a', 'n', 0)}`),
    keeps: ['eadr', 'sector', 'posix'],
    breaks: ['dax'],
  },
  {
    claim: 'of two sectors the one stored later is there only with the earlier',
    workload: `${put('big', 'n', 0, 3)}; ${put('big', 'm', 512, 3)}`,
    check: where('big', `! ${has('big', 'm', 512)} || ${has('big', 'n', 0)}`),
    keeps: ['eadr'],
    breaks: ['dax', 'sector', 'posix'],
  },
  {
    claim: 'a write of two lines is whole',
    workload: put('big', 'n', 0, 128),
    check: where('big', whole('big', 0, 128, ['b', 'n'])),
    keeps: ['sector', 'posix'],
    breaks: ['dax', 'eadr'],
  },
  {
    claim: 'a write of one line is whole',
    workload: put('big', 'n', 64, 64),
    check: where('big', whole('big', 64, 64, ['b', 'n'])),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a write of one line is whole when words may be torn',
    workload: put('big', 'n', 64, 64),
    check: where('big', whole('big', 64, 64, ['b', 'n'])),
    keeps: [],
    breaks: ['dax'],
    options: ['--torn', '8'],
  },
  {
    claim: 'a write of one word is whole when words may be torn',
    workload: put('big', 'n', 72, 8),
    check: where('big', whole('big', 72, 8, ['b', 'n'])),
    keeps: ['dax'],
    breaks: [],
    options: ['--torn', '8'],
  },
  {
    claim: 'a file renamed over another without fsync is whole',
    workload: 'printf new > t; mv t a',
    check: where('a', 'cmp -s a ref || grep -qx new a'),
    keeps: ['dax', 'eadr'],
    breaks: ['sector', 'posix'],
  },
  {
    claim: 'a file renamed over another after its fsync is whole',
    workload: 'printf new > t; sync t; mv t a',
    check: where('ref', 'cmp -s a ref || grep -qx new a'),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a file that is truncated and rewritten is whole',
    workload: 'printf new > a',
    check: where('a', 'cmp -s a ref || grep -qx new a'),
    keeps: [],
    breaks: ALL,
  },
  {
    claim: 'a rename leaves one of the two names',
    workload: 'mv a z',
    check: where('ref', 'test -e a || test -e z'),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a link and then an unlink leave one of the two names',
    workload: 'ln a z; rm a',
    check: where('ref', 'test -e a || test -e z'),
    keeps: ['dax', 'eadr', 'sector'],
    breaks: ['posix'],
  },
  {
    claim: 'of two new names the later is there only with the earlier',
    workload: 'touch x; touch y',
    check: 'test ! -e y || test -e x',
    keeps: ['dax', 'eadr', 'sector'],
    breaks: ['posix'],
  },
  {
    claim: 'an unlinked name is gone after fsync of the directory',
    workload: 'rm a; sync .; echo done',
    check: acked('test ! -e a'),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a truncate inside a page is whole',
    workload: 'truncate -s 10 a',
    check: where('ref', 'test "$(wc -c < a)" = 10 || cmp -s a ref'),
    keeps: [],
    breaks: ALL,
  },
  {
    claim: 'a hole of a whole page is punched whole',
    workload: 'fallocate --punch-hole --offset 0 --length 4096 big',
    check: where('big', whole('big', 0, 4096, ['b', '"\\0"'])),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'an extended attribute is there after fsync',
    workload: python(
      'import os; os.setxattr("a", "user.x", b"1"); os.fsync(os.open("a", 2)); print("done")',
    ),
    check: acked(python('import os; os.getxattr("a", "user.x")')),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a file without a name that was synced is whole once it has one',
    workload: python(
      'import os; f = os.open(".", os.O_TMPFILE | 2); os.write(f, b"new"); os.fsync(f); ' +
        'os.link("/proc/self/fd/%d" % f, "f", src_dir_fd=0, follow_symlinks=True)',
    ),
    check: where('f', 'grep -qx new f'),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'a file without a name that nothing synced is whole once it has one',
    workload: python(
      'import os; f = os.open(".", os.O_TMPFILE | 2); os.write(f, b"new"); ' +
        'os.link("/proc/self/fd/%d" % f, "f", src_dir_fd=0, follow_symlinks=True)',
    ),
    check: where('f', 'grep -qx new f'),
    keeps: ['dax', 'eadr'],
    breaks: ['sector', 'posix'],
  },
  {
    claim: 'what msync covered is there',
    workload: python(
      'import mmap, os; m = mmap.mmap(os.open("a", 2), 0); m[0:3] = b"nnn"; m.flush(); print("done")',
    ),
    check: acked(has('a', 'n', 0, 3)),
    keeps: ALL,
    breaks: [],
  },
  {
    claim: 'what was stored through a mapping without msync is there',
    workload: python(
      'import mmap, os; m = mmap.mmap(os.open("a", 2), 0); m[0:3] = b"nnn"; print("done")',
    ),
    check: acked(has('a', 'n', 0, 3)),
    keeps: [],
    breaks: ['dax', 'sector', 'posix'],
  },
];

async function fauxdax(...args: string[]): Promise<{ status: number; text: string }> {
  return await new Promise((ended) => {
    const options = { cwd: base, env, timeout: 60_000 };
    const child = execFile(process.execPath, [MAIN, ...args], options, (_error, stdout, stderr) => {
      ended({ status: child.exitCode ?? -1, text: stdout + stderr });
    });
  });
}

t.test('claims', { skip, jobs: 2 }, async (t) => {
  for (const [index, { claim, workload, check, keeps, breaks, options = [] }] of claims.entries()) {
    void t.test(claim, async (t) => {
      const trace = join(base, `${index}.trace`);
      const recorded = await fauxdax(
        ...['record', '-o', trace, '--size', '16M', '--setup', SETUP, '--workload', workload],
      );
      t.equal(recorded.status, 0, recorded.text);
      const json = join(base, `${index}.json`);
      const models = [...keeps, ...breaks].join();
      const limits = ['--seconds', '60', '--failures', '50', '--keep', join(base, 'failures')];
      const args = ['--check', check, '--model', models, ...limits, '--json', json, ...options];
      const { status, text } = await fauxdax('explore', trace, ...args);
      t.equal(status, breaks.length > 0 ? 1 : 0, text);
      const result = JSON.parse(readFileSync(json, 'utf8')) as Result;
      for (const { model, states, end } of result.models) {
        const isKept = keeps.includes(model);
        if (isKept) t.equal(end, 'space-exhausted', `nothing is left under ${model}`);
        t.equal(states.failed === 0, isKept, `${model}: ${states.failed} failed`);
      }
      t.equal(result.models.length, keeps.length + breaks.length, 'no model is left out');
    });
  }
});
