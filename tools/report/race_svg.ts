/**
 * A counterexample of the race lab as one drawing: a lane for each thread, time going down, and beside
 * each step what it changed of maps, page tables, TLBs, entries and bytes. It is plain SVG, the same
 * bytes for the same story; lengths are pixels, text is measured in characters of one width.
 */
import type { Cell, Picture, Strip } from '../../lib/race/picture.js';
import type { Story, StoryStep } from '../../lib/race/story.js';
import { wrapWords } from '../../lib/race/wrap.js';
import { html, Markup } from './markup.js';

const CHARACTER = 7.25;
const LINE = 16;
const PAD = 8;
const GAP = 12;
const NUMBERS = 30;
const LANE = 236;
const PANEL = 452;

const SVG_STYLE = `
text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1b1f24; }
.page { fill: #ffffff; } .quiet { fill: #59626e; } .strong { font-weight: 700; }
.rule { stroke: #d5dae1; } .name { font-size: 11px; fill: #59626e; }
.lane0 { fill: #e3edfb; } .lane1 { fill: #fcefcf; } .lane2 { fill: #e2f3e7; } .lane3 { fill: #e3e7ec; }
.zero { fill: #eef0f3; stroke: #b4bcc7; } .region { fill: #e3edfb; stroke: #0b57b8; }
.store { fill: #fcefcf; stroke: #b07600; } .plain { fill: none; stroke: #d5dae1; }
.held { fill: #f3e6fb; stroke: #7a3aa8; } .broke { fill: #fbe6e4; stroke: #b3261e; }
@media (prefers-color-scheme: dark) {
text { fill: #e3e6ea; } .page { fill: #121418; } .quiet, .name { fill: #9ca6b3; } .rule { stroke: #343a44; }
.lane0 { fill: #1a2c48; } .lane1 { fill: #3a2d10; } .lane2 { fill: #17331f; } .lane3 { fill: #333a45; }
.zero { fill: #262b33; stroke: #5a6472; } .region { fill: #1a2c48; stroke: #8db8fb; }
.store { fill: #3a2d10; stroke: #f0c35e; } .plain { stroke: #343a44; }
.held { fill: #33203f; stroke: #c99aec; } .broke { fill: #42201e; stroke: #ff8b82; } }
`;

/** A block of the drawing, at its own origin. */
interface Block {
  readonly height: number;
  readonly at: (x: number, y: number) => Markup[];
}

export function storySvg(title: string, story: Story): string {
  const { columns, steps, violation, cut } = story;
  const panelX = NUMBERS + columns.length * (LANE + GAP);
  const width = panelX + PANEL + PAD;
  const drawn: Markup[] = [];
  let y = PAD;

  for (const [column, { name, process }] of columns.entries()) {
    const lines = [{ text: `${name} (${process})`, kind: 'strong' }];
    drawn.push(...textBlock(lines, LANE, `lane${column % 4}`).at(laneX(column), y));
  }
  y += 2 * PAD + LINE + GAP;
  let before: Picture = [];
  const row = (number: string, step: StoryStep | undefined, picture: Picture) => {
    const left = step === undefined ? undefined : stepBlock(step);
    const right = stripsBlock(changed(picture, before));
    before = picture;
    const top = y;
    drawn.push(text(PAD, top + PAD + LINE - 4, number, 'quiet'));
    if (left !== undefined) drawn.push(...left.at(laneX(step!.column), top));
    drawn.push(...right.at(panelX, top));
    y += Math.max(left?.height ?? LINE, right.height) + GAP;
    drawn.push(
      html`<line class="rule" x1="${PAD}" x2="${width - PAD}" y1="${y - GAP / 2}" y2="${y - GAP / 2}"/>\n`,
    );
  };
  row('', undefined, story.before);
  for (const [index, step] of steps.entries()) row(String(index + 1), step, step.after);

  const ends = [
    cut,
    violation === undefined ? undefined : `${violation.invariant}: ${violation.message}`,
  ];
  for (const end of ends) {
    if (end === undefined) continue;
    const block = textBlock(wrapped(end, width - 2 * PAD, 'strong'), width - 2 * PAD, 'broke');
    drawn.push(...block.at(PAD, y));
    y += block.height + GAP;
  }
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img">
<title>${title}</title>
<style>${new Markup(SVG_STYLE)}</style>
<rect class="page" width="${width}" height="${y}" rx="8"/>
${drawn}</svg>
`.text;
}

/** The strips of a picture that are not as they were. */
export function changed(picture: Picture, before: Picture): Strip[] {
  const was = new Map(before.map((strip) => [strip.name, JSON.stringify(strip.cells)]));
  return picture.filter(({ name, cells }) => {
    const old = was.get(name);
    if (old === undefined) return cells.length > 0;
    return old !== JSON.stringify(cells);
  });
}

function laneX(column: number): number {
  return NUMBERS + column * (LANE + GAP);
}

interface Line {
  readonly text: string;
  readonly kind: string;
}

function stepBlock({ column, label, notes }: StoryStep): Block {
  const lines = [
    ...wrapped(label, LANE, 'strong'),
    ...notes.flatMap((note) => wrapped(note, LANE, 'quiet')),
  ];
  return textBlock(lines, LANE, `lane${column % 4}`);
}

function stripsBlock(strips: readonly Strip[]): Block {
  const blocks = strips.map(stripBlock);
  const height = blocks.reduce((sum, block) => sum + block.height, 0);
  return {
    height,
    at: (x, y) => {
      let top = y;
      return blocks.flatMap((block) => {
        const made = block.at(x, top);
        top += block.height;
        return made;
      });
    },
  };
}

function stripBlock({ name, cells }: Strip): Block {
  const shown: readonly Cell[] = cells.length > 0 ? cells : [{ text: 'nothing', kind: 'plain' }];
  const blocks = shown.map(({ text: words, kind }) => {
    const lines = wrapped(words, PANEL, '');
    const width = Math.max(...lines.map((line) => line.text.length)) * CHARACTER + 2 * PAD;
    return { width, block: textBlock(lines, width, kind) };
  });
  const places: { x: number; y: number }[] = [];
  let [x, y, rowHeight] = [0, LINE, 0];
  for (const { width, block } of blocks) {
    if (x > 0 && x + width > PANEL) [x, y, rowHeight] = [0, y + rowHeight + 4, 0];
    places.push({ x, y });
    x += width + 6;
    rowHeight = Math.max(rowHeight, block.height);
  }
  return {
    height: y + rowHeight + 6,
    at: (left, top) => [
      text(left, top + LINE - 5, name, 'name'),
      ...blocks.flatMap(({ block }, at) => block.at(left + places[at]!.x, top + places[at]!.y)),
    ],
  };
}

function textBlock(lines: readonly Line[], width: number, kind: string): Block {
  const height = lines.length * LINE + PAD;
  return {
    height,
    at: (x, y) => [
      html`<rect class="${kind}" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}" rx="5"/>\n`,
      ...lines.map((line, at) => text(x + PAD, y + (at + 1) * LINE - 1, line.text, line.kind)),
    ],
  };
}

function wrapped(words: string, width: number, kind: string): Line[] {
  const characters = Math.floor((width - 2 * PAD) / CHARACTER);
  return wrapWords(words, characters).map((line) => ({ text: line, kind }));
}

/** Spaces at the beginning of a line are kept as width. */
function text(x: number, y: number, words: string, kind: string): Markup {
  const indent = words.length - words.trimStart().length;
  const left = round(x + indent * CHARACTER);
  return html`<text class="${kind}" x="${left}" y="${round(y)}">${words.trimStart()}</text>\n`;
}

function round(length: number): number {
  return Math.round(length * 10) / 10;
}
