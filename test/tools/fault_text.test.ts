import t from 'tap';
import type { FaultAction } from '../../fs/faults.js';
import type { Keep } from '../../lib/region.js';
import { describeRule, parseAction, parseKeep, parseTrigger } from '../../tools/fault_text.js';

t.test('each fault can be typed, and is printed as it was typed', async (t) => {
  const table: [string, FaultAction][] = [
    ['eio', { do: 'error', code: 'EIO' }],
    ['enospc', { do: 'error', code: 'ENOSPC' }],
    ['short', { do: 'short' }],
    ['short=100', { do: 'short', bytes: 100 }],
    ['torn', { do: 'torn' }],
    ['torn=64', { do: 'torn', bytes: 64 }],
    ['delay=250ms', { do: 'delay', delayMs: 250 }],
    ['poison', { do: 'poison' }],
  ];
  for (const [text, action] of table) {
    t.same(parseAction(text), action, text);
    t.equal(describeRule({ op: 'write', path: '*', action }).action, text);
  }
  t.same(parseAction('EIO'), { do: 'error', code: 'EIO' });
  t.same(parseAction('torn=1K'), { do: 'torn', bytes: 1024 });
  t.same(parseAction('delay=1.5s'), { do: 'delay', delayMs: 1500 });
  t.same(parseAction('delay=5'), { do: 'delay', delayMs: 5 });
});

t.test('a fault that cannot be read is refused with what was typed', async (t) => {
  for (const text of ['', 'fail', 'eio=3', 'poison=1', 'delay', 'delay=soon', 'torn=x', 'x=1']) {
    t.throws(() => parseAction(text), { name: 'UsageError' }, text);
  }
});

t.test('keep is none, all or a seed', async (t) => {
  const table: [string, Keep][] = [
    ['none', { keep: 'none' }],
    ['all', { keep: 'all' }],
    ['seed:0', { keep: 'seed', seed: 0 }],
    ['seed:42', { keep: 'seed', seed: 42 }],
  ];
  for (const [text, keep] of table) t.same(parseKeep(text), keep, text);
  for (const text of [
    '',
    'some',
    'seed',
    'seed:',
    'seed:-1',
    'seed:1.5',
    'seed:99999999999999999',
  ]) {
    t.throws(() => parseKeep(text), { name: 'UsageError', message: `--keep ${text}` }, text);
  }
});

t.test('a trigger is an operation, a glob that may hold colons, and a count', async (t) => {
  t.same(parseTrigger('write:*.wal:3'), { op: 'write', path: '*.wal', nth: 3 });
  t.same(parseTrigger('fsync:/a:b/*:10'), { op: 'fsync', path: '/a:b/*', nth: 10 });
  for (const text of ['', 'write', 'write:3', 'write::3', ':*:3', 'write:*:0', 'write:*:x']) {
    t.throws(() => parseTrigger(text), { name: 'UsageError', message: `--at ${text}` }, text);
  }
});

t.test('a rule says when it fires', async (t) => {
  const rule = { op: 'write' as const, path: '*', action: { do: 'poison' as const } };
  t.equal(describeRule(rule).when, 'always');
  t.equal(describeRule({ ...rule, nth: 3 }).when, 'number 3');
  t.equal(describeRule({ ...rule, every: 2 }).when, 'every 2');
});
