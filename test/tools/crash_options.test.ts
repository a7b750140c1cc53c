import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { UsageError } from '../../fs/options.js';
import {
  type ExploreWords,
  parseExploreOptions,
  parseRecordOptions,
  parseReportOptions,
} from '../../tools/crash_options.js';
import { parseShard, shardOf } from '../../tools/shard.js';

const base = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

/** What commander gives when nothing but the check was said. */
const DEFAULTS: ExploreWords = {
  check: 'true',
  model: 'dax',
  seconds: '60',
  checkSeconds: '30',
  seed: '1',
  failures: '1',
  nested: '0',
};
const explore = (words: Partial<ExploreWords>) =>
  parseExploreOptions({ ...DEFAULTS, ...words }, {});

t.test('without options: dax, a minute, the first failure', async (t) => {
  t.match(explore({}), {
    models: ['dax'],
    expect: [],
    continue: null,
    secondsMax: 60,
    statesMax: undefined,
    failuresMax: 1,
    nestedDepth: 0,
    tornBytes: undefined,
    seed: 1,
    shard: { index: 0, count: 1 },
    checkMs: 30_000,
    keepDir: undefined,
  });
});

t.test('words become wishes', async (t) => {
  t.same(explore({ model: 'posix,dax' }).models, ['posix', 'dax']);
  t.same(explore({ model: 'all' }).models, ['dax', 'sector', 'posix', 'eadr']);
  t.same(explore({ expect: 'acked,synced,acked' }).expect, ['acked', 'synced']);
  t.equal(explore({ seconds: '0' }).secondsMax, undefined, 'no limit');
  t.equal(explore({ seconds: '1.5' }).secondsMax, 1.5);
  t.equal(explore({ checkSeconds: '0.25' }).checkMs, 250);
  t.equal(explore({ torn: '8' }).tornBytes, 8);
  t.same(explore({ shard: '2/8' }).shard, { index: 1, count: 8 });
});

t.test('a mistake is refused by the name of its option', async (t) => {
  const table: [Partial<ExploreWords>, RegExp][] = [
    [{ model: 'ext4' }, /--model ext4: 'ext4' is none of dax/],
    [{ model: 'dax,dax' }, /--model dax,dax: dax twice/],
    [{ model: '' }, /--model : '' is none of/],
    [{ model: 'all,dax' }, /--model all,dax: 'all' is none of/],
    [{ expect: 'acks' }, /--expect acks: 'acks' is none of acked/],
    [{ torn: '16' }, /--torn 16/],
    [{ torn: '8', model: 'posix,sector' }, /--torn contradicts --model posix,sector/],
    [{ check: ' ' }, /--check: the command is empty/],
    [{ continue: '' }, /--continue: the command is empty/],
    [{ states: '0' }, /--states 0: expected a whole number, 1 at least/],
    [{ states: '1e3' }, /--states 1e3/],
    [{ seconds: '-1' }, /--seconds -1/],
    [{ seconds: 'x' }, /--seconds x/],
    [{ checkSeconds: '0' }, /--check-seconds 0: expected seconds, more than 0/],
    [{ failures: '0' }, /--failures 0/],
    [{ jobs: '0' }, /--jobs 0/],
    [{ seed: '-3' }, /--seed -3/],
    [{ nested: 'deep' }, /--nested deep/],
    [{ shard: '0/4' }, /--shard 0\/4: expected I\/N, with I from 1 to N/],
    [{ shard: '5/4' }, /--shard 5\/4/],
    [{ shard: '1' }, /--shard 1:/],
  ];
  for (const [words, message] of table) {
    t.throws(() => explore(words), { name: UsageError.name, message }, JSON.stringify(words));
  }
});

t.test('what is recorded: a size in pages, commands that are there', async (t) => {
  const words = { workload: 'true', size: '1M' };
  t.match(parseRecordOptions(words), { sizeBytes: 1 << 20, setup: null });
  t.equal(parseRecordOptions({ ...words, workloadSeconds: '2' }).workloadSeconds, 2);
  const table: [object, RegExp][] = [
    [{ size: '5000' }, /--size 5000: a multiple of 4 KiB/],
    [{ size: '4K' }, /64 KiB at least/],
    [{ size: 'big' }, /'big' is not a size/],
    [{ workload: '' }, /--workload: the command is empty/],
    [{ setup: ' ' }, /--setup: the command is empty/],
    [{ workloadSeconds: '0' }, /--workload-seconds 0/],
  ];
  for (const [more, message] of table) {
    t.throws(() => parseRecordOptions({ ...words, ...more }), { name: UsageError.name, message });
  }
});

t.test('a report that cannot be written is refused before anything runs', async (t) => {
  const file = join(base, 'a');
  t.same(parseReportOptions({ json: file }), { json: file });
  const table: [object, RegExp][] = [
    [{ json: file, report: file }, /--json contradicts --report: the same file/],
    [{ junit: join(base, 'no', 'x.xml') }, /--junit .*no is not there/],
    [{ report: base }, /--report .*: not a file/],
    [{ report: '' }, /--report : not a file/],
  ];
  for (const [words, message] of table) {
    t.throws(() => parseReportOptions(words), { name: UsageError.name, message });
  }
});

t.test('a scheduler says which shard, --shard says it first', async (t) => {
  const slurm = {
    SLURM_ARRAY_TASK_ID: '12',
    SLURM_ARRAY_TASK_MIN: '10',
    SLURM_ARRAY_TASK_COUNT: '4',
  };
  t.same(shardOf({}), { index: 0, count: 1 });
  t.same(shardOf(slurm), { index: 2, count: 4 });
  t.same(shardOf({ ...slurm, SLURM_ARRAY_TASK_ID: '14', SLURM_ARRAY_TASK_STEP: '2' }), {
    index: 2,
    count: 4,
  });
  t.same(shardOf({ JOB_COMPLETION_INDEX: '0', JOB_COMPLETIONS: '3' }), { index: 0, count: 3 });
  t.same(parseShard('1/1'), { index: 0, count: 1 });
  const words = { ...DEFAULTS, shard: '1/1' };
  t.same(parseExploreOptions(words, slurm).shard, { index: 0, count: 1 });
  t.same(parseExploreOptions(DEFAULTS, slurm).shard, { index: 2, count: 4 });
  const table: [NodeJS.ProcessEnv, RegExp][] = [
    [{ JOB_COMPLETION_INDEX: '0' }, /JOB_COMPLETIONS is not: set it/],
    [{ SLURM_ARRAY_TASK_ID: '0' }, /SLURM_ARRAY_TASK_COUNT is not/],
    [{ JOB_COMPLETION_INDEX: '3', JOB_COMPLETIONS: '3' }, /do not fit: shard 4 of 3/],
    [{ ...slurm, SLURM_ARRAY_TASK_ID: '9' }, /do not fit/],
    [{ JOB_COMPLETION_INDEX: 'x', JOB_COMPLETIONS: '3' }, /JOB_COMPLETION_INDEX=x: not a number/],
  ];
  for (const [environment, message] of table) {
    t.throws(() => shardOf(environment), { name: UsageError.name, message });
  }
});
