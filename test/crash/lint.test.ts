/** Each lint on the order that is wrong, and silent on the order that is right. */
import t, { type Test } from 'tap';
import { lint } from '../../lib/crash/lint/lint.js';
import type { LintFinding } from '../../lib/crash/result/result.js';
import { UnforcedRanges } from '../../lib/crash/lint/unforced_ranges.js';
import type { MetadataRecord } from '../../lib/metadata/records.js';
import type { CallEvent, ForceKind, TraceEvent } from '../../lib/trace/event.js';
import { WRITTEN } from '../../lib/space/extent_list.js';
import { MemoryTrace } from '../../lib/trace/memory_trace.js';
import { call, sampleBase } from '../trace/sample.js';

const FILE = 2; // 'file' in the root
const TMP = 5;
const MAPPED = 40 * 4096;

/** A program, step by step; inode 1 is the root. */
class Steps {
  readonly events: TraceEvent[] = [];

  #do(made: CallEvent, events: TraceEvent[]): this {
    const { callId } = made;
    const own = events.map((event) => ('callId' in event ? { ...event, callId } : event));
    this.events.push(made, ...own, { type: 'return', callId, error: 0 });
    return this;
  }

  #change(made: CallEvent, ...records: MetadataRecord[]): this {
    const all: MetadataRecord[] = [...records, { type: 'end-operation' }];
    const events = all.map((record): TraceEvent => ({ type: 'metadata', callId: 0, record }));
    return this.#do(made, events);
  }

  write(ino: number, offset = 0, lengthBytes = 16, fields: Partial<CallEvent> = {}): this {
    const bytes = Buffer.alloc(lengthBytes, 1);
    const made = call('WRITE', { ino, offset, lengthBytes, ...fields });
    return this.#do(made, [
      { type: 'store', callId: 0, offset: 4096 * ino + offset, bytes, isFlushed: true },
    ]);
  }

  append(ino: number, sizeBytes: number): this {
    const made = call('WRITE', { ino, offset: 0, lengthBytes: sizeBytes });
    return this.#change(made, { type: 'set-inode', ino, patch: { sizeBytes, mtimeSec: 1 } });
  }

  create(name: string, ino: number): this {
    const fields = { mode: 0o100644 } as never;
    return this.#change(
      call('CREATE', { ino: 1, name }),
      { type: 'create-inode', ino, fields },
      { type: 'add-name', parentIno: 1, name, ino },
    );
  }

  unlink(name: string): this {
    const made = call('UNLINK', { ino: 1, name });
    return this.#change(made, { type: 'remove-name', parentIno: 1, name });
  }

  rename(name: string, name2: string, ino: number, how: 'add-name' | 'replace-name'): this {
    return this.#change(
      call('RENAME2', { ino: 1, ino2: 1, name, name2, flags: 0 }),
      { type: 'remove-name', parentIno: 1, name },
      { type: how, parentIno: 1, name: name2, ino },
    );
  }

  chmod(ino: number): this {
    const made = call('SETATTR', { ino, flags: 1 });
    return this.#change(made, { type: 'set-inode', ino, patch: { mode: 0o100600 } });
  }

  read(ino: number): this {
    const made = call('READ', { ino, offset: 0, lengthBytes: 1 });
    return this.#change(made, { type: 'set-inode', ino, patch: { atimeSec: 9, atimeNsec: 1 } });
  }

  force(ino: number, kind: ForceKind = 'fsync'): this {
    const flags = kind === 'fdatasync' ? 1 : 0;
    const operation = { fsyncdir: 'FSYNCDIR', syncfs: 'SYNCFS' }[kind as string] ?? 'FSYNC';
    return this.#do(call(operation, { ino, flags }), [
      { type: 'fence', callId: 0, thread: 0 },
      { type: 'commit', callId: 0, reason: 'fsync' },
      { type: 'force', callId: 0, kind, ino: kind === 'syncfs' ? 0 : ino },
    ]);
  }

  /** A write with O_SYNC of bytes that were there. */
  direct(ino: number): this {
    const made = call('WRITE', { ino, offset: 0, lengthBytes: 16, flags: 0o4010000 });
    return this.#do(made, [{ type: 'force', callId: 0, kind: 'osync', ino }]);
  }

  /** FILE's pages 0 and 1, mapped directly: page 40 of the region and the next. */
  mmap(): this {
    const place = { filePage: 0, regionPage: 40, pageCount: 2, state: WRITTEN } as const;
    const record = { type: 'map', ino: FILE, ...place } as const;
    this.events.push({ type: 'metadata', callId: 0, record });
    return this;
  }

  /** A store through that mapping; recorded with its place in the region. */
  store(line: number, text = 'new'): this {
    const offset = MAPPED + 64 * line;
    const made = call('DAX_STORE', { ino: 0, offset, lengthBytes: 64 });
    const bytes = Buffer.alloc(64, `${text}\0`);
    return this.#do(made, [{ type: 'store', callId: 0, offset, bytes, isFlushed: false }]);
  }

  /** write(2) to the same line. */
  overwrite(line: number): this {
    const bytes = Buffer.alloc(64, 2);
    const made = call('WRITE', { ino: FILE, offset: 64 * line, lengthBytes: 64 });
    const offset = MAPPED + 64 * line;
    return this.#do(made, [{ type: 'store', callId: 0, offset, bytes, isFlushed: true }]);
  }

  flush(line: number, thread = 7, lines = 1): this {
    const lengthBytes = 64 * lines;
    const made = call('DAX_FLUSH', { offset: 64 * line, lengthBytes, thread });
    const offset = MAPPED + 64 * line;
    return this.#do(made, [{ type: 'flush', callId: 0, offset, lengthBytes, thread }]);
  }

  drain(thread = 7): this {
    const made = call('DAX_DRAIN', { ino: 0, thread });
    return this.#do(made, [{ type: 'fence', callId: 0, thread }]);
  }

  msync(): this {
    const made = call('DAX_MSYNC', { offset: 0, lengthBytes: 4096 });
    return this.#do(made, [
      { type: 'flush', callId: 0, offset: MAPPED, lengthBytes: 4096, thread: 0 },
      { type: 'fence', callId: 0, thread: 0 },
      { type: 'force', callId: 0, kind: 'fdatasync', ino: FILE },
    ]);
  }

  free(): this {
    this.events.push({ type: 'canary', page: MAPPED / 4096, pageCount: 1, ownerIno: FILE });
    return this;
  }

  print(...lines: string[]): this {
    this.events.push({ type: 'output', timeNs: 1, stream: 'stdout', lines });
    return this;
  }

  mark(): this {
    this.events.push({ type: 'output', timeNs: 1, stream: 'mark', lines: ['here'] });
    return this;
  }

  end(): this {
    this.events.push({ type: 'workload-end', timeNs: 2, exitStatus: 0, signal: null });
    return this;
  }
}

const steps = (): Steps => new Steps();
const findings = (t: Test, made: Steps): LintFinding[] =>
  lint(new MemoryTrace(sampleBase(t), made.events));
/** `error acknowledged-before-durable file x1` */
const short = (t: Test, made: Steps): string[] =>
  findings(t, made).map((one) => `${one.severity} ${one.lint} ${one.path} x${one.count}`);

type Case = [what: string, made: Steps, expected: string[]];

function table(t: Test, cases: Case[]): void {
  for (const [what, made, expected] of cases) t.same(short(t, made), expected, what);
}

t.test('a line printed before what it speaks of is durable is found', async (t) => {
  const lint = 'acknowledged-before-durable';
  table(t, [
    ['no sync', steps().write(FILE).print('done'), [`error ${lint} file x1`]],
    ['synced', steps().write(FILE).force(FILE).print('done'), []],
    ['synced data only', steps().write(FILE).force(FILE, 'fdatasync').print('done'), []],
    ['written with O_SYNC', steps().write(FILE).force(FILE, 'osync').print('done'), []],
    ['all synced', steps().write(FILE).force(1, 'syncfs').print('done'), []],
    [
      'written after the sync',
      steps().force(FILE).write(FILE).print('done'),
      [`error ${lint} file x1`, 'note redundant-sync file x1'],
    ],
    ['a mark acknowledges nothing', steps().write(FILE).mark(), []],
    ['nothing printed', steps().write(FILE).end(), []],
    [
      'only another file synced',
      steps().write(FILE).write(1).force(1).print('done'),
      [`warning ${lint} file x1`],
    ],
    [
      'written again after that',
      steps().write(FILE).write(1).force(1).write(FILE, 64).print('x'),
      [`error ${lint} file x1`],
    ],
    ['a size without bytes', steps().append(FILE, 9).print('done'), [`error ${lint} file x1`]],
    [
      'each line',
      steps().write(FILE).print('1').write(FILE, 64).print('2'),
      [`error ${lint} file x2`],
    ],
    ['one write, many lines', steps().write(FILE).print('1').print('2'), [`error ${lint} file x1`]],
    ['written back, not stored', steps().print('1').end().write(FILE).print('2'), []],
    ['a name', steps().create('tmp', TMP).print('made'), [`error ${lint} tmp x1`]],
    ['a removal', steps().unlink('file').print('gone'), [`error ${lint} file x1`]],
    [
      'a file that has no name any more',
      steps().write(FILE).unlink('file').force(1, 'fsyncdir').print('gone'),
      [],
    ],
    ['a name that came and went', steps().create('tmp', TMP).unlink('tmp').print('ok'), []],
  ]);
});

t.test('a finding says what was printed, what was lost and what to do', async (t) => {
  const found = findings(t, steps().write(FILE, 4096, 1).print('put 1', 'put 2'));
  t.match(found, [
    {
      text: "'put 1' was printed before write(file, offset 4096, 1 byte) was durable: fsync file first",
      path: 'file',
      call: { operation: 'WRITE', position: 0, offset: 4096, lengthBytes: 1, pid: 7 },
    },
  ]);
});

t.test('a rename of a file whose data is not durable is found', async (t) => {
  const tmp = () => steps().create('tmp', TMP).write(TMP);
  const done = (made: Steps) => made.force(1, 'fsyncdir').print('done');
  table(t, [
    [
      'over another',
      done(tmp().rename('tmp', 'file', TMP, 'replace-name')),
      ['error rename-before-data file x1', 'warning acknowledged-before-durable tmp x1'],
    ],
    [
      'to a new name',
      tmp().rename('tmp', 'new', TMP, 'add-name').force(TMP).force(1, 'fsyncdir'),
      ['warning rename-before-data new x1'],
    ],
    ['synced', done(tmp().force(TMP).rename('tmp', 'file', TMP, 'replace-name')), []],
    ['all synced', done(tmp().force(1, 'syncfs').rename('tmp', 'file', TMP, 'replace-name')), []],
    [
      'another synced',
      done(tmp().force(FILE).rename('tmp', 'file', TMP, 'replace-name')),
      [
        'error rename-before-data file x1',
        'warning acknowledged-before-durable tmp x1',
        'note redundant-sync file x1',
      ],
    ],
    ['no data at all', done(steps().rename('file', 'new', FILE, 'add-name')), []],
  ]);
});

t.test('a name whose directory is not synced is found, as far as that matters', async (t) => {
  const lint = 'name-not-synced';
  table(t, [
    ['a new file at the end', steps().create('tmp', TMP).end(), [`warning ${lint} tmp x1`]],
    ['synced', steps().create('tmp', TMP).force(1, 'fsyncdir').end(), []],
    ['all synced', steps().create('tmp', TMP).force(1, 'syncfs').end(), []],
    ['the file synced', steps().create('tmp', TMP).force(TMP).end(), [`note ${lint} tmp x1`]],
    [
      'the file synced, then a line',
      steps().create('tmp', TMP).force(TMP).print('x'),
      [`note ${lint} tmp x1`],
    ],
    ['removed at the end', steps().unlink('file').end(), [`note ${lint} file x1`]],
    [
      'another directory synced',
      steps().create('tmp', TMP).force(9, 'fsyncdir').end(),
      [`note ${lint} tmp x1`, 'note redundant-sync #9 x1'],
    ],
    [
      'renamed, file synced before',
      steps()
        .create('tmp', TMP)
        .write(TMP)
        .force(TMP)
        .rename('tmp', 'file', TMP, 'replace-name')
        .end(),
      [`warning ${lint} file x1`],
    ],
  ]);
});

t.test('bytes overwritten while others rely on their first version are found', async (t) => {
  const lint = 'warning overwrite-before-durable file x1';
  const printed = 'error acknowledged-before-durable file x2';
  const twice = (between: (made: Steps) => Steps, offset = 0) =>
    between(steps().write(FILE)).write(FILE, offset).force(FILE);
  table(t, [
    ['after a line', steps().write(FILE).print('1').write(FILE).print('2'), [printed, lint]],
    ['after a force of another', twice((made) => made.write(1).force(1)), [lint]],
    [
      'after a rename',
      twice((made) => made.create('a', TMP).rename('a', 'b', TMP, 'add-name')),
      ['warning name-not-synced b x1', lint]
        .map((one) => one.replace('warning name', 'note name'))
        .sort()
        .reverse(),
    ],
    ['forced between', twice((made) => made.force(FILE)), []],
    ['nothing between', twice((made) => made), []],
    ['beside it', twice((made) => made.write(1).force(1), 16), []],
    ['overlapping by a byte', twice((made) => made.write(1).force(1), 15), [lint]],
    [
      'by writeback',
      steps().write(FILE).write(1).force(1).write(FILE, 0, 16, { isWriteback: true, pid: 0 }),
      [],
    ],
  ]);
});

t.test('a sync with nothing to do is found', async (t) => {
  const lint = 'note redundant-sync file x1';
  table(t, [
    ['twice', steps().write(FILE).force(FILE).force(FILE), [lint]],
    ['never changed', steps().force(FILE), [lint]],
    ['after a read', steps().read(FILE).force(FILE), [lint]],
    ['after a change', steps().write(FILE).force(FILE).write(FILE).force(FILE), []],
    ['after chmod', steps().chmod(FILE).force(FILE), []],
    ['data only after chmod', steps().chmod(FILE).force(FILE, 'fdatasync'), [lint]],
    [
      'the rest after data only',
      steps().write(FILE).chmod(FILE).force(FILE, 'fdatasync').force(FILE),
      [],
    ],
    [
      'a directory',
      steps().create('tmp', TMP).force(1, 'fsyncdir').force(1, 'fsyncdir'),
      ['note redundant-sync . x1'],
    ],
    ['all', steps().force(1, 'syncfs').force(1, 'syncfs'), []],
    ['O_SYNC', steps().direct(FILE), []],
    ['a new file', steps().create('tmp', TMP).force(TMP).force(1, 'fsyncdir'), []],
  ]);
});

t.test('a line printed before a store to a mapping is durable is found', async (t) => {
  const lint = 'error acknowledged-before-durable file';
  const mapped = () => steps().mmap();
  table(t, [
    ['never flushed', mapped().store(1).print('1'), [`${lint} x1`]],
    ['flushed and drained', mapped().store(1).flush(1).drain().print('1'), []],
    ['flushed only', mapped().store(1).flush(1).print('1').drain(), [`${lint} x1`]],
    [
      'drained by another thread',
      mapped().store(1).flush(1, 7).drain(8).print('1'),
      [`${lint} x1`, 'note redundant-drain . x1'],
    ],
    [
      'flushed before the store',
      mapped().store(1).flush(1).store(1).drain().print('1'),
      [`${lint} x1`],
    ],
    [
      'another line flushed',
      mapped().store(1).store(2).flush(2).drain().print('1'),
      [`${lint} x1`],
    ],
    ['a wide flush', mapped().store(1).store(9).flush(0, 7, 64).drain().print('1'), []],
    ['two lines', mapped().store(1).store(2).print('1').print('2'), [`${lint} x2`]],
    ['lines of two pages', mapped().store(1).store(65).print('1'), [`${lint} x1`, `${lint} x1`]],
    ['msync', mapped().store(1).msync().print('1'), []],
    ['msync before the store', mapped().store(1).msync().store(1).print('1'), [`${lint} x1`]],
    ['nothing printed', mapped().store(1).end(), []],
    ['a mark', mapped().store(1).mark(), []],
    ['written over, and forced', mapped().store(1).overwrite(1).force(FILE).print('1'), []],
    ['its pages were freed', mapped().store(1).free().print('1'), []],
    ['libpmemobj’s own', mapped().store(0, 'PMEMOBJ').msync().store(104).print('1'), []],
    ['below that', mapped().store(0, 'PMEMOBJ').msync().store(103).print('1'), [`${lint} x1`]],
    ['of no pool', mapped().store(0).msync().store(104).print('1'), [`${lint} x1`]],
    ['its file has no name', mapped().store(1).unlink('file').force(1, 'fsyncdir').print('1'), []],
  ]);
  const [bare] = findings(t, mapped().store(1).print('one'));
  t.equal(
    bare?.text,
    "'one' was printed before store to a mapping of file (offset 64, 64 bytes, line 1) was " +
      'durable: flush and drain it first (pmem_persist), or msync',
  );
  const [flushed] = findings(t, mapped().store(1).flush(1).print('one'));
  t.match(flushed?.text, /: it was flushed, and the thread that did it has to drain first$/);
});

t.test('flushes and drains with nothing to do are found', async (t) => {
  const flush = 'note redundant-flush file x1';
  const drain = 'note redundant-drain . x1';
  const mapped = () => steps().mmap();
  table(t, [
    ['flushed twice', mapped().store(1).flush(1).flush(1).drain(), [flush]],
    ['durable already', mapped().store(1).flush(1).drain().flush(1).drain(), [flush]],
    ['stored again', mapped().store(1).flush(1).drain().store(1).flush(1).drain(), []],
    ['one line of several', mapped().store(3).flush(0, 7, 8).drain(), []],
    ['drained twice', mapped().store(1).flush(1).drain().drain(), [drain]],
    ['another thread flushed', mapped().store(1).flush(1, 7).drain(8).drain(7), [drain]],
    ['msync of nothing', mapped().msync(), []],
    ['fsync after a store', mapped().store(1).flush(1).drain().force(FILE), []],
    ['fsync twice', mapped().store(1).force(FILE).force(FILE), ['note redundant-sync file x1']],
  ]);
});

t.test('what is repeated is one finding with its worst severity', async (t) => {
  const made = steps().write(FILE).write(1).force(1).print('a').write(FILE, 64).print('b');
  const [found] = findings(t, made);
  t.match(found, { severity: 'error', count: 2, text: /^'b' was printed/ });
});

t.test('the right order of a save is silent', async (t) => {
  const made = steps();
  for (let round = 0; round < 3; round++) {
    made
      .create('tmp', TMP + round)
      .write(TMP + round)
      .force(TMP + round);
    made
      .rename('tmp', 'file', TMP + round, 'replace-name')
      .force(1, 'fsyncdir')
      .print(`${round}`);
  }
  t.same(short(t, made.end()), []);
});

t.test('unforced ranges are what a plain array of bytes says', async (t) => {
  const ranges = new UnforcedRanges();
  const bytes = new Array<number>(64).fill(Number.POSITIVE_INFINITY);
  let state = 7;
  const next = (below: number): number => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  for (let epoch = 1; epoch < 2000; epoch += next(2)) {
    const from = next(60);
    const to = from + 1 + next(4);
    if (next(200) === 0) {
      ranges.clear();
      bytes.fill(Number.POSITIVE_INFINITY);
    }
    const expected = bytes.slice(from, to).some((stored) => stored < epoch);
    const found = ranges.findOlder(from, to, epoch);
    if ((found !== undefined) !== expected) t.fail(`epoch ${epoch}, [${from}, ${to})`);
    ranges.add({ from, to, epoch, position: epoch });
    bytes.fill(epoch, from, to);
  }
  t.pass('all agree');
});
