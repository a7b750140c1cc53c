import { join } from 'node:path';
import tap from 'tap';
import type { CrashState } from '../../lib/crash/state/state.js';
import { applyRecord } from '../../lib/metadata/records.js';
import { openState } from '../../lib/crash/state/open_state.js';
import type { TraceEvent } from '../../lib/trace/event.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { makeDir, makeRunner, needsMount, runOn, stateAfter } from './states.js';

const eventsOf = async (
  ...args: Parameters<typeof runOn>
): Promise<{ events: TraceEvent[]; base: unknown }> => {
  const [t, state, check, options] = args;
  const { trace } = await runOn(t, state, check, { ...options, recorded: true });
  return { events: [...(trace?.events() ?? [])], base: trace?.base };
};

tap.test('a run that is not to be recorded has no trace', needsMount, async (t) => {
  const { trace } = await runOn(t, await stateAfter(t, ':'), 'echo x > f');
  t.equal(trace, undefined);
});

tap.test(
  'a recorded run tells its calls, what they did, and in which order',
  needsMount,
  async (t) => {
    const state = await stateAfter(t, 'echo old > file');
    const script =
      'import os; f = os.open("new", os.O_CREAT | os.O_WRONLY); os.write(f, b"bytes");';
    const check = `python3 -c '${script} os.fsync(f); os.rename("new", "file")'`;
    const { events, base } = await eventsOf(t, state, check);
    t.equal(base, state);
    const calls = events.filter((event) => event.type === 'call');
    const names = calls.map((call) => call.operation).filter((name) => name !== 'RELEASE');
    t.same(names, ['CREATE', 'WRITE', 'FSYNC', 'RENAME']);
    t.match(
      calls.find(({ operation }) => operation === 'CREATE'),
      { name: 'new', ino: 1 },
    );
    t.match(
      calls.find(({ operation }) => operation === 'WRITE'),
      { offset: 0, lengthBytes: 5 },
    );
    const rename = { name: 'new', name2: 'file', ino: 1, ino2: 1 };
    t.match(
      calls.find(({ operation }) => operation === 'RENAME'),
      rename,
    );
    const at = (type: string): number => events.findIndex((event) => event.type === type);
    t.ok(at('store') < at('fence') && at('fence') < at('commit') && at('commit') < at('force'));
    const store = events.find((event) => event.type === 'store');
    const write = calls.find(({ operation }) => operation === 'WRITE');
    t.equal(store?.callId, write?.callId);
    t.match(events.at(-1), { type: 'workload-end' });
    for (const call of calls) {
      const answers = events.filter(({ type, ...event }) => {
        return type === 'return' && 'callId' in event && event.callId === call.callId;
      });
      t.equal(answers.length, 1, call.operation);
    }
  },
);

tap.test('a failed call is there with its error', needsMount, async (t) => {
  const state = await stateAfter(t, 'mkdir d; touch d/f');
  const { events } = await eventsOf(t, state, `python3 -c 'import os; os.rmdir("d")'; true`);
  const call = events.find((event) => event.type === 'call' && event.operation === 'RMDIR');
  t.match(call, { name: 'd' });
  const callId = call !== undefined && 'callId' in call ? call.callId : -1;
  t.match(
    events.find((event) => event.type === 'return' && event.callId === callId),
    { error: 39 },
  );
});

/** Does what a trace says to its base, all of it. */
function replay(t: Parameters<typeof stateAfter>[0], base: CrashState, events: TraceEvent[]) {
  const open = openState(base);
  t.teardown(() => open.close());
  for (const event of events) {
    if (event.type === 'store') open.region.store(event.offset, event.bytes);
    else if (event.type === 'metadata') applyRecord(open.image.metadata, event.record);
    else if (event.type === 'commit') open.image.metadata.commit();
  }
  open.image.metadata.commit();
  const { db } = open.image.metadata;
  const page = (at: number): Uint8Array => {
    const bytes = Buffer.alloc(PAGE_BYTES);
    open.region.read(at * PAGE_BYTES, bytes);
    return bytes;
  };
  const database = db.serialize();
  return { ...base, database, page };
}

tap.test(
  'the trace of a run makes the state that the run left',
  { ...needsMount, timeout: 60_000 },
  async (t) => {
    const state = await stateAfter(t, 'mkdir a; seq 3000 > a/numbers; echo x > y; touch log');
    const change = [
      'test -e changed && { find . | sort; md5sum a/* b/* log; exit; }',
      'mv a/numbers a/moved; mkdir b; seq 100 > b/c; ln b/c b/d; rm y; truncate -s 9000 a/moved',
      'for i in 1 2 3; do echo $i >> log; done; cp log a/numbers; sync log; touch changed',
      'python3 -c "import mmap,os; m=mmap.mmap(os.open(\\"log\\",2),6); m[0:1]=b\\"Z\\""',
      'find . | sort; md5sum a/* b/* log',
    ].join('\n');
    const { trace, outcomes } = await runOn(t, state, change, { recorded: true });
    t.match(outcomes, [{ exitStatus: 0, stderr: '' }]);
    const after = replay(t, state, [...(trace?.events() ?? [])]);
    const again = await runOn(t, after, change);
    t.equal(again.outcomes[0]?.stdout, outcomes[0]?.stdout);
  },
);

tap.test('lines that a check read are told, and only those', needsMount, async (t) => {
  // Two files of many pages: what the kernel reads ahead of a small read stays in its file.
  const state = await stateAfter(t, 'head -c 400000 /dev/urandom > a; cp a b; echo tail >> b');
  const pages = async (check: string): Promise<number> => {
    const { readLines, outcomes } = await runOn(t, state, check);
    t.match(outcomes, [{ exitStatus: 0 }]);
    t.same(
      [...readLines],
      [...new Set(readLines)].sort((x, y) => x - y),
    );
    return new Set([...readLines].map((line) => Math.floor(line / 64))).size;
  };
  t.equal(await pages('true'), 0);
  t.equal(await pages('ls -la > /dev/null; stat a b > /dev/null'), 0);
  t.equal(await pages('cat a > /dev/null'), Math.ceil(400000 / 4096));
  const one = await pages('dd if=a bs=100 count=1 skip=2000 status=none > /dev/null');
  t.ok(one >= 1 && one < 40, `${one} pages`);
  t.equal(await pages('head -c 4096 /dev/zero > a'), 0, 'overwriting is not reading');
});

tap.test('a runner may record one run and not the next', needsMount, async (t) => {
  const dir = join(makeDir(t), 'dir');
  const state = await stateAfter(t, ':');
  const runner = makeRunner(t, 'echo x > f', { dir });
  const first = await runner.run({ state, acknowledged: [], recorded: true });
  const second = await runner.run({ state, acknowledged: [] });
  t.ok(first.trace !== undefined && second.trace === undefined);
});
