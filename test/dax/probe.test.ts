// What mappings do under `fauxdax run`, as a table beside what they do on a real DAX filesystem; the
// probe itself is C (test/dax/probe).
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';

const GROUPS = ['mapping', 'space', 'change', 'life', 'sync', 'crash'];
const NO_DIRECT_MAPPINGS = 3;
const runner = join(import.meta.dirname, 'probe', 'run.sh');

for (const group of GROUPS) {
  t.test(`${group}: everything is as with DAX on xfs`, async (t) => {
    const done = spawnSync(runner, ['--only', group], { encoding: 'utf8', timeout: 170_000 });
    if (done.status === NO_DIRECT_MAPPINGS) {
      t.pass('programs can be run so', { skip: done.stderr.trim() });
      return;
    }
    const rows = done.stdout.split('\n').filter((line) => / \| (yes|NO)$/.test(line));
    t.ok(rows.length > 0, `rows: ${done.stdout}${done.stderr}`);
    for (const row of rows) t.match(row, /\| yes$/, row.replace(/ +/g, ' '));
    t.equal(done.status, 0, done.stderr);
  });
}
