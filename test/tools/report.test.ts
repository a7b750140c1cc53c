import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import type { ModelResult, Result } from '../../lib/crash/result/result.js';
import { htmlPage } from '../../tools/report/html.js';
import { junitXml } from '../../tools/report/junit.js';
import { terminalSummary } from '../../tools/report/terminal.js';
import { visible, visibleLines } from '../../tools/report/visible.js';
import { formatCount, verdict } from '../../tools/report/words.js';
import { HOSTILE, result } from './report_fixture.js';

const base = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

/** The fixture as it would be if nothing had failed. */
function passing(): Result {
  const whole = result();
  const models = whole.models.map((one) => ({
    ...one,
    end: 'space-exhausted' as const,
    crashPointsExhausted: one.crashPoints,
  }));
  return { ...whole, end: 'space-exhausted', endDetail: '', models, failures: [], lints: [] };
}

t.test('text of programs is shown without acting on who reads it', async (t) => {
  const table: [string, string][] = [
    ['plain ü ✓', 'plain ü ✓'],
    ['a\nb\tc', 'a\\nb\\tc'],
    ['\u001b[2J\u0000\u007f', '\\x1b[2J\\x00\\x7f'],
    ['\u{10ffff}\u{10ff80}', '\\xff\\x80'],
    ['\u202eevil\u2069', '\\u{202e}evil\\u{2069}'],
    ['\ud800', '\\u{d800}'],
    ['\ufffe', '\\u{fffe}'],
  ];
  for (const [text, shown] of table) t.equal(visible(text), shown);
  t.equal(visibleLines('a\r\nb\n\u001b'), 'a\nb\n\\x1b');
});

t.test('the page escapes what programs said, and loads nothing', async (t) => {
  const page = htmlPage(result());
  t.notMatch(page, /<script/i);
  t.notMatch(page, '\u001b');
  t.notMatch(page, '\u202e');
  t.notMatch(page, '\u{10ffff}');
  t.match(page, '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;');
  t.notMatch(page, /\b(src|srcset|href)="(?!#)/, 'links stay in the page');
  t.notMatch(page, /url\(|@import|https?:/);
  t.match(page, "default-src 'none'");
});

t.test('every link of the page leads to something in it', async (t) => {
  const page = htmlPage(result());
  const targets = [...page.matchAll(/href="#([^"]+)"/g)].map((match) => match[1]);
  t.ok(targets.length > 0);
  for (const target of targets) t.ok(page.includes(`id="${target}"`), `#${target}`);
});

t.test('the page says for a failure what was lost, what is needed and how to see it', async (t) => {
  const page = htmlPage(result());
  t.match(page, 'breaks it under dax, posix: 17 of 308 crash states failed');
  t.match(page, 'fauxdax replay k7f3q2 --shell');
  t.match(page, 'with that order none of 312 states around it failed');
  t.match(page, '<span class="what">fdatasync of <code>conf.json.tmp</code>');
  const steps = [...page.matchAll(/<li class="(lost|survived|missing|said|crash)"/g)];
  t.same(
    steps.slice(0, 5).map((match) => match[1]),
    ['survived', 'lost', 'missing', 'survived', 'crash'],
  );
  t.match(page, 'aria-label="lines 1 2 differ"');
  t.match(page, 'aria-label="lines 6 7 8 differ"', 'page 1 holds lines 64 to 127');
  t.match(page, '<span class="quiet">end of file</span>');
});

t.test(
  'a run that covered everything says so, one that did not says what is missing',
  async (t) => {
    t.match(verdict(passing()), /no crash breaks it under dax, posix/);
    t.match(htmlPage(passing()), '✓ PASS');
    const endDetail = 'the time was up; 14 of 31 crash points were not covered wholly';
    const early: Result = { ...passing(), end: 'time-exhausted', endDetail };
    early.models[0] = { ...early.models[0]!, end: 'time-exhausted', crashPointsExhausted: 17 };
    t.match(verdict(early), /not all were covered/);
    t.match(terminalSummary(early, new Map()), `time-exhausted: ${endDetail}`);
    t.match(htmlPage(early), `<b>time-exhausted</b>: ${endDetail}`);
  },
);

t.test('the summary begins with the verdict and names what to do', async (t) => {
  const text = terminalSummary(result(), new Map([['k7f3q2', '/saved/k7f3q2']]));
  t.match(text.split('\n')[0], /FAIL {2}a crash breaks it under dax, posix: 17 of 308/);
  t.match(text, 'fauxdax replay k7f3q2');
  t.match(text, 'saved in /saved/k7f3q2');
  t.match(text, /Needs: fdatasync of `conf.json.tmp`/);
  t.match(text, /^allowed by the model +18,446,744 +820$/m);
  t.match(text, /failure-found: the first failure ended it/);
  t.notMatch(text, '\u001b', 'no colour where stdout is no terminal, no escape of a program ever');
});

t.test('the verdict names only models that a crash broke it under', async (t) => {
  const mixed = result();
  const [dax, posix] = mixed.models as [ModelResult, ModelResult];
  mixed.models = [dax, { ...posix, states: { ...posix.states, failed: 0 } }];
  const { failed, run } = dax.states;
  t.equal(verdict(mixed), `a crash breaks it under dax: ${failed} of ${run} crash states failed`);
});

t.test('JUnit has a case for each model and oracle', async (t) => {
  const xml = junitXml(result());
  t.equal([...xml.matchAll(/<testcase /g)].length, 6);
  t.equal([...xml.matchAll(/<failure /g)].length, 3);
  t.match(xml, /<testsuites name="fauxdax" tests="6" failures="3"/);
  t.match(junitXml(passing()), /failures="0"/);
  t.notMatch(junitXml(passing()), '<failure');
});

const noXmllint =
  spawnSync('xmllint', ['--version']).error !== undefined &&
  'xmllint is missing: install libxml2-utils';

t.test('JUnit is valid by its schema', { skip: noXmllint }, async (t) => {
  const file = join(base, 'junit.xml');
  for (const text of [junitXml(result()), junitXml(passing())]) {
    writeFileSync(file, text);
    const schema = resolve('test/tools/junit.xsd');
    const { status, stderr } = spawnSync('xmllint', ['--noout', '--schema', schema, file], {
      encoding: 'utf8',
    });
    t.equal(status, 0, stderr);
  }
});

t.test('hostile text is not lost in JUnit, but made visible', async (t) => {
  const escaped: string = visible(HOSTILE)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;');
  t.ok(junitXml(result()).includes(`message="acknowledged line is gone: ${escaped}"`));
});

t.test('counts beyond what a person reads are rounded', async (t) => {
  const table: [string | number, string][] = [
    [0, '0'],
    [1234, '1,234'],
    ['123456789012345', '123,456,789,012,345'],
    ['1234567890123456', 'about 1.2e15'],
  ];
  for (const [count, text] of table) t.equal(formatCount(count), text);
});
