import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import tap from 'tap';
import { makeRunner, needsMount, runOn, stateAfter } from './states.js';

/** Processes whose command line holds `text`; dead ones that nobody waited for have none. */
function running(text: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(text);
    } catch {
      return false;
    }
  });
}

tap.test('daemons that a check leaves are gone when it has ended', needsMount, async (t) => {
  const state = await stateAfter(t, ':');
  const mark = 'sleep\u0000411.';
  const check = '(setsid sleep 411.1 &) ; nohup sleep 411.2 >/dev/null 2>&1 & sleep 0.1; exit 0';
  const { outcomes } = await runOn(t, state, check);
  t.match(outcomes, [{ exitStatus: 0, timedOut: false }]);
  t.same(running(mark), []);
});

tap.test('a check that hangs is killed with all its processes', needsMount, async (t) => {
  const state = await stateAfter(t, ':');
  const check = 'trap "" TERM INT HUP; echo begun; sleep 412.1 & sleep 412.2';
  const { outcomes } = await runOn(t, state, check, { timeoutMs: 500 });
  t.match(outcomes, [{ exitStatus: null, signal: 'SIGKILL', timedOut: true, stdout: 'begun\n' }]);
  t.same(running('sleep\u0000412.'), []);
});

tap.test(
  'a signal that ends a check is told from a status and from a timeout',
  needsMount,
  async (t) => {
    const state = await stateAfter(t, ':');
    const { outcomes } = await runOn(t, state, 'kill -SEGV $$');
    t.match(outcomes, [{ exitStatus: null, signal: 'SIGSEGV', timedOut: false }]);
  },
);

tap.test('output beyond 64 KiB is cut, and the check is not held up', needsMount, async (t) => {
  const state = await stateAfter(t, ':');
  const { outcomes } = await runOn(t, state, 'seq 100000; seq 100000 >&2; exit 3');
  const [outcome] = outcomes;
  t.equal(outcome?.exitStatus, 3);
  t.equal(outcome?.stdout.length, 64 << 10);
  t.equal(outcome?.stderr.length, 64 << 10);
});

/** Each does what it can; the state beside it and the next run must not notice. */
const HOSTILE: Record<string, string> = {
  'removes everything': 'rm -rf ./* "$FAUXDAX_DIR"; echo done',
  'takes all permissions': 'chmod 000 . file; chown 1:1 .; echo done',
  unmounts: 'cd /; umount -f "$FAUXDAX_DIR"; umount -l "$FAUXDAX_DIR"; umount -a; echo done',
  'mounts over its directory': 'mount -t tmpfs x "$FAUXDAX_DIR"; mount --move . /mnt; echo done',
  'signals everybody': 'kill -STOP -1; kill -TERM -1; echo done',
  'kills what it sees as its parents': 'kill -9 1 $PPID; echo done',
  'guesses the places of other states':
    'cd "$(dirname "$FAUXDAX_ACKED")"/states; for n in 1 2 3 4; do rm -rf $n/*; done; echo done',
  'truncates what it was told': ': > "$FAUXDAX_ACKED"; rm "$FAUXDAX_ACKED"; echo done',
  'opens every descriptor it finds':
    'for f in /proc/self/fd/* /proc/1/fd/*; do : < $f; done; echo done',
};

for (const [what, hostile] of Object.entries(HOSTILE)) {
  tap.test(`a check that ${what} hurts only its own state`, needsMount, async (t) => {
    const state = await stateAfter(t, 'echo content > file');
    const control = await stateAfter(t, 'echo content > file; touch calm');
    const check = `test -e calm || { ${hostile}; exit; }; sleep 0.2; cat file "$FAUXDAX_ACKED"`;
    const runner = makeRunner(t, check, { timeoutMs: 10_000 });
    const acknowledged = ['acknowledged'];
    const runs = [control, state].map((one) => runner.run({ state: one, acknowledged }));
    const [beside, first] = await Promise.all(runs);
    const after = await runner.run({ state: control, acknowledged });
    t.match(first?.outcomes, [{ timedOut: false }]);
    const calm = [{ exitStatus: 0, stdout: 'content\nacknowledged\n' }];
    t.match(beside?.outcomes, calm);
    t.match(after.outcomes, calm);
  });
}

tap.test('shared memory of a check is not there for the next', needsMount, async (t) => {
  const state = await stateAfter(t, ':');
  const check =
    'ipcs -m | grep 0x; ipcmk -M 4096 && ipcmk -S 1 && ipcmk -Q && ipcs -m | grep -c 0x';
  const runner = makeRunner(t, check, { jobs: 1 });
  for (let count = 0; count < 2; count++) {
    const { outcomes } = await runner.run({ state, acknowledged: [] });
    t.match(outcomes, [{ exitStatus: 0, stdout: /^Shared memory id: .*\n1\n$/s }]);
  }
});

tap.test(
  'a fork bomb ends with the time of its check',
  { ...needsMount, timeout: 60_000 },
  async (t) => {
    const state = await stateAfter(t, ':');
    // Bounded by itself too, for the sake of whoever breaks what is tested here.
    const check =
      'bomb() { [ $1 -gt 0 ] || sleep 413.5; bomb $(($1-1)) & bomb $(($1-1)); }; bomb 9';
    const { outcomes } = await runOn(t, state, check, { timeoutMs: 2000 });
    t.match(outcomes, [{ timedOut: true }]);
    t.same(running('sleep\u0000413.'), []);
  },
);

/** Before 6.14 the kernel has no limit of processes that holds for root in a namespace. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const limitsRoot = major > 6 || (major === 6 && minor >= 14);

tap.test(
  'a check that starts processes without end meets a limit of its own',
  limitsRoot ? { ...needsMount, timeout: 60_000 } : { skip: 'needs Linux 6.14' },
  async (t) => {
    const before = readFileSync('/proc/sys/kernel/pid_max', 'utf8');
    const state = await stateAfter(t, ':');
    const check = 'i=0; while [ $i -lt 3000 ]; do sleep 418.5 & i=$((i+1)); done; echo unlimited';
    const { outcomes } = await runOn(t, state, check);
    t.match(outcomes, [{ timedOut: false, stderr: /fork/i }]);
    t.notMatch(outcomes[0]?.stdout, 'unlimited');
    t.same(running('sleep\u0000418.'), []);
    t.equal(readFileSync('/proc/sys/kernel/pid_max', 'utf8'), before);
  },
);
