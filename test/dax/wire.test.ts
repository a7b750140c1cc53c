/** fs/dax/wire.ts says what native/wire.h says. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import * as wire from '../../fs/dax/wire.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMPILER = process.env['CC'] ?? 'cc';

t.test('each number and name is that of the header', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fauxdax-wire-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, 'wire');
  const lines = Object.entries(wire).map(([name, value]) =>
    typeof value === 'string'
      ? `printf("${name} %s\\n", ${name});`
      : `printf("${name} %llu\\n", (unsigned long long)${name});`,
  );
  const source = `#include <stdio.h>\n#include "wire.h"\nint main(void) { ${lines.join(' ')} }`;
  const made = spawnSync(COMPILER, ['-I', 'native', '-x', 'c', '-', '-o', program], {
    cwd: ROOT,
    input: source,
    encoding: 'utf8',
  });
  t.equal(made.status, 0, made.stderr);
  const { stdout } = spawnSync(program, { encoding: 'utf8' });
  const said = Object.entries(wire).map(([name, value]) => `${name} ${value}\n`);
  t.ok(said.length > 5);
  t.equal(stdout, said.join(''));
});
