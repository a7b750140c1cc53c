/**
 * A counterexample of the race lab as one HTML page: the columns as they are printed, and beside each
 * step the maps, page tables, TLBs, entries and bytes after it; what the step changed is shown, the rest
 * one click away. Steps are links: the bar of their numbers, and Tab and Enter, go from one to the next.
 * Nothing is loaded, no script runs.
 */
import type { Picture, Strip } from '../../lib/race/picture.js';
import type { Scenario } from '../../lib/race/scenario.js';
import type { Story, StoryStep } from '../../lib/race/story.js';
import { html, Markup } from './markup.js';
import { changed } from './race_svg.js';
import { STYLE } from './style.js';

const RACE_STYLE = `
main { max-width: 1320px; }
html { scroll-padding-top: 64px; }
#bar { position: sticky; top: 0; z-index: 1; display: flex; gap: 4px; overflow-x: auto; margin: 0 0 18px;
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 8px 10px; }
#bar a { flex: none; min-width: 28px; text-align: center; border-radius: 5px; padding: 3px 5px;
  font: 600 13px/1.5 system-ui, sans-serif; text-decoration: none; }
#bar a:focus-visible, .next:focus-visible { outline: 2px solid var(--blue); outline-offset: 1px; }
.lane0 { background: var(--blue-soft); color: var(--blue); } .lane1 { background: var(--amber-soft); color: var(--amber); }
.lane2 { background: var(--green-soft); color: var(--green); } .lane3 { background: var(--cell); color: var(--text); }
.end { background: var(--red-soft); color: var(--red); }
.race { padding: 0; margin: 0; }
.race > li { list-style: none; display: grid; gap: 14px; align-items: start; border-top: 1px solid var(--rule);
  padding: 10px 0; grid-template-columns: repeat(var(--lanes), minmax(0, 1fr)) minmax(0, var(--picture)); }
.race > li.heads { border: 0; padding-top: 0; }
.race > li:target { background: var(--page); box-shadow: 0 0 0 8px var(--page); border-radius: 2px; }
.step { border-left: 3px solid currentColor; border-radius: 0 6px 6px 0; padding: 6px 10px; }
.step .number { font: 600 12.5px/1.6 system-ui, sans-serif; } .step .who { display: none; color: inherit; }
.step .what { display: block; color: var(--text); font-weight: 600; font-size: 14.5px; line-height: 1.35; }
.step .note { display: block; color: var(--text); opacity: .8; font-size: 13.5px; line-height: 1.4; margin-top: 3px; }
.next { float: right; color: inherit; text-decoration: none; font: 600 13px/1.6 system-ui, sans-serif; padding: 0 6px; }
.head { font: 600 14px/1.5 system-ui, sans-serif; border-radius: 6px; padding: 3px 10px; }
.race > li > * { grid-row: 1; } .after { grid-column: -2; min-width: 0; }
.strip { margin: 0 0 7px; } .strip b { display: block; font: 600 11.5px/1.5 system-ui, sans-serif; color: var(--quiet); }
.cell { display: inline-block; border: 1px solid var(--rule); border-radius: 5px; padding: 1px 7px; margin: 1px 4px 2px 0;
  font: 12.5px/1.5 ui-monospace, 'DejaVu Sans Mono', monospace; }
.cell.zero { background: var(--cell); } .cell.region { background: var(--blue-soft); border-color: var(--blue); }
.cell.store { background: var(--amber-soft); border-color: var(--amber); }
.cell.held { border-style: dashed; border-color: var(--text); }
.after summary { margin: 0; } .after details[open] summary { margin-bottom: 6px; }
.legend { color: var(--quiet); font-size: 14px; }
@media (max-width: 760px) { main { padding: 12px; } section, header { padding: 14px; }
  .race > li { grid-template-columns: minmax(0, 1fr); gap: 8px; } .race > li.heads { display: none; }
  .race > li > * { grid-row: auto; grid-column: 1 !important; } .step .who { display: inline; } .commands { padding: 0 14px; } }
`;

/** How many lanes wide the column of pictures is. */
const PICTURE_LANES = 1.7;

export function storyPage(
  scenario: Scenario,
  bug: string | undefined,
  story: Story,
  replayId: string,
): string {
  const { violation } = story;
  const title = `${violation === undefined ? 'HELD' : 'BROKE'} · ${scenario.name}`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${new Markup(STYLE)}${new Markup(RACE_STYLE)}</style>
</head>
<body>
<main>
<header class="verdict ${violation === undefined ? 'pass' : 'fail'}">
<p class="stamp">${violation === undefined ? '✓ HELD' : `✗ ${violation.invariant}`}</p>
<h1>${scenario.title}</h1>
<p>${violation?.message ?? 'Every invariant held.'}</p>
${story.cut === undefined ? undefined : html`<p>${story.cut}</p>`}
${scenario.seed === undefined ? undefined : html`<p class="quiet">${scenario.seed.what}</p>`}
</header>
<dl class="commands">
<dt>scenario</dt><dd><code>${scenario.name}</code></dd>
<dt>bug switch</dt><dd><code>${bug ?? 'none'}</code></dd>
<dt>again</dt><dd><code>fauxdax race replay ${replayId}</code></dd>
</dl>
${bar(story)}
<section id="schedule">
<h2>Schedule</h2>
<p class="legend">Time goes down. Beside each step stands what it changed:
<span class="cell zero">zeroes, or nothing yet</span><span class="cell region">the region</span><span class="cell store">storable, dirty or not durable</span><span class="cell held">held</span></p>
<ol class="race" style="--lanes: ${story.columns.length}; --picture: ${PICTURE_LANES}fr">
<li class="heads">${story.columns.map(({ name, process }, column) => html`<div class="head lane${column % 4}" style="grid-column: ${column + 1}">${name} (${process})</div>`)}
<div class="after">${strips(changed(story.before, []))}</div></li>
${story.steps.map((step, index) => stepItem(story, step, index))}
${endItem(story)}
</ol>
</section>
</main>
</body>
</html>
`.text;
}

/** A link for each step, in the colour of its thread. */
function bar({ steps, violation }: Story): Markup {
  const links = steps.map(
    ({ column }, index) =>
      html`<a class="lane${column % 4}" href="#s${index + 1}">${index + 1}</a>`,
  );
  if (violation !== undefined) links.push(html`<a class="end" href="#end">✗</a>`);
  return html`<nav id="bar" aria-label="steps">${links}</nav>`;
}

function stepItem({ columns, steps, before }: Story, step: StoryStep, index: number): Markup {
  const { column, label, notes, after } = step;
  const was = steps[index - 1]?.after ?? before;
  const number = index + 1;
  const next = number < steps.length ? `#s${number + 1}` : '#end';
  return html`<li id="s${number}"><div class="step lane${column % 4}" style="grid-column: ${column + 1}"><a class="next" href="${next}" aria-label="next step">↓</a>
<span class="number">${number}<span class="who"> · ${columns[column]!.name}</span></span>
<span class="what">${label}</span>${notes.map((note) => html`<span class="note">${note}</span>`)}</div>
<div class="after">${strips(changed(after, was))}
<details><summary>all of it</summary>${strips(after)}</details></div></li>
`;
}

function endItem({ cut, violation }: Story): Markup | undefined {
  if (violation === undefined) return undefined;
  return html`<li id="end"><div class="step end" style="grid-column: 1 / -1"><span class="number">✗ ${violation.invariant}</span>
${cut === undefined ? undefined : html`<span class="what">${cut}</span>`}<span class="what">${violation.message}</span></div></li>`;
}

function strips(picture: Picture): Markup[] {
  return picture.map(strip);
}

function strip({ name, cells }: Strip): Markup {
  const shown = cells.length === 0 ? [{ text: 'nothing', kind: 'plain' }] : cells;
  return html`<div class="strip"><b>${name}</b>${shown.map(({ text, kind }) => html`<span class="cell ${kind}">${text}</span>`)}</div>`;
}
