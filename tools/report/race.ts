/**
 * A counterexample of the race lab as one HTML page: the columns as they are printed, and beside each
 * step the page tables, TLBs, entries and maps after it. Nothing is loaded, no script runs.
 */
import type { Scenario } from '../../lib/race/scenario.js';
import type { Picture, Story, StoryStep } from '../../lib/race/story.js';
import { html, Markup } from './markup.js';
import { STYLE } from './style.js';

const RACE_STYLE = `
.race { display: grid; gap: 6px; }
.race li { list-style: none; display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 14px;
  border-top: 1px solid var(--rule); padding: 8px 0; align-items: start; }
.race { padding: 0; margin: 0; }
.race .lane { display: inline-block; border-radius: 5px; padding: 0 7px; font: 600 12.5px/1.6 system-ui, sans-serif; }
.lane0 { background: var(--blue-soft); color: var(--blue); } .lane1 { background: var(--amber-soft); color: var(--amber); }
.lane2 { background: var(--green-soft); color: var(--green); } .lane3 { background: var(--cell); color: var(--text); }
.race .what { font-weight: 600; } .race .note { display: block; color: var(--quiet); font-size: 14px; }
.race .after { display: flex; flex-wrap: wrap; gap: 6px; }
.box { border: 1px solid var(--rule); border-radius: 6px; padding: 4px 8px; font-size: 13px; min-width: 0; }
.box b { display: block; font: 600 11.5px/1.5 system-ui, sans-serif; color: var(--quiet); }
.box code { font-size: 12.5px; } .box.new { border-color: var(--amber); background: var(--amber-soft); }
@media (max-width: 640px) { .race li { grid-template-columns: minmax(0, 1fr); gap: 6px; } }
`;

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
${scenario.seed === undefined ? undefined : html`<p class="quiet">${scenario.seed.what}</p>`}
</header>
<dl class="commands">
<dt>scenario</dt><dd><code>${scenario.name}</code></dd>
<dt>bug switch</dt><dd><code>${bug ?? 'none'}</code></dd>
<dt>again</dt><dd><code>fauxdax race replay ${replayId}</code></dd>
</dl>
<section id="schedule">
<h2>Schedule</h2>
<ol class="race">
${story.steps.map((step, index) => stepItem(story, step, story.steps[index - 1]?.after))}
</ol>
${story.cut === undefined ? undefined : html`<p class="needs">${story.cut}</p>`}
</section>
</main>
</body>
</html>
`.text;
}

function stepItem(story: Story, step: StoryStep, before: Picture | undefined): Markup {
  const { column, label, notes, after } = step;
  return html`<li><div><span class="lane lane${column % 4}">${story.columns[column]!.name}</span>
<span class="what">${label}</span>${notes.map((note) => html`<span class="note">${note}</span>`)}</div>
<div class="after">${boxes(after, before)}</div></li>
`;
}

/** What changed is marked. */
function boxes(after: Picture, before: Picture | undefined): Markup[] {
  const box = (name: string, text: string, was: string | undefined) => {
    const kind = before !== undefined && was !== text ? 'box new' : 'box';
    return html`<div class="${kind}"><b>${name}</b><code>${text === '' ? 'empty' : text}</code></div>`;
  };
  return [
    ...after.tables.map(({ process, map, text }) => {
      const was = before?.tables.find((one) => one.map === map)?.text;
      return box(`page table of ${map} (${process})`, text, was);
    }),
    ...after.tlbs.map(({ cpu, text }) => {
      return box(`TLB of CPU ${cpu}`, text, before?.tlbs.find((one) => one.cpu === cpu)?.text);
    }),
    box('maps of the files', after.maps, before?.maps),
    box('entries', after.entries.join(' '), before?.entries.join(' ')),
  ];
}
