import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import tap from 'tap';
import { makeDir, makeRunner, needsMount, runOn, stateAfter } from './states.js';

const SLOW = 60_000;

tap.test('two states at once show their own contents at the same path', needsMount, async (t) => {
  const one = await stateAfter(t, 'echo one > file; mkdir only-one');
  const two = await stateAfter(t, 'echo two > file');
  const runner = makeRunner(t, 'sleep 0.2; pwd; ls; cat file');
  const observations = await Promise.all(
    [one, two].map((state) => runner.run({ state, acknowledged: [] })),
  );
  const printed = observations.map(({ outcomes }) => outcomes[0]?.stdout.split('\n'));
  t.match(printed[0]?.slice(1), ['file', 'only-one', 'one']);
  t.match(printed[1]?.slice(1), ['file', 'two']);
  t.equal(printed[0]?.[0], printed[1]?.[0]);
});

tap.test('a state is run any number of times and is the same each time', needsMount, async (t) => {
  const state = await stateAfter(t, 'echo first > file');
  const runner = makeRunner(t, 'cat file; echo changed > file; echo new > other; cat file');
  for (let round = 0; round < 3; round += 1) {
    const { outcomes } = await runner.run({ state, acknowledged: [] });
    t.equal(outcomes[0]?.stdout, 'first\nchanged\n');
  }
});

tap.test('paths stored in files, links and names lead into the state', needsMount, async (t) => {
  const dir = join(makeDir(t), 'dir');
  const state = await stateAfter(
    t,
    `echo ${dir}/data > path; ln -s ${dir}/data link; echo x > data`,
  );
  const check = 'cat "$(cat path)" link "$FAUXDAX_DIR/data" && mv data moved && ! cat link';
  const { outcomes } = await runOn(t, state, check, { dir });
  t.match(outcomes, [{ exitStatus: 0, stdout: 'x\nx\nx\n' }]);
});

tap.test(
  'ordinary file operations work in a state',
  { ...needsMount, timeout: SLOW },
  async (t) => {
    const state = await stateAfter(t, 'mkdir -p a/b/c; seq 5000 > a/b/c/numbers');
    const check = [
      'set -e; test "$(find . -type f | wc -l)" = 1',
      'ln a/b/c/numbers hard; test "$(stat -c %h hard)" = 2; mv hard a/hard',
      'cp a/hard copy; cmp copy a/b/c/numbers; truncate -s 10 copy; test "$(wc -c < copy)" = 10',
      'rm -r a; test ! -e a; mkdir d; for i in $(seq 300); do : > d/$i; done',
      'test "$(ls d | wc -l)" = 300; ls -l d | wc -l; fallocate -l 8192 d/1; sync copy; df . > /dev/null',
    ].join('\n');
    const { outcomes } = await runOn(t, state, check);
    t.match(outcomes, [{ exitStatus: 0, stderr: '' }]);
  },
);

tap.test(
  'a command is told its directory, phase and the acknowledged lines',
  needsMount,
  async (t) => {
    const state = await stateAfter(t, ':');
    const check =
      'cat "$FAUXDAX_ACKED"; echo "$FAUXDAX_PHASE $FAUXDAX_STATE"; test "$FAUXDAX_DIR" = "$PWD"';
    const { outcomes } = await runOn(t, state, check, { acknowledged: ['one', 'two words'] });
    t.match(outcomes, [{ exitStatus: 0, stdout: 'one\ntwo words\ncheck dax:0\n' }]);
  },
);

tap.test(
  'after a check that passed the workload goes on and the check runs again',
  needsMount,
  async (t) => {
    const state = await stateAfter(t, 'echo 1 > count');
    const check = 'echo "$FAUXDAX_PHASE: $(cat count)"; test "$(cat count)" -lt 3';
    const again = await runOn(t, state, check, { continue: 'echo 2 > count; echo more' });
    t.match(again.outcomes, [
      { phase: 'check', exitStatus: 0, stdout: 'check: 1\n' },
      { phase: 'continue', exitStatus: 0, stdout: 'more\n' },
      { phase: 'check-again', exitStatus: 0, stdout: 'check-again: 2\n' },
    ]);
    const broken = await runOn(t, state, check, { continue: 'echo 3 > count' });
    t.match(broken.outcomes, [{ exitStatus: 0 }, { exitStatus: 0 }, { exitStatus: 1 }]);
    const failed = await runOn(t, state, check, { continue: 'exit 4' });
    t.match(failed.outcomes, [{ exitStatus: 0 }, { phase: 'continue', exitStatus: 4 }]);
    t.equal(failed.outcomes.length, 2);
    const never = await runOn(t, state, 'exit 1', { continue: 'true' });
    t.equal(never.outcomes.length, 1);
  },
);

tap.test('what a mapping stored is there for the check that runs again', needsMount, async (t) => {
  const state = await stateAfter(t, 'head -c 8192 /dev/zero > mapped');
  const store = [
    'import mmap, os',
    'fd = os.open("mapped", os.O_RDWR)',
    'm = mmap.mmap(fd, 8192)',
    'm[5000:5005] = b"hello"',
    'os._exit(0)',
  ].join('\n');
  const check = 'grep -c hello mapped; true';
  const { outcomes } = await runOn(t, state, check, { continue: `python3 -c '${store}'` });
  t.match(outcomes, [{ stdout: '0\n' }, { exitStatus: 0, stderr: '' }, { stdout: '1\n' }]);
});

tap.test(
  'files that are deleted while open are gone when the check runs again',
  needsMount,
  async (t) => {
    const state = await stateAfter(t, 'echo x > file');
    const check = 'exec 3< file; rm -f file; cat <&3; ls; sleep 0.1';
    const go = 'echo y > file';
    const { outcomes } = await runOn(t, state, check, { continue: go });
    t.match(outcomes, [{ stdout: 'x\n' }, { exitStatus: 0 }, { stdout: 'y\n' }]);
  },
);

tap.test(
  'thousands of states leave nothing in the tool',
  { ...needsMount, timeout: 150_000 },
  async (t) => {
    const state = await stateAfter(t, 'mkdir d; for i in 1 2 3 4 5; do seq 1000 > d/$i; done');
    const runner = makeRunner(t, 'cat d/* > /dev/null');
    const round = async (count: number): Promise<void> => {
      const lane = async (): Promise<void> => {
        for (let run = 0; run < count / 2; run += 1) await runner.run({ state, acknowledged: [] });
      };
      await Promise.all([lane(), lane()]);
    };
    await round(200);
    const before = usage();
    await round(600);
    const after = usage();
    t.equal(after.descriptors, before.descriptors);
    t.ok(after.rssBytes < before.rssBytes + (64 << 20), `${before.rssBytes} to ${after.rssBytes}`);
  },
);

function usage(): { descriptors: number; rssBytes: number } {
  globalThis.gc?.();
  return { descriptors: readdirSync('/proc/self/fd').length, rssBytes: process.memoryUsage.rss() };
}

tap.test(
  'a closed runner leaves no mount and no directory entry of its own',
  needsMount,
  async (t) => {
    const state = await stateAfter(t, ':');
    const runDir = join(makeDir(t), 'run');
    const runner = makeRunner(t, 'true', { runDir });
    await runner.run({ state, acknowledged: ['x'] });
    await runner.close();
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), runDir);
    t.notOk(existsSync(join(runDir, 'acked-0')) || existsSync(join(runDir, 'acked-1')));
    await t.rejects(runner.run({ state, acknowledged: [] }), { message: 'the runner was closed' });
  },
);
