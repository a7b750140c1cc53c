/**
 * One failure in the HTML report: what happened in words, the order that was missing as steps, the
 * output of the check, and for each file that differs the lost lines over its pages and the bytes
 * wanted and found.
 */
import type { FailureResult, FileDifference, Timeline } from '../../lib/crash/result/result.js';
import { html, type Markup, preformatted, prose } from './markup.js';
import { differenceOf } from './difference.js';
import { writer } from './timeline.js';
import { describeOutcome, describeVerified, whatHappened, UNKNOWN_NEED } from './words.js';
import { plural } from '../screen.js';
import type { CallText } from '../../lib/trace/call_text.js';

const CHOICE_LINES_MAX = 24;

export function failureSection(failure: FailureResult, timeline: Timeline): Markup {
  const { id, explanation } = failure;
  return html`<section class="failure" id="f-${id}">
<h2>${prose(failure.summary)}</h2>
<p class="badges"><code class="id">${id}</code> <span class="badge error">${failure.oracle}</span>
${failure.models.map((model) => html`<span class="badge">${model}</span> `)}${
  failure.similar > 1
    ? html`<span class="quiet">${plural(failure.similar, 'state')} failed in the same way</span>`
    : undefined
}</p>
<p class="explanation">${prose(whatHappened(failure))}</p>
${steps(failure, timeline)}
<p class="needs"><b>Needs:</b> ${prose(explanation.needs || UNKNOWN_NEED)}<br><span class="quiet">${describeVerified(failure)}</span></p>
${outcomeBlock(failure)}
${failure.files.map(fileBlock)}
<h3>Again</h3>
<pre class="command">fauxdax replay ${id}
fauxdax replay ${id} --shell   # look around in the state</pre>
${choiceDetails(failure)}
</section>
`;
}

interface Step {
  position: number;
  kind: 'lost' | 'survived' | 'missing' | 'said' | 'crash';
  text: string;
  who: string;
}

/**
 * The calls that were lost and those that survived in the order they were made, the step that was
 * missing between them, and the cut.
 */
function steps(failure: FailureResult, timeline: Timeline): Markup {
  const { lost, survived, needs } = failure.explanation;
  const all = [
    ...lost.map((call) => step(call, 'lost')),
    ...survived.map((call) => step(call, 'survived')),
  ];
  const firstLost = Math.min(...lost.map((call) => call.position));
  const acknowledged = timeline.entries.findLast(
    (entry) =>
      entry.kind === 'output' &&
      entry.position > firstLost &&
      entry.position <= failure.choice.position,
  );
  if (acknowledged?.kind === 'output') {
    all.push({ position: acknowledged.position, kind: 'said', text: acknowledged.text, who: '' });
  }
  all.sort((a, b) => a.position - b.position);
  const dependent = all.findIndex((one) => one.kind !== 'lost' && one.position > firstLost);
  const missing: Step = { position: 0, kind: 'missing', text: needs, who: '' };
  if (needs !== '') all.splice(dependent < 0 ? all.length : dependent, 0, missing);
  const cut = { position: failure.choice.position, text: 'the power is cut', who: '' };
  all.push({ ...cut, kind: 'crash' });
  return html`<ol class="steps">
${all.map(
  (
    one,
  ) => html`<li class="${one.kind}"><span class="badge ${one.kind}">${STEP_WORDS[one.kind]}</span>
<span class="what">${one.kind === 'missing' ? prose(one.text) : one.text}</span>${one.who === '' ? undefined : html`<span class="who">${one.who}</span>`}</li>
`,
)}</ol>`;
}

const STEP_WORDS: Record<Step['kind'], string> = {
  lost: 'lost',
  survived: 'survived',
  missing: 'missing',
  said: 'said',
  crash: '⚡',
};

function step(call: CallText, kind: Step['kind']): Step {
  return { position: call.position, kind, text: call.text, who: writer(call) };
}

function outcomeBlock({ outcome }: FailureResult): Markup | undefined {
  if (outcome === null) return undefined;
  const said = [outcome.stdout, outcome.stderr].filter((text) => text.trim() !== '');
  return html`<h3>Output</h3>
<p>${describeOutcome(outcome)}${said.length === 0 ? ', and printed nothing' : ''}.</p>
${said.map((text) => html`<pre class="output">${preformatted(text.trimEnd())}</pre>`)}`;
}

function fileBlock(file: FileDifference): Markup {
  const size = (bytes: number | null): string => (bytes === null ? 'not there' : `${bytes} bytes`);
  return html`<h3><code>${file.path}</code></h3>
<p class="sizes">expected ${size(file.sizeWanted)}, found ${size(file.sizeFound)}</p>
${differenceOf(file)}`;
}

function choiceDetails(failure: FailureResult): Markup {
  const { choice } = failure;
  const lines = choice.lines.slice(0, CHOICE_LINES_MAX).map(([line, value]) => `${line}=${value}`);
  const more = choice.lines.length > lines.length ? ' ...' : '';
  const depth = choice.nested === undefined ? '' : '; with a crash inside the recovery';
  return html`<details><summary>The state by its name</summary>
<dl class="commands">
<dt>model</dt><dd>${choice.model}, after event ${choice.position}${depth}</dd>
<dt>operations lost</dt><dd>${choice.lostOperations.join(' ') || 'none'}</dd>
<dt>lines=value</dt><dd>${lines.join(' ') || 'none'}${more}; all others ${choice.otherLines}</dd>
<dt>image</dt><dd><code>${failure.imageHash}</code></dd>
</dl></details>`;
}
