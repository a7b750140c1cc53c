/**
 * How a file in a crash state differs from the one wanted: its pages as rows of 64 cells, one for
 * each 64-byte line, the differing ones filled; and the first bytes of both in hex, 8 a row.
 */
import type { FileDifference } from '../../lib/crash/result/result.js';
import { LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES } from '../../lib/units.js';
import { html, type Markup } from './markup.js';
import { plural } from '../screen.js';

const ROW_BYTES = 8;
const PAGES_SHOWN_MAX = 24;
const CELL = 10;

export function differenceOf(file: FileDifference): Markup {
  return html`${pageMap(file)}${hexTable(file)}`;
}

function pageMap(file: FileDifference): Markup | undefined {
  if (file.lines.length === 0) return undefined;
  const pages = new Map<number, number[]>();
  for (const line of file.lines) {
    const page = Math.floor(line / LINES_PER_PAGE);
    const lines = pages.get(page);
    if (lines === undefined) pages.set(page, [line % LINES_PER_PAGE]);
    else lines.push(line % LINES_PER_PAGE);
  }
  const shown = [...pages].slice(0, PAGES_SHOWN_MAX);
  const sizeBytes = Math.max(file.sizeWanted ?? 0, file.sizeFound ?? 0);
  const hidden = pages.size - shown.length;
  return html`<figure class="pages">
<figcaption>${plural(file.lines.length, 'line')} of 64 bytes ${file.lines.length === 1 ? 'differs' : 'differ'}${
    hidden === 0 ? '' : `; ${plural(hidden, 'more page')} not drawn`
  }</figcaption>
<table>${shown.map(
    ([page, lines]) => html`<tr><th>page ${page}</th><td>${cells(page, lines, sizeBytes)}</td></tr>
`,
  )}</table>
</figure>`;
}

/** One page: a cell a line; lines behind the end of the file are not drawn. */
function cells(page: number, lines: number[], sizeBytes: number): Markup {
  const bytes = Math.min(PAGE_BYTES, sizeBytes - page * PAGE_BYTES);
  const count = Math.max(Math.ceil(bytes / LINE_BYTES), (lines.at(-1) ?? 0) + 1);
  const differing = new Set(lines);
  const rects = Array.from({ length: count }, (_, line) => {
    const name = differing.has(line) ? 'differs' : 'same';
    return html`<rect class="${name}" x="${line * CELL + 0.5}" y="0.5" width="${CELL - 1}" height="${CELL * 2 - 1}"/>`;
  });
  const label = `lines ${[...differing].join(' ')} differ`;
  return html`<svg viewBox="0 0 ${LINES_PER_PAGE * CELL} ${CELL * 2}" preserveAspectRatio="none" role="img" aria-label="${label}">${rects}</svg>`;
}

function hexTable(file: FileDifference): Markup | undefined {
  const wanted = Buffer.from(file.wantedHex, 'hex');
  const found = Buffer.from(file.foundHex, 'hex');
  const lengthBytes = Math.max(wanted.length, found.length);
  if (lengthBytes === 0) return undefined;
  const rows: Markup[] = [];
  let skipped = 0;
  for (let at = 0; at < lengthBytes; at += ROW_BYTES) {
    const left = wanted.subarray(at, at + ROW_BYTES);
    const right = found.subarray(at, at + ROW_BYTES);
    if (left.equals(right)) {
      skipped += left.length;
      continue;
    }
    if (skipped > 0) rows.push(skipRow(skipped));
    skipped = 0;
    const offset = (file.offset + at).toString(16).padStart(6, '0');
    rows.push(
      html`<tr><th>${offset}</th><td>${bytesOf(left, right)}</td><td>${bytesOf(right, left)}</td></tr>
`,
    );
  }
  if (skipped > 0) rows.push(skipRow(skipped));
  return html`<div class="scroll"><table class="hex">
<thead><tr><th>offset</th><th>expected</th><th>found</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

function skipRow(bytes: number): Markup {
  return html`<tr class="quiet"><td></td><td colspan="2">${plural(bytes, 'equal byte')}</td></tr>
`;
}

/** Hex and text of one side of a row; what differs from the other side is marked. */
function bytesOf(bytes: Buffer, other: Buffer): Markup {
  if (bytes.length === 0) return html`<span class="quiet">end of file</span>`;
  const mark = (index: number, text: string): Markup =>
    bytes[index] === other[index] ? html`${text}` : html`<mark>${text}</mark>`;
  const hex = [...bytes].map((byte, index) => {
    const text = byte.toString(16).padStart(2, '0');
    return html`${mark(index, text)} `;
  });
  const text = [...bytes].map((byte, index) => {
    return mark(index, byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.');
  });
  return html`<span class="bytes">${hex}</span><span class="text">${text}</span>`;
}
