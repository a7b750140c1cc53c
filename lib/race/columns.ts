/**
 * A schedule as the mails of the kernel's lists write one: a column for each CPU, time going down.
 */
import type { Story } from './story.js';

const WIDTH_MAX = 100;
const GAP = 2;

/** Lines of at most about 100 characters; ends with the invariant that broke. */
export function columnsText(story: Story): string {
  const count = story.columns.length;
  const width = Math.floor((WIDTH_MAX - GAP * (count - 1)) / count);
  const lines: string[] = [];
  const row = (column: number, text: string, indent: number) => {
    for (const part of wrap(text, width - indent)) {
      const before = ' '.repeat(column * (width + GAP) + indent);
      lines.push(`${before}${part}`.trimEnd());
    }
  };
  const heads = story.columns.map(({ name, process }) => `${name} (${process})`);
  lines.push(
    heads
      .map((head) => head.padEnd(width + GAP))
      .join('')
      .trimEnd(),
  );
  lines.push(
    heads
      .map((head) => '-'.repeat(head.length).padEnd(width + GAP))
      .join('')
      .trimEnd(),
  );
  for (const { column, label, notes } of story.steps) {
    row(column, label, 0);
    for (const note of notes) row(column, note, 2);
  }
  if (story.cut !== undefined) lines.push('', ...wrap(story.cut, WIDTH_MAX));
  if (story.violation !== undefined) {
    const { invariant, message } = story.violation;
    lines.push('', ...wrap(`${invariant}: ${message}`, WIDTH_MAX));
  }
  return `${lines.join('\n')}\n`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = `  ${word}`;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines;
}
