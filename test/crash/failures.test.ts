/** Results as they are used: replayed, joined, refused, and what a check that cannot decide gives. */
import { join } from 'node:path';
import t from 'tap';
import { BrokenCheckError, explore, stateOf } from '../../lib/crash/explorer.js';
import { MergeError, mergeResults } from '../../lib/crash/result/merge.js';
import { judgeOutcomes } from '../../lib/crash/search/oracles.js';
import { points } from '../../lib/crash/state/points.js';
import type { Result } from '../../lib/crash/result/result.js';
import { Random } from '../../lib/random.js';
import { TraceReader } from '../../lib/trace/reader.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { writeTrace } from '../../lib/trace/writer.js';
import { type Check, FunctionRunner, OPTIONS, type Program, traceOf } from './tiny_programs.js';

const setup = (p: Program): void => {
  p.create('conf');
  p.write('conf', 0, 'a'.repeat(300));
  p.fsync('conf');
};
const overwrite = (p: Program): void => {
  p.write('conf', 0, 'b'.repeat(300));
  p.fsync('conf');
  p.print('saved');
  p.write('conf', 0, 'c'.repeat(300));
  p.fsync('conf');
};
const isWhole: Check = (files) => {
  const text = files.read('conf');
  if (new Set(text).size > 1) throw new Error(`torn: ${text}`);
  return text.slice(0, 1);
};

t.test('a failure names the image that its choice makes', async (t) => {
  const source = traceOf(overwrite, setup);
  const result = await explore(source, new FunctionRunner(isWhole), OPTIONS);
  const { choice, imageHash, id } = result.failures[0]!;
  t.equal(stateOf(source, choice).imageHash(), imageHash);
  t.match(id, /^[a-z2-7]{10}$/);
  const again = await explore(source, new FunctionRunner(isWhole), OPTIONS);
  t.equal(again.failures[0]?.id, id);
  t.same({ ...again, durationMs: 0, models: [] }, { ...result, durationMs: 0, models: [] });
});

t.test('random choices give the same images by stateOf as at their points', async (t) => {
  const source = traceOf(overwrite, setup);
  const random = new Random(7);
  let compared = 0;
  for (const model of ['dax', 'sector', 'posix', 'eadr'] as const) {
    for (const point of points(source, model)) {
      for (let draw = 0; draw < 6; draw++) {
        const listed = [...point.metadataChoices()];
        const { lostOperations } = listed[random.below(listed.length)]!;
        const { units, order } = point.data({ lostOperations });
        const lines = units.map(({ line, valueCount }): [number, number] => [
          line,
          order === 'prefix' ? 0 : random.below(valueCount),
        ]);
        const { position } = point;
        const choice = { model, position, lostOperations, otherLines: 'newest' as const, lines };
        const state = point.state(choice);
        if (stateOf(source, choice).imageHash() !== state.imageHash())
          t.fail(JSON.stringify(choice));
        state.release();
        compared++;
      }
    }
  }
  t.ok(compared >= 50, `${compared} choices`);
});

t.test('a check that fails where nothing was lost is refused with its output', async (t) => {
  const check: Check = () => {
    throw new Error('no such file: confg');
  };
  const broken = explore(traceOf(overwrite, setup), new FunctionRunner(check), OPTIONS);
  await t.rejects(broken, { name: BrokenCheckError.prototype.name, message: /confg/ });
});

t.test('a check that fails on the empty start is refused', async (t) => {
  const check: Check = (files) => void files.read('conf');
  const broken = explore(traceOf(setup), new FunctionRunner(check), OPTIONS);
  await t.rejects(broken, BrokenCheckError);
  await t.rejects(broken, /empty start/);
});

t.test('a check that decides by chance is reported as such', async (t) => {
  let calls = 0;
  const check: Check = (files) => {
    const text = files.read('conf');
    if (new Set(text).size > 1 && calls++ % 2 === 0) throw new Error('torn, sometimes');
  };
  const result = await explore(traceOf(overwrite, setup), new FunctionRunner(check), OPTIONS);
  const [failure] = result.failures;
  t.match(failure?.explanation.text, /different answers on one and the same image/);
  t.equal(failure?.explanation.verified, null);
});

t.test('an output that is neither before nor after is not atomic', async (t) => {
  const rewrite = (p: Program): void => {
    p.write('conf', 0, 'b'.repeat(300));
    p.fsync('conf');
    p.print('saved');
  };
  const check: Check = (files) => [...new Set(files.read('conf'))].join('');
  const options = { ...OPTIONS, expect: ['atomic' as const] };
  const result = await explore(traceOf(rewrite, setup), new FunctionRunner(check), options);
  t.equal(result.failures[0]?.oracle, 'atomic');
  t.match(result.failures[0]?.summary, /prints '(ab|ba)', neither 'a' nor 'b'/);
});

t.test('two outputs after a completed sync are one too many', async (t) => {
  const partly = (p: Program): void => {
    p.create('other');
    p.write('other', 0, 'x');
    p.fsync('conf');
    p.print('synced');
  };
  const check: Check = (files) => files.names().sort().join();
  const options = { ...OPTIONS, models: ['posix' as const], expect: ['synced' as const] };
  const result = await explore(traceOf(partly, setup), new FunctionRunner(check), options);
  t.equal(result.failures[0]?.oracle, 'synced');
  t.match(result.failures[0]?.summary, /prints 'conf' instead of 'conf,other'/);
});

t.test('a recovery that is not idempotent fails at the second crash only', async (t) => {
  // The log is applied by moving its bytes; what was moved is marked in the same file.
  const work = (p: Program): void => {
    p.write('conf', 0, 'b'.repeat(64));
    p.fsync('conf');
  };
  const start = (p: Program): void => {
    p.create('conf');
    p.write('conf', 0, `${'a'.repeat(64)}${'0'.repeat(64)}`);
    p.fsync('conf');
  };
  const check: Check = (files) => {
    const text = files.read('conf');
    const [kind, mark] = [text[0]!, text[64]!];
    if (mark === '1' && kind === 'b') throw new Error('the mark is there, the change is not');
    if (kind !== 'b') return;
    // Mark and change go unordered.
    files.overwrite('conf', 64, '1'.repeat(64));
    files.overwrite('conf', 0, 'c'.repeat(64));
    files.sync();
  };
  const source = traceOf(work, start);
  const flat = await explore(source, new FunctionRunner(check), OPTIONS);
  t.same(flat.failures, []);
  const kept = new Map<string, string>();
  const keepRecovery = (digest: string, trace: TraceSource): void => {
    kept.set(digest, join(t.testdir(), 'recovery'));
    writeTrace(kept.get(digest)!, trace);
  };
  const options = { ...OPTIONS, nestedDepth: 1, keepRecovery };
  const deep = await explore(source, new FunctionRunner(check), options);
  const [failure] = deep.failures;
  t.ok(failure?.choice.nested);
  t.match(failure?.explanation.text, /second time, during the check's recovery/);
  const reader = new TraceReader(kept.get(failure!.recovery!)!);
  t.equal(stateOf(reader, failure!.choice.nested!).imageHash(), failure?.imageHash);
  reader.close();
});

async function shards(count: number, change: Partial<typeof OPTIONS> = {}): Promise<Result[]> {
  const results: Result[] = [];
  for (let index = 0; index < count; index++) {
    const options = { ...OPTIONS, failuresMax: 9, ...change, shard: { index, count } };
    results.push(await explore(traceOf(overwrite, setup), new FunctionRunner(isWhole), options));
  }
  return results;
}

t.test('joined shards are the whole', async (t) => {
  const source = traceOf(overwrite, setup);
  const options = { ...OPTIONS, failuresMax: 9 };
  const whole = await explore(source, new FunctionRunner(isWhole), options);
  const merged = mergeResults((await shards(3)).reverse());
  t.equal(merged.end, whole.end);
  t.equal(merged.models[0]?.crashPoints, whole.models[0]?.crashPoints);
  t.equal(merged.models[0]?.states.allowed, whole.models[0]?.states.allowed);
  t.same(
    merged.failures.map(({ id }) => id),
    whole.failures.map(({ id }) => id),
  );
  const failed = (result: Result) =>
    result.timeline.entries.flatMap((entry) => (entry.kind === 'crash-point' ? entry.failed : []));
  t.same(failed(merged), failed(whole));
});

t.test('a failure is summed up by the last line that the check said', async (t) => {
  const outcome = { phase: 'check', exitStatus: 1, signal: null, timedOut: false } as const;
  const summary = (stdout: string, stderr: string) => {
    const said = { ...outcome, stdout, stderr, durationMs: 1 };
    return judgeOutcomes({ outcomes: [said], stale: [], readLines: new Float64Array() })?.summary;
  };
  t.match(summary('1\n2\nentry 2 is bad\n', ''), /status 1: entry 2 is bad$/);
  t.match(summary('1\n', 'Traceback:\n  line 7\nKeyError: 5\n\n'), /status 1: KeyError: 5$/);
  t.match(summary('', '\n'), /status 1$/);
});

t.test('results of different runs are not joined, missing shards are named', async (t) => {
  const [first, second] = (await shards(2)) as [Result, Result];
  const [, other] = (await shards(2, { seed: 2 })) as [Result, Result];
  t.throws(() => mergeResults([first, other]), MergeError);
  t.throws(() => mergeResults([first, { ...second, trace: 'x' }]), /another trace/);
  t.throws(() => mergeResults([first, first]), /shard 1 of 2 is there twice/);
  const partial = mergeResults([{ ...first, failures: [], models: [] }]);
  t.match(partial.endDetail, /shard 2 of 2 missing/);
});

t.test('a limit of states ends with what is left, the same each time', async (t) => {
  const options = { ...OPTIONS, statesMax: 5 };
  const passes: Check = () => undefined;
  const source = traceOf(overwrite, setup);
  const reads: Check = (files) => files.read('conf');
  const first = await explore(source, new FunctionRunner(reads, 3, () => 1), options);
  const again = await explore(
    source,
    new FunctionRunner(reads, 3, () => Math.random() * 9),
    options,
  );
  t.equal(first.end, 'limit-reached');
  t.match(first.endDetail, /limit of 5 states ended it; \d of \d crash points were not covered/);
  t.same(again.models[0]?.states, first.models[0]?.states);
  const unread = await explore(source, new FunctionRunner(passes), options);
  t.equal(unread.end, 'space-exhausted');
});

t.test('an interrupted exploration ends with what it has', async (t) => {
  const abort = new AbortController();
  let runs = 0;
  const check: Check = (files) => {
    if (++runs === 6) abort.abort();
    return files.read('conf');
  };
  const options = { ...OPTIONS, signal: abort.signal };
  const result = await explore(traceOf(overwrite, setup), new FunctionRunner(check), options);
  t.equal(result.end, 'limit-reached');
  t.match(result.endDetail, /interrupted/);
});
