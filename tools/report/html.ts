/**
 * The report as one HTML page: nothing is loaded, no script runs, and what programs printed cannot
 * become markup (markup.ts). Sections from top to bottom: the verdict, each failure (failure.ts),
 * the counts, the lints, and the timeline of the recorded run (timeline.ts).
 */
import type { LintFinding, Result } from '../../lib/crash/result/result.js';
import { failureSection } from './failure.js';
import { html, Markup, prose } from './markup.js';
import { STYLE } from './style.js';
import { timelineSection } from './timeline.js';
import { COUNT_ROWS, END_MEANS, formatMs, MODEL_MEANS, ORACLE_MEANS, verdict } from './words.js';

export function htmlPage(result: Result): string {
  const failed = result.failures.length > 0;
  const title = `${failed ? 'FAIL' : 'PASS'} · ${result.workload}`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
${header(result)}
${result.failures.map((failure) => failureSection(failure, result.timeline))}
${countsSection(result)}
${lintsSection(result.lints)}
${timelineSection(result)}
</main>
<footer>fauxdax ${result.fauxdax.version} · seed ${result.seed} · ${formatMs(result.durationMs)}</footer>
</body>
</html>
`;
  return page.text;
}

function header(result: Result): Markup {
  const failed = result.failures.length > 0;
  const isWhole = result.end === 'space-exhausted';
  const kind = failed ? 'fail' : isWhole ? 'pass' : 'open';
  const commands: [string, string | null][] = [
    ['setup', result.setup],
    ['workload', result.workload],
    ['check', result.check],
    ['continue', result.continue],
  ];
  return html`<header class="verdict ${kind}">
<p class="stamp">${failed ? '✗ FAIL' : '✓ PASS'}</p>
<h1>${sentence(verdict(result))}</h1>
<p><b>${result.end}</b>: ${prose(result.endDetail || END_MEANS[result.end])}</p>
${result.shard.count > 1 ? html`<p class="quiet">Shard ${result.shard.index + 1} of ${result.shard.count}.</p>` : undefined}
</header>
<dl class="commands">
${commands.map(([name, text]) => (text === null ? html`` : html`<dt>${name}</dt><dd><code>${text}</code></dd>`))}
<dt>looked for</dt><dd>${result.oracles.map((oracle) => ORACLE_MEANS[oracle]).join('; ')}</dd>
</dl>`;
}

function countsSection(result: Result): Markup {
  return html`<section id="counts">
<h2>States</h2>
<div class="scroll"><table>
<thead><tr><th></th>${result.models.map((one) => html`<th title="${MODEL_MEANS[one.model]}">${one.model}</th>`)}</tr></thead>
<tbody>${COUNT_ROWS.map(
    ([name, text]) =>
      html`<tr><th>${name}</th>${result.models.map((one) => html`<td>${text(one)}</td>`)}</tr>\n`,
  )}</tbody>
</table></div>
<ul class="quiet">${result.models.map((one) => html`<li><b>${one.model}</b>: ${MODEL_MEANS[one.model]}</li>`)}</ul>
</section>`;
}

function lintsSection(lints: LintFinding[]): Markup {
  if (lints.length === 0) {
    return html`<section id="lints"><h2>Lints</h2><p class="quiet">None.</p></section>`;
  }
  return html`<section id="lints">
<h2>Lints</h2>
<ul class="lints">${lints.map(lintItem)}</ul>
</section>`;
}

function lintItem(one: LintFinding): Markup {
  const times = one.count > 1 ? html` <span class="quiet">(${one.count} times)</span>` : undefined;
  return html`<li><span class="badge ${one.severity}">${one.severity}</span>
<span>${prose(one.text)}${times}<br>
<span class="quiet"><code>${one.lint}</code> · <a href="#e${one.call.position}">${one.call.text}</a>
by pid ${one.call.pid}${one.call.command === '' ? '' : ` (${one.call.command})`}</span></span></li>
`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
