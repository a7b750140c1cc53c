/**
 * The scenarios as real processes (`fauxdax race --live`): each comes to the lab's verdict, with its bug and
 * without, and an interrupted run leaves nothing behind.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { SCENARIOS } from '../../lib/race/scenarios.js';
import { cannotMap } from '../dax/place.js';

const CLI = fileURLToPath(new URL('../../dist/tools/fauxdax.js', import.meta.url));
const skip = { skip: cannotMap };
const OUTPUT_BYTES_MAX = 1 << 26;

function live(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const words = [CLI, 'race', '--live', ...args];
  return spawnSync(process.execPath, words, { encoding: 'utf8', maxBuffer: OUTPUT_BYTES_MAX });
}

interface Row {
  scenario: string;
  bug: string | null;
  live: 'found' | 'absent';
  isRight: boolean;
  broke: { invariant: string; message: string } | null;
}

t.test('every scenario has the verdict of the lab', skip, async (t) => {
  const { status, stdout, stderr } = live('--rounds', '20', '--json');
  t.equal(stderr, '');
  const rows = JSON.parse(stdout) as Row[];
  const wished = SCENARIOS.flatMap(({ name, bug }) => {
    return [...(bug === undefined ? [] : [`${name} ${bug}`]), `${name} null`];
  });
  t.same(
    rows.map(({ scenario, bug }) => `${scenario} ${bug}`),
    wished,
  );
  for (const { scenario, bug, live, isRight, broke } of rows) {
    const what = `${scenario}, ${bug ?? 'no bug'}: ${live} ${broke?.message ?? ''}`;
    t.ok(isRight, what);
    t.equal(live, bug === null ? 'absent' : 'found', what);
  }
  t.equal(status, 0);
});

t.test('a round that shows a bug is printed with what each process saw', skip, async (t) => {
  const bug = 'hole-fault-race';
  const { status, stdout } = live(bug, '--bug', bug);
  t.equal(status, 0, 'it had to be found');
  t.match(stdout, /hole-fault-race with hole-fault-race: round \d+, seed \d+; times in ms/);
  t.match(stdout, /store b\[0\] = 1\n +\d+\.\d\d to \d+\.\d\d: done/);
  t.match(stdout, /load: a load of a\[0\] saw 0; what is there is 1/);
});

t.test('what cannot be run is refused', skip, async (t) => {
  const unknown = live('no-such-scenario');
  t.equal(unknown.status, 2);
  t.match(unknown.stderr, /unknown scenario 'no-such-scenario'/);
  const bug = live('hole-fault-race', '--bug', 'nonsense');
  t.equal(bug.status, 2);
  t.match(bug.stderr, /unknown bug switch 'nonsense'/);
});

t.test('^C ends it, and nothing is left', skip, async (t) => {
  const own = mkdtempSync('/dev/shm/fauxdax-test-');
  t.teardown(() => rmSync(own, { recursive: true, force: true }));
  const words = [CLI, 'race', '--live', 'two-syncs', '--rounds', '5000'];
  const child = spawn(process.execPath, words, {
    env: { ...process.env, TMPDIR: own },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const isMounted = (): boolean =>
    readdirSync(own, { recursive: true }).some((path) => String(path).endsWith('/image/dax'));
  while (!isMounted()) await sleep(10);
  child.kill('SIGINT');
  const status = await new Promise((resolve) => child.once('exit', resolve));
  t.equal(status, 130);
  t.same(readdirSync(own), []);
  const processes = spawnSync('pgrep', ['-f', own], { encoding: 'utf8' });
  t.equal(processes.stdout, '');
});
