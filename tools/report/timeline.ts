/**
 * The recorded run as the HTML report draws it: an overview, one lane for each kind of event, and
 * under it the list of events in their order. Distance in the overview is order, not time: what
 * matters lies close together in time. Kinds are hidden by the check boxes, which need no script.
 */
import type { Result, TimelineEntry } from '../../lib/crash/result/result.js';
import { html, type Markup } from './markup.js';
import { plural } from '../screen.js';
import type { CallText } from '../../lib/trace/call_text.js';

const LANES: [TimelineEntry['kind'], string][] = [
  ['call', 'calls'],
  ['sync', 'syncs'],
  ['output', 'output'],
  ['crash-point', 'crash points'],
];
/** Units of the overview's own coordinates; it is stretched to the width there is. */
const OVERVIEW_WIDTH = 1000;
const LANE_HEIGHT = 14;
const MARK_HEIGHT = 10;
const MARK_WIDTH_MAX = 12;

export function timelineSection(result: Result): Markup {
  const { entries, thinned } = result.timeline;
  const marks = new Marks(result);
  const present = LANES.filter(([kind]) => entries.some((entry) => entry.kind === kind));
  return html`<section id="timeline">
<h2>Timeline</h2>
<p class="quiet">${plural(entries.length, 'event')} in their order${
    thinned === 0 ? '' : `; ${thinned} of no consequence left out`
  }. Calls that a failure names are marked
<span class="badge lost">lost</span> or <span class="badge survived">survived</span>.</p>
${overview(entries, present, marks)}
<p class="kinds">${present.map(
    ([kind, name]) =>
      html`<label><input type="checkbox" checked id="show-${kind}"> ${name}</label> `,
  )}</p>
<ol class="entries">
${entries.map((entry) => item(entry, marks))}</ol>
</section>`;
}

interface Mark {
  name: 'lost' | 'survived' | 'found';
  /** The failures that say so. */
  ids: string[];
}

/** What failures say about entries: calls by their id, crash points by their position. */
class Marks {
  readonly #calls = new Map<number, Mark>();
  readonly #points = new Map<number, Mark>();

  constructor(result: Result) {
    for (const { id, explanation, choice } of result.failures) {
      // A call that one failure lost is drawn as lost, whatever else survived it.
      for (const call of explanation.lost) note(this.#calls, call.callId, 'lost', id);
      for (const call of explanation.survived) note(this.#calls, call.callId, 'survived', id);
      note(this.#points, choice.position, 'found', id);
    }
  }

  of(entry: TimelineEntry): Mark | undefined {
    if (entry.kind === 'output') return undefined;
    if (entry.kind === 'crash-point') return this.#points.get(entry.position);
    return this.#calls.get(entry.callId);
  }
}

function note(marks: Map<number, Mark>, key: number, name: Mark['name'], id: string): void {
  const mark = marks.get(key);
  if (mark === undefined) marks.set(key, { name, ids: [id] });
  else if (mark.name === name && !mark.ids.includes(id)) mark.ids.push(id);
  else if (name === 'lost') marks.set(key, { name, ids: [id] });
}

function overview(
  entries: TimelineEntry[],
  lanes: [TimelineEntry['kind'], string][],
  marks: Marks,
): Markup {
  const step = OVERVIEW_WIDTH / Math.max(entries.length, 1);
  const width = Math.min(step * 0.8, MARK_WIDTH_MAX);
  const rects = entries.map((entry, index) => {
    const lane = lanes.findIndex(([kind]) => kind === entry.kind);
    const y = lane * LANE_HEIGHT + (LANE_HEIGHT - MARK_HEIGHT) / 2;
    const x = (index + 0.5) * step - width / 2;
    return html`<rect class="${classOf(entry, marks)}" x="${x.toFixed(2)}" y="${y}" width="${width.toFixed(2)}" height="${MARK_HEIGHT}"><title>${textOf(entry)}</title></rect>
`;
  });
  const height = lanes.length * LANE_HEIGHT;
  return html`<div class="overview">
<div class="lanes">${lanes.map(([, name]) => html`<span>${name}</span>`)}</div>
<svg viewBox="0 0 ${OVERVIEW_WIDTH} ${height}" preserveAspectRatio="none" role="img"
aria-label="events by kind, in their order">
${rects}</svg>
</div>`;
}

function classOf(entry: TimelineEntry, marks: Marks): string {
  const mark = marks.of(entry)?.name ?? '';
  if (entry.kind !== 'crash-point') return `${entry.kind} ${mark}`.trim();
  const verdict = entry.failed > 0 ? 'failing' : entry.passed > 0 ? 'passing' : 'unrun';
  return `crash-point ${verdict} ${mark}`.trim();
}

function item(entry: TimelineEntry, marks: Marks): Markup {
  const mark = marks.of(entry);
  const badges = mark?.ids.map(
    (id) => html` <a class="badge ${mark.name}" href="#f-${id}">${mark.name} · ${id}</a>`,
  );
  return html`<li class="${classOf(entry, marks)}" id="e${entry.position}">
<span class="time">${(entry.timeNs / 1e6).toFixed(3)} ms</span>
<span class="what">${icon(entry)} ${textOf(entry)}${badges}</span>${who(entry)}</li>
`;
}

function icon(entry: TimelineEntry): string {
  return { call: '·', sync: '↓', output: '»', 'crash-point': '⚡' }[entry.kind];
}

function textOf(entry: TimelineEntry): string {
  if (entry.kind === 'output') return entry.stream === 'mark' ? `mark: ${entry.text}` : entry.text;
  if (entry.kind !== 'crash-point') return entry.text;
  if (entry.passed + entry.failed === 0) return 'not run';
  const passed = `${entry.passed} passed`;
  return entry.failed === 0 ? passed : `${entry.failed} failed, ${passed}`;
}

function who(entry: TimelineEntry): Markup | undefined {
  if (entry.kind === 'output' || entry.kind === 'crash-point') return undefined;
  return html`<span class="who">${writer(entry)}</span>`;
}

/** The process of a call; the kernel writes back for nobody in particular. */
export function writer(call: CallText): string {
  if (call.pid === 0) return 'kernel';
  return call.command === '' ? `pid ${call.pid}` : `${call.command} (${call.pid})`;
}
