/**
 * Ten tiny programs, each with a crash bug of another kind, and their repaired twins: the bug is
 * found, made as small as it can be and explained by the right calls; the twin has no bad state.
 */
import t from 'tap';
import type { ModelName } from '../../lib/crash/choice.js';
import { explore } from '../../lib/crash/explorer.js';
import type { Expectation, OracleName } from '../../lib/crash/search/oracles.js';
import { type Check, FunctionRunner, OPTIONS, type Program, traceOf } from './tiny_programs.js';

interface Case {
  bug: string;
  model: ModelName;
  expect?: Expectation[];
  oracle?: OracleName;
  setup?: (program: Program) => void;
  buggy: (program: Program) => void;
  fixed: (program: Program) => void;
  check: Check;
  fixedCheck?: Check;
  /** What the explanation says. */
  says: RegExp;
  needs: RegExp;
  /** Lost operations and lines of the minimal state. */
  lost: [operations: number, lines: number];
}

const RECORD = 'r'.repeat(300);
const isOf = (text: string, ...letters: string[]): void => {
  const other = [...new Set(text)].filter((letter) => !letters.includes(letter));
  if (other.length > 0 || new Set(text).size > 1) throw new Error(`neither old nor new: ${text}`);
};
const conf: Check = (files) => {
  if (!files.has('conf')) throw new Error('conf is gone');
  isOf(files.read('conf'), 'a', 'b');
};
const notEmpty: Check = (files, request) => {
  if (files.read('conf') === '') throw new Error('conf is empty');
  conf(files, request);
};
const saved = (p: Program): void => {
  p.create('conf');
  p.write('conf', 0, 'a'.repeat(300));
  p.fsync('conf');
};
const saveByRename = (isSynced: boolean) => (p: Program) => {
  p.create('tmp');
  p.write('tmp', 0, 'b'.repeat(300));
  if (isSynced) p.fsync('tmp');
  p.rename('tmp', 'conf');
  p.fsyncDirectory();
};
const zeroedLog = (p: Program): void => {
  p.create('log');
  p.write('log', 0, Buffer.alloc(4096));
  p.fsync('log');
};
const acked: Check = (files, { acknowledged }) => {
  for (const name of acknowledged) if (!files.has(name)) throw new Error(`${name} is lost`);
};

const CASES: Case[] = [
  {
    bug: 'a torn record',
    model: 'dax',
    buggy: (p) => {
      zeroedLog(p);
      p.write('log', 0, RECORD);
      p.fsync('log');
    },
    fixed: (p) => {
      zeroedLog(p);
      p.write('log', 0, RECORD);
      p.fsync('log');
    },
    check: (files) => {
      if (!files.has('log')) return;
      const record = files.read('log').slice(0, 300);
      if (record.startsWith('r')) isOf(record, 'r');
    },
    // As a checksum would: what is there in part is no record.
    fixedCheck: (files) => {
      if (files.has('log') && files.read('log').slice(0, 300) === RECORD) return 'one record';
      return 'none';
    },
    says: /record that `write\(log, offset 0, 300 bytes\)` wrote .* is torn: only 4 of its 5 lines/,
    needs: /checksum/,
    lost: [0, 1],
  },
  {
    bug: 'an acknowledgement before the sync',
    model: 'dax',
    expect: ['acked'],
    oracle: 'acked',
    buggy: (p) => {
      p.create('log');
      p.append('log', 'one\n');
      p.print('one');
      p.fsync('log');
    },
    fixed: (p) => {
      p.create('log');
      p.append('log', 'one\n');
      p.fsync('log');
      p.print('one');
    },
    check: (files) => (files.has('log') ? files.read('log') : ''),
    says: /'one' was acknowledged before `write\(log, offset 0, 4 bytes\)` was durable/,
    needs: /fdatasync of `log`.*pid 4711, before the acknowledgement/,
    lost: [1, 0],
  },
  {
    bug: 'a directory that was not synced',
    model: 'posix',
    buggy: (p) => {
      p.create('mail');
      p.write('mail', 0, 'text');
      p.fsync('mail');
      p.print('mail');
    },
    fixed: (p) => {
      p.create('mail');
      p.write('mail', 0, 'text');
      p.fsync('mail');
      p.fsyncDirectory();
      p.print('mail');
    },
    check: acked,
    says: /'mail' was acknowledged before `create\(mail\)` was durable/,
    needs: /fsync of the directory `\.`/,
    lost: [1, 0],
  },
  {
    bug: 'a rename before the data',
    model: 'posix',
    setup: saved,
    buggy: saveByRename(false),
    fixed: saveByRename(true),
    check: notEmpty,
    says: /`tmp` was renamed over `conf` before its bytes were durable.*`conf` shows zeroes/,
    needs: /fdatasync of `tmp`, written by python3 save.py in pid 4711, before the rename/,
    lost: [0, 1],
  },
  {
    bug: 'a rename before the data, to a new name',
    model: 'posix',
    buggy: saveByRename(false),
    fixed: saveByRename(true),
    check: (files, request) => (files.has('conf') ? notEmpty(files, request) : ''),
    says: /`tmp` was renamed to `conf` before its bytes were durable.*`conf` shows zeroes/,
    needs: /fdatasync of `tmp`, written by python3 save.py in pid 4711, before the rename/,
    lost: [0, 1],
  },
  {
    bug: 'an overwrite in place',
    model: 'dax',
    setup: saved,
    buggy: (p) => {
      p.write('conf', 0, 'b'.repeat(300));
      p.fsync('conf');
    },
    fixed: saveByRename(true),
    check: conf,
    says: /`conf` was overwritten in place.*mix of old and new bytes/,
    needs: /renamed over `conf`/,
    lost: [0, 1],
  },
  {
    bug: 'an index written before its data is durable',
    model: 'posix',
    buggy: (p) => {
      p.create('data');
      p.create('index');
      p.fsyncDirectory();
      p.write('data', 0, RECORD);
      p.write('index', 0, '300');
      p.fsync('index');
    },
    fixed: (p) => {
      p.create('data');
      p.create('index');
      p.fsyncDirectory();
      p.write('data', 0, RECORD);
      p.fsync('data');
      p.write('index', 0, '300');
      p.fsync('index');
    },
    check: (files) => {
      if (!files.has('index') || files.read('index') !== '300') return;
      if (files.read('data') !== RECORD) throw new Error('the index names what is not there');
    },
    says: /`write\(data, offset 0, 300 bytes\)`/,
    needs: /fdatasync of `data`/,
    lost: [0, 1],
  },
  {
    bug: 'a count that is stored before what it counts',
    model: 'dax',
    setup: zeroedLog,
    buggy: (p) => {
      p.write('log', 0, '1');
      p.write('log', 2048, RECORD);
      p.fsync('log');
    },
    fixed: (p) => {
      p.write('log', 2048, RECORD);
      p.fsync('log');
      p.write('log', 0, '1');
      p.fsync('log');
    },
    check: (files) => {
      const text = files.read('log');
      if (text[0] === '1' && text[2048] !== 'r') throw new Error('number 1 is not there');
    },
    says: /What `write\(log, offset 0, 1 byte\)` stored survived, and `write\(log, offset 2048, 300 bytes\)`, which came after it, was lost/,
    needs:
      /^`write\(log, offset 2048, .*first, then fdatasync of `log`, and only then `write\(log, offset 0/,
    lost: [0, 1],
  },
  {
    bug: 'a mapping that is never synced',
    model: 'dax',
    buggy: (p) => {
      zeroedLog(p);
      p.print('stored');
      p.writeback('log', 0, 'stored');
    },
    fixed: (p) => {
      zeroedLog(p);
      p.writeback('log', 0, 'stored');
      p.fsync('log');
      p.print('stored');
    },
    check: (files, { acknowledged }) => {
      if (acknowledged.length > 0 && !files.read('log').startsWith('stored')) {
        throw new Error('what was stored is lost');
      }
    },
    says: /stored through a mapping of `log`/,
    needs: /msync/,
    lost: [0, 1],
  },
  {
    bug: 'two files in the wrong order',
    model: 'sector',
    setup: (p) => {
      p.create('a');
      p.write('a', 0, '0'.repeat(512));
      p.create('b');
      p.write('b', 0, '0'.repeat(512));
      p.fsync('a');
      p.fsync('b');
    },
    buggy: (p) => {
      p.write('a', 0, '1'.repeat(512));
      p.write('b', 0, '1'.repeat(512));
      p.fsync('b');
      p.fsync('a');
    },
    fixed: (p) => {
      p.write('a', 0, '1'.repeat(512));
      p.fsync('a');
      p.write('b', 0, '1'.repeat(512));
      p.fsync('b');
    },
    check: (files) => {
      if (files.read('b') > files.read('a')) throw new Error('b is ahead of a');
    },
    says: /`write\(a, offset 0, 512 bytes\)` was lost, while the later `write\(b, .*survived/,
    needs: /fdatasync of `a`.*before `write\(b/,
    lost: [0, 1],
  },
  {
    bug: 'a file removed before its successor is there',
    model: 'dax',
    setup: saved,
    buggy: (p) => {
      p.create('new');
      p.write('new', 0, 'b'.repeat(300));
      p.fsync('new');
      p.unlink('conf');
      p.rename('new', 'conf');
      p.fsyncDirectory();
    },
    fixed: saveByRename(true),
    check: conf,
    says: /`unlink\(conf\)` survived and `rename\(new → conf\)`, which came after it, was lost/,
    needs: /one step that does both/,
    lost: [1, 0],
  },
  {
    bug: 'a file emptied before it is written anew',
    model: 'dax',
    setup: saved,
    buggy: (p) => {
      p.truncate('conf', 0);
      p.write('conf', 0, 'b'.repeat(300));
      p.fsync('conf');
    },
    fixed: saveByRename(true),
    check: notEmpty,
    says: /`conf` was written in place: `truncate\(conf, 0\)` survived and `write\(conf, .*was lost.*`conf` is empty/,
    needs:
      /^a new file that is written, synced and renamed over `conf`, then fsync of the directory/,
    lost: [1, 0],
  },
];

for (const { bug, model, expect = [], oracle = 'check', ...one } of CASES) {
  const options = { ...OPTIONS, models: [model], expect };

  t.test(`${bug} is found under ${model}, minimal and explained`, async (t) => {
    const result = await explore(
      traceOf(one.buggy, one.setup),
      new FunctionRunner(one.check),
      options,
    );
    const [failure] = result.failures;
    t.equal(result.end, 'failure-found');
    t.equal(failure?.oracle, oracle);
    const { choice, explanation } = failure!;
    t.same([choice.lostOperations.length, choice.lines.length], one.lost);
    t.match(explanation.text, one.says);
    t.match(explanation.needs, one.needs);
    if (explanation.verified !== null) {
      t.ok(explanation.verified.states > 0);
      t.equal(explanation.verified.failed, 0);
    }
  });

  t.test(`without ${bug} no state is bad under ${model}`, async (t) => {
    const runner = new FunctionRunner(one.fixedCheck ?? one.check);
    const result = await explore(traceOf(one.fixed, one.setup), runner, options);
    t.same(result.failures, []);
    t.equal(result.end, 'space-exhausted');
  });
}

const message = (isSynced: boolean) => (p: Program) => {
  for (const name of ['mail.1', 'mail.2', 'mail.3']) {
    p.create(name);
    p.write(name, 0, 'text');
    if (isSynced) p.fsync(name);
    p.print(name);
  }
};
const whole: Check = (files, { acknowledged }) => {
  for (const name of acknowledged) {
    if (!files.has(name)) throw new Error(`${name} is lost`);
    if (files.read(name) !== 'text') throw new Error(`${name} is empty`);
  }
};

t.test('a failure is at its earliest moment, and names nothing that came later', async (t) => {
  const program = (p: Program): void => {
    p.create('log');
    p.fsync('log');
    p.append('log', 'one\n');
    p.print('one');
    p.create('other');
    p.append('log', 'two\n');
    p.unlink('other');
    p.print('two');
  };
  const source = traceOf(program);
  const check: Check = (files) => (files.has('log') ? files.read('log') : '');
  const options = { ...OPTIONS, expect: ['acked' as const] };
  const { failures } = await explore(source, new FunctionRunner(check), options);
  const { choice, explanation } = failures[0]!;
  const lost = explanation.lost.map(({ text }) => text);
  t.same(lost, ['write(log, offset 0, 4 bytes)']);
  const events = [...source.events()];
  const printed = events.findIndex((event) => event.type === 'output');
  t.equal(choice.position, printed + 1);
});

t.test('what a file shows after a crash is said of the lines that differ', async (t) => {
  const program = (p: Program): void => {
    zeroedLog(p);
    p.write('log', 0, 'first');
    p.write('log', 64, 'second');
    p.fsync('log');
    p.print('done');
  };
  const check: Check = (files) => {
    const log = files.has('log') ? files.read('log') : '';
    if (log.includes('second') && !log.includes('first')) throw new Error('out of order');
  };
  const { failures } = await explore(traceOf(program), new FunctionRunner(check), OPTIONS);
  t.match(
    failures[0]!.explanation.text,
    /`log` shows zeroes in one 64-byte line, from offset 0 on/,
  );
});

t.test('a missing order is enforced wherever the program does the same', async (t) => {
  const options = { ...OPTIONS, models: ['posix' as const] };
  const runner = new FunctionRunner(acked);
  const { failures } = await explore(traceOf(message(true)), runner, options);
  const { verified } = failures[0]!.explanation;
  t.ok(verified !== null && verified.states > 3);
  t.equal(verified?.failed, 0);
});

t.test('what still fails with the missing order is said, and what that needs', async (t) => {
  const options = { ...OPTIONS, models: ['posix' as const] };
  const runner = new FunctionRunner(whole);
  const { failures } = await explore(traceOf(message(false)), runner, options);
  const { needs, verified } = failures[0]!.explanation;
  const all = [needs, ...(verified?.rest?.needs ?? [])];
  t.equal(all.length, 2);
  t.ok(all.some((one) => /fsync of the directory `\.`/.test(one)));
  t.ok(all.some((one) => /fdatasync of `mail\.1`/.test(one)));
  t.ok((verified?.failed ?? 0) > 0);
  t.ok((verified?.rest?.states ?? 0) > 0);
  t.equal(verified?.rest?.failed, 0);
});

t.test('bytes of a mapping that came to the file after the crash were not synced', async (t) => {
  const program = (p: Program): void => {
    zeroedLog(p);
    p.print('stored');
    p.fsync('log');
    p.print('done');
    p.writeback('log', 0, 'stored');
  };
  const check: Check = (files, { acknowledged }) => {
    if (acknowledged.includes('stored') && !files.read('log').startsWith('stored')) {
      throw new Error('what was stored is lost');
    }
  };
  const { failures } = await explore(traceOf(program), new FunctionRunner(check), OPTIONS);
  const { choice, explanation } = failures[0]!;
  t.same([choice.lostOperations, choice.lines], [[], []]);
  t.match(explanation.text, /mapping of `log` were not synced.*'stored' had been acknowledged/);
  t.match(explanation.needs, /msync/);
});
