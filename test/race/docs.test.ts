/**
 * The pages of docs/race tell what the lab prints today: columns, drawings, the mails' schedules beside
 * them, and the tables of scenarios and mutations are made again and compared. With FAUXDAX_WRITE=1
 * (`npm run docs:race`) they are written instead.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { columnsText } from '../../lib/race/columns.js';
import { formatReplayId } from '../../lib/race/replay_id.js';
import { SCENARIOS, scenarioOf } from '../../lib/race/scenarios.js';
import { find, scheduleOf } from '../../lib/race/search.js';
import { INVARIANTS } from '../../lib/race/scenario.js';
import { type Story, tell } from '../../lib/race/story.js';
import { LIVE_INVARIANTS } from '../../tools/live/violation.js';
import { storySvg } from '../../tools/report/race_svg.js';
import { MAILS } from './mail_columns.js';
import { mutationTable } from './mutations.js';

const DOCS = fileURLToPath(new URL('../../docs/race/', import.meta.url));
const ROOT = join(DOCS, '..', '..');
const isWriting = process.env['FAUXDAX_WRITE'] === '1';

interface Told {
  story: Story;
  replayId: string;
}

const told = new Map<string, Told>();

/** The counterexample that the command prints. */
function counterexample(name: string): Told {
  let found = told.get(name);
  if (found === undefined) {
    const scenario = scenarioOf(name);
    const { actors } = find(scheduleOf(scenario, scenario.bug)).failure!;
    const replayId = formatReplayId({ scenario: name, bug: scenario.bug, actors });
    found = { story: tell(scheduleOf(scenario, scenario.bug), actors), replayId };
    told.set(name, found);
  }
  return found;
}

/** The mail's lines, each with the step that it is: in order, and of the right thread. */
function mailTable(name: string): string {
  const { columns, lanes, lines } = MAILS[name]!;
  const { steps } = counterexample(name).story;
  let from = 0;
  const rows = lines.map(({ column, text, step, lane = lanes[column] }) => {
    const found = steps.findIndex(
      (one, index) =>
        index >= from &&
        one.column === lane &&
        [one.label, ...one.notes].some((line) => line.includes(step)),
    );
    if (found < 0) throw new Error(`${name}: no step '${step}' after step ${from + 1}`);
    from = found;
    const { label, notes } = steps[found]!;
    const told = notes.find((line) => line.includes(step)) ?? label;
    const cells = columns.map((_, at) => (at === column ? text : ''));
    return `| ${[...cells, `${found + 1}. ${told}`].join(' | ')} |`;
  });
  const head = [...columns.map((title) => `mail: ${title}`), 'here'];
  return [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...rows].join('\n');
}

function columnsBlock(name: string): string {
  const { story, replayId } = counterexample(name);
  const { bug } = scenarioOf(name);
  return [
    '```',
    `$ fauxdax race ${name} --bug ${bug}`,
    columnsText(story).trimEnd(),
    `again: fauxdax race replay ${replayId}`,
    '```',
  ].join('\n');
}

function scenarioTable(isOfSeed: boolean): string {
  const rows = SCENARIOS.filter(({ seed }) => (seed !== undefined) === isOfSeed).map(
    ({ name, title, bug }) => {
      const broke = bug === undefined ? '' : counterexample(name).story.violation!.invariant;
      return `| \`${name}\` | ${title} | ${bug === undefined ? '' : `\`${bug}\`: ${broke}`} |`;
    },
  );
  return [
    '| scenario | what happens | switch, and what it breaks |',
    '|---|---|---|',
    ...rows,
  ].join('\n');
}

function picture(name: string): string {
  const { title } = scenarioOf(name);
  return `![${title}](${name}.svg)`;
}

function made(kind: string, name: string): string {
  if (kind === 'mail') return mailTable(name);
  if (kind === 'columns') return columnsBlock(name);
  if (kind === 'picture') return picture(name);
  if (kind === 'scenarios') return scenarioTable(name === 'seeds');
  if (kind === 'mutations') return mutationTable();
  throw new Error(`nothing makes '${kind}'`);
}

/** `<!-- KIND NAME -->` ... `<!-- end -->`, on lines of their own. */
const PART = /(<!-- (\w+) ([\w-]+) -->\n)[\s\S]*?(<!-- end -->)/g;
const pages = readdirSync(DOCS).filter((name) => name.endsWith('.md'));
const drawn = new Set<string>();

for (const page of pages) {
  t.test(`docs/race/${page} tells what the lab prints`, async (t) => {
    const path = join(DOCS, page);
    const text = readFileSync(path, 'utf8');
    const now = text.replace(PART, (_, start: string, kind: string, name: string, end: string) => {
      if (kind === 'picture') drawn.add(name);
      return `${start}${made(kind, name)}\n${end}`;
    });
    if (isWriting) writeFileSync(path, now);
    else t.equal(text, now);
  });
}

t.test('the drawings are those of the counterexamples, and there are no others', async (t) => {
  for (const name of drawn) {
    const svg = storySvg(scenarioOf(name).title, counterexample(name).story);
    const path = join(DOCS, `${name}.svg`);
    if (isWriting) writeFileSync(path, svg);
    else t.equal(readFileSync(path, 'utf8'), svg, name);
  }
  const there = readdirSync(DOCS).filter((name) => name.endsWith('.svg'));
  t.same(there, [...drawn].map((name) => `${name}.svg`).sort());
});

t.test('every mail is told beside its counterexample', async (t) => {
  const all = pages.map((page) => readFileSync(join(DOCS, page), 'utf8')).join('\n');
  for (const name of Object.keys(MAILS)) {
    for (const kind of ['mail', 'columns', 'picture']) t.match(all, `<!-- ${kind} ${name} -->`);
  }
});

t.test('live.md has the verdict of every scenario, with its bug and without', async (t) => {
  const lines = readFileSync(join(DOCS, 'live.md'), 'utf8').split('\n');
  const rows = lines.flatMap((line) => {
    const [, how, scenario, bug, lab, live] = ROW.exec(line) ?? [];
    if (how === undefined) return [];
    t.equal(how, 'same', `${scenario}, ${bug}`);
    t.equal(live === 'absent' ? live : 'found', lab);
    return [`${scenario} ${bug}`];
  });
  const wanted = SCENARIOS.flatMap(({ name, bug }) =>
    bug === undefined ? [`${name} -`] : [`${name} ${bug}`, `${name} -`],
  );
  t.same(rows, wanted);
});

/** Of what `fauxdax race --live` prints. */
const ROW = /^(same|NOT|hidden) +(\S+) +(\S+) +(found|absent) +(\S+) +\d+ +\d+\.\d$/;

t.test('SPEC.md says of every invariant what must hold, and where it is looked at', async (t) => {
  const spec = readFileSync(join(ROOT, 'SPEC.md'), 'utf8');
  const rows = [...spec.matchAll(/^\| `([\w-]+)` \| (yes|) ?\| (yes|) ?\| \S/gm)];
  const named = (column: number) => rows.flatMap((row) => (row[column] === 'yes' ? [row[1]] : []));
  t.same(named(2), INVARIANTS);
  t.same(named(3).sort(), [...LIVE_INVARIANTS].sort());
  const checks = readFileSync(join(ROOT, 'lib', 'race', 'invariants.ts'), 'utf8');
  const head = checks.slice(0, checks.indexOf('*/'));
  for (const invariant of INVARIANTS) t.match(head, new RegExp(`\\b${invariant}\\b`));
});
