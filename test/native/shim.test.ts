/** The shim of native/shim.h, preloaded into a C program, with the native fault server. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { builtFolder } from '../../lib/native.js';
import { scratchFolder } from './scratch.js';
import { TinyFaults } from './tiny_faults.js';
import { TinyMount } from './tiny_mount.js';

const COMPILER = process.env['CC'] ?? 'cc';
const FOLDER = import.meta.dirname;
const NAMES = ['program', 'cases_map', 'cases_change', 'cases_private', 'cases_threads'];
const OPEN_DIRECT_IO = 1;
const GROUPS = ['map', 'errors', 'change', 'remap', 'private', 'fork', 'threads', 'kernel'];

// A region whose pages can be write-protected lies on shared memory.
process.env['TMPDIR'] = '/dev/shm';

function compile(test: Test): string {
  const program = join(scratchFolder(test), 'shim_program');
  const sources = NAMES.map((name) => join(FOLDER, `shim_${name}.c`));
  const flags = '-std=gnu17 -O1 -g -Wall -Wextra -Werror -pthread'.split(' ');
  const made = spawnSync(COMPILER, [...flags, ...sources, '-o', program]);
  test.equal(made.status, 0, `${made.stderr}`);
  return program;
}

t.test('programs under the shim', async (t) => {
  const program = compile(t);
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  mount.openFlags = OPEN_DIRECT_IO;
  const faults = new TinyFaults(mount);
  t.teardown(() => faults.close());
  const library = join(builtFolder(), 'shim.so');
  const other = join(mount.imageDir, 'other');
  for (const group of GROUPS) {
    await t.test(group, async (t) => {
      faults.forget();
      writeFileSync(other, Buffer.alloc(16 * 4096, 'o'));
      const { status, stdout, stderr } = await mount.command('env', [
        `LD_PRELOAD=${library}`,
        `FAUXDAX_SOCKET=${faults.socketPath}`,
        `FAUXDAX_DEVICE=${await deviceOf(mount)}`,
        'FAUXDAX_FLAGS=2',
        program,
        group,
        mount.path,
        other,
      ]);
      for (const line of stdout.split('\n')) {
        const [, outcome, name] = /^(ok|not ok) (.*)$/.exec(line) ?? [];
        if (name !== undefined) t.equal(outcome, 'ok', name);
      }
      t.match(stdout, /^end$/m, `it came to its end: ${stdout}`);
      t.equal(status, 0);
      t.equal(stderr, '');
      t.ok(faults.countOf('fault') > 0, 'faults were told');
    });
  }
});

async function deviceOf(mount: TinyMount): Promise<string> {
  const { stdout } = await mount.client('process.stdout.write(String(fs.statSync(dir).dev))');
  return stdout;
}
