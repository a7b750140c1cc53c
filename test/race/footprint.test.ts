/**
 * The reduction takes two steps for independent when what they noted of themselves does not meet. Steps that
 * it takes so are made in either order: they see the same, and lead to the same state. With a note left out
 * somebody's are not: a note is a line of the lab, left out in a copy of the compiled library.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMMUTE = fileURLToPath(new URL('commute.mjs', import.meta.url));

/** What is said of a step that commutes with no other of the scenario, once it is left out. */
const NOTES: readonly (readonly [file: string, note: string, scenario: string])[] = [
  ['footprint', 'footprint.writes |= fileBit(ino);', 'punch-without-gate'],
  ['mmu', 'this.footprint.reads |= process.bit;\n        const tlb', 'hole-fault-threads'],
  [
    'mmu',
    'this.footprint.writes |= process.bit;\n        const table = process.tables.get(mapping);\n        const name',
    'punch-without-gate',
  ],
  [
    'mmu',
    'this.footprint.writes |= process.bit;\n        const table = process.tables.get(mapping);\n        if (table',
    'collapse-sync',
  ],
  ['mmu', 'this.footprint.writes |= fileBit(ino);\n        this.settledInos.add', 'settled-sync'],
  ['mmu', 'this.footprint.reads |= process.bit;\n        };', 'hole-fault-threads'],
  ['world', 'this.footprint.reads |= JOURNAL;', 'convert-before-zero'],
];

function firstClash(lib: string, ...names: string[]): string {
  const done = spawnSync(process.execPath, [COMMUTE, lib, ...names], { encoding: 'utf8' });
  return done.stderr + done.stdout;
}

t.test('in every scenario steps that touch different things commute', async (t) => {
  t.equal(firstClash(join(ROOT, 'dist/lib')), '');
});

const dir = mkdtempSync(join(tmpdir(), 'fauxdax-footprint-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));
cpSync(join(ROOT, 'dist/lib'), join(dir, 'lib'), { recursive: true });
symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
writeFileSync(join(dir, 'package.json'), '{"type":"module"}');

for (const [file, note, scenario] of NOTES) {
  const [line] = note.split('\n');
  t.test(`${scenario} tells that ${file} does not say ${line}`, async (t) => {
    const path = join(dir, 'lib', 'race', `${file}.js`);
    const source = readFileSync(path, 'utf8');
    t.equal(source.split(note).length, 2, 'the line is there, once');
    writeFileSync(path, source.replace(note, note.slice(line!.length)));
    const clash = firstClash(join(dir, 'lib'), scenario);
    writeFileSync(path, source);
    t.match(clash, new RegExp(`^${scenario} [0-9a-z]+\n$`));
  });
}
