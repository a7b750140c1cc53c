/** The lab's own parts: the page table's counters, the region's ages, what the command prints. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { wordOf } from '../../lib/race/content.js';
import { Footprint } from '../../lib/race/footprint.js';
import { PageTable } from '../../lib/race/page_table.js';
import { LabRegion } from '../../lib/race/region.js';
import { formatReplayId, parseReplayId } from '../../lib/race/replay_id.js';
import { PAGE_BYTES } from '../../lib/units.js';

const CLI = fileURLToPath(new URL('../../dist/tools/fauxdax.js', import.meta.url));

const SCRATCH = mkdtempSync(join(tmpdir(), 'fauxdax-race-'));
t.teardown(() => rmSync(SCRATCH, { recursive: true, force: true }));

/** The command, which keeps results in `data`. */
function race(first: string | { data: string }, ...rest: string[]) {
  const { data } = typeof first === 'string' ? { data: SCRATCH } : first;
  const args = typeof first === 'string' ? [first, ...rest] : rest;
  const env = { ...process.env, XDG_DATA_HOME: data };
  return spawnSync(process.execPath, [CLI, 'race', ...args], { encoding: 'utf8', env });
}

function labRegion(): LabRegion {
  return new LabRegion(4, { fillOf: () => 9, poisoned: [], hasCrash: true }, new Footprint());
}

t.test('a page table that is used rightly leaves no counter behind', async (t) => {
  const table = new PageTable();
  table.put({ filePage: 0, pageCount: 512, target: 512, isStorable: false, isHuge: true });
  table.setStorable({ filePage: 0, pageCount: 512 }, true);
  table.zap({ filePage: 3, pageCount: 2 }, false);
  t.equal(table.find(5)?.isHuge, false);
  t.equal(table.find(3), undefined);
  table.put({ filePage: 3, pageCount: 1, target: 515, isStorable: false, isHuge: false });
  table.zap({ filePage: 0, pageCount: 512 }, true);
  t.same(table.exitCounters(), { pageTables: 0, residentPages: 0 });
  t.equal(table.collision, undefined);
});

t.test('a PMD over PTEs and a PTE under a PMD are told by the counters', async (t) => {
  const pte = { filePage: 1, pageCount: 1, target: 513, isStorable: false, isHuge: false };
  const pmd = { filePage: 0, pageCount: 512, target: 512, isStorable: false, isHuge: true };
  const over = new PageTable();
  over.put(pte);
  over.put(pmd);
  t.equal(over.collision?.invariant, 'pmd-over-pte');
  t.equal(over.exitCounters().pageTables, 1);
  const under = new PageTable();
  under.put(pmd);
  under.put(pte);
  t.equal(under.collision?.invariant, 'pte-under-pmd');
  t.equal(under.exitCounters().residentPages, 1);
});

t.test('a line may be left at any age since it was last fenced', async (t) => {
  const region = labRegion();
  const values = () => region.contentsAfterCut(1, 0).map((content) => wordOf(content, 0));
  region.storeWord(1, 0, 5);
  region.flush(PAGE_BYTES, 8);
  region.storeWord(1, 0, 6);
  t.same(values(), [9, 5, 6]);
  t.equal(region.undecidedLineCount(), 1);
  region.fence();
  t.same(values(), [5, 6]);
  region.reset();
  t.same(values(), [9]);
});

t.test('a fence decides the lines that were flushed, and no others of the page', async (t) => {
  const region = labRegion();
  region.storeWord(1, 0, 5);
  region.storeWord(1, 8, 6);
  region.flush(PAGE_BYTES, 8);
  region.fence();
  const after = region.contentsAfterCut(1, 0);
  t.same(new Set(after.map((content) => wordOf(content, 0))), new Set([5]));
  t.same(new Set(after.map((content) => wordOf(content, 8))), new Set([9, 6]));
});

t.test("a program's own fence says nothing of what the filesystem flushed", async (t) => {
  const region = labRegion();
  region.storeWord(1, 0, 5);
  region.flush(PAGE_BYTES, 8);
  region.storeWord(2, 0, 6);
  region.makeDurable(2, 0);
  t.equal(region.contentsAfterCut(1, 0).length, 2);
  t.same(
    region.contentsAfterCut(2, 0).map((content) => wordOf(content, 0)),
    [6, 6],
  );
});

t.test('an operation that is kept brings what was flushed when it ended', async (t) => {
  const region = labRegion();
  region.zeroFlushed(PAGE_BYTES, PAGE_BYTES);
  region.markOperation();
  t.same(
    region.contentsAfterCut(1, 0).map(({ fill }) => fill),
    [9, 0],
  );
  t.same(
    region.contentsAfterCut(1, 1).map(({ fill }) => fill),
    [0],
  );
});

t.test('a replay id says what it was made of', async (t) => {
  const id = { scenario: 'punch-fault', bug: 'punch-without-gate', actors: [0, 1, 10, 3] };
  t.same(parseReplayId(formatReplayId(id)), id);
  t.same(parseReplayId('a/none/0').bug, undefined);
  t.throws(() => parseReplayId('punch-fault'), /not a replay id/);
});

t.test('the command prints columns and an id that prints the same again', async (t) => {
  const found = race('hole-fault-race', '--bug', 'hole-fault-race');
  t.equal(found.status, 1);
  t.match(found.stdout, /^hole-fault-race: .*\n\n +Process 1 \(reader\) +Process 2 \(writer\)\n/);
  t.match(found.stdout, /zeroes: reader is shown the zero page at page 0 of f, where 1 was stored/);
  t.match(found.stdout, /failure-found: \d+ schedules, \d+ states/);
  const id = /race replay (\S+)/.exec(found.stdout)![1]!;
  const again = race('replay', id);
  t.equal(again.status, 1);
  t.ok(found.stdout.includes(again.stdout));
  t.match(race('hole-fault-race').stdout, /space-exhausted/);
  t.equal(race('hole-fault-race').status, 0);
});

t.test('the list says what the last runs said, and of others that there was none', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'fauxdax-race-'));
  t.teardown(() => rmSync(data, { recursive: true, force: true }));
  const row = (name: string) => {
    const lines = race({ data }).stdout.split('\n');
    return lines.find((line) => line.startsWith(`${name} `));
  };
  t.match(row('zero-range-fault'), / never run$/);
  race({ data }, 'zero-range-fault', '--bug', 'punch-without-gate');
  t.match(row('zero-range-fault'), /found: mapping in \S+ s, without: never run/);
  race({ data }, 'zero-range-fault');
  t.match(row('zero-range-fault'), /\d+ states, \d+ schedules +found: .*, exhausted in \S+ s/);
  race({ data }, 'zero-range-fault', '--depth', '2');
  t.match(row('zero-range-fault'), /exhausted in/, 'a part of the space says nothing of it');
  const listed = JSON.parse(race({ data }, '--json').stdout) as Record<string, unknown>[];
  const entry = listed.find(({ name }) => name === 'zero-range-fault');
  t.match(entry, { space: { states: Number }, last: { withBug: { broke: 'mapping' } } });
  writeFileSync(join(data, 'fauxdax/race.json'), 'x');
  t.match(row('zero-range-fault'), / never run$/, 'what is damaged is none');
});

t.test(
  'the command refuses in one line what it does not know, and what would be left out',
  async (t) => {
    const table: (readonly [string[], RegExp])[] = [
      [['nothing'], /unknown scenario 'nothing': fauxdax race lists them/],
      [['hole-fault-race', '--bug', 'no'], /unknown bug switch 'no': one of /],
      [['replay'], /replay: which\?/],
      [['replay', 'x'], /not a replay id: 'x'/],
      [['replay', 'hole-fault-race/none/9'], /step 1: actor 9 cannot go on/],
      [['replay', 'hole-fault-race/none/0', '--seed', '1'], /--seed does not go with replay/],
      [['hole-fault-race', 'more'], /'more' does not go with a scenario/],
      [['hole-fault-race', '--rounds', '3'], /--rounds needs --live/],
      [['hole-fault-race', '--no-delays'], /--no-delays needs --live/],
      [['hole-fault-race', '--depth', '0'], /--depth 0: expected a whole number, 1 at least/],
      [['hole-fault-race', '--seed', '1.5'], /--seed 1.5: expected a whole number, 0 at least/],
      [['--bug', 'hole-fault-race'], /--bug needs a scenario/],
      [['--html', 'x'], /--html needs a scenario/],
      [
        ['two-syncs', '--svg', '/nonexistent/x'],
        /--svg \/nonexistent\/x: \/nonexistent is not there/,
      ],
      [['--all', 'hole-fault-race'], /'hole-fault-race' does not go with --all/],
      [['--all', '--bug', 'hole-fault-race'], /--bug does not go with --all/],
      [['--all', '--live'], /--all does not go with --live/],
      [['--live', 'two-syncs', 'more'], /'more' does not go with --live/],
      [['--live', '--html', 'x'], /--html does not go with --live/],
      [['--live', '--rounds', '0'], /--rounds 0: expected a whole number, 1 at least/],
    ];
    for (const [args, message] of table) {
      const [first = '', ...rest] = args;
      const { status, stdout, stderr } = race(first, ...rest);
      t.equal(status, 2, args.join(' '));
      t.equal(stdout, '');
      t.match(stderr, new RegExp(`^fauxdax: [^\\n]*${message.source}[^\\n]*\\n$`));
    }
  },
);

t.test('JSON and the page tell every step', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'fauxdax-race-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const page = join(dir, 'race.html');
  const drawing = join(dir, 'race.svg');
  const files = ['--html', page, '--svg', drawing];
  const args = ['--bug', 'fault-no-completion', '--json', ...files];
  const result = JSON.parse(race('fault-no-completion', ...args).stdout) as Record<string, unknown>;
  t.equal(result['end'], 'failure-found');
  t.match(result['broke'], { invariant: 'synced' });
  const steps = result['steps'] as { label: string }[];
  t.equal(steps[0]!.label, 'store a[0] = 1');
  const html = readFileSync(page, 'utf8');
  t.equal(html.split('<li id="s').length - 1, steps.length);
  t.notMatch(html, /<script|src=|href="http/);
  const svg = readFileSync(drawing, 'utf8');
  t.equal(svg.split('<line ').length - 2, steps.length, 'a row for each step, and one before them');
  t.match(svg, /synced: after the power cut page 0 of f holds 0/);
});
