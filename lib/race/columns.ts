/**
 * A schedule as the mails of the kernel's lists write one: a column for each CPU, time going down,
 * and the number of each step before it.
 */
import type { Story, StoryStep } from './story.js';
import { wrapWords } from './wrap.js';

/** What is told of one. */
export interface Told extends Pick<Story, 'columns' | 'violation' | 'cut'> {
  readonly steps: readonly Pick<StoryStep, 'column' | 'label' | 'notes'>[];
}

const WIDTH_MAX = 100;
const GAP = 2;

/** Lines of at most about 100 characters; ends with the invariant that broke. */
export function columnsText(story: Told): string {
  const count = story.columns.length;
  const numbers = String(story.steps.length).length + 1;
  const width = Math.floor((WIDTH_MAX - numbers - GAP * (count - 1)) / count);
  const lines: string[] = [];
  const row = (column: number, text: string, indent: number, number = '') => {
    for (const [at, part] of wrapWords(text, width - indent).entries()) {
      const before = ' '.repeat(column * (width + GAP) + indent);
      lines.push(`${(at === 0 ? number : '').padEnd(numbers)}${before}${part}`.trimEnd());
    }
  };
  const head = (texts: string[]) => {
    const padded = texts.map((text) => text.padEnd(width + GAP)).join('');
    lines.push(`${' '.repeat(numbers)}${padded}`.trimEnd());
  };
  const heads = story.columns.map(({ name, process }) => `${name} (${process})`);
  head(heads);
  head(heads.map((text) => '-'.repeat(text.length)));
  for (const [index, { column, label, notes }] of story.steps.entries()) {
    row(column, label, 0, String(index + 1));
    for (const note of notes) row(column, note, 2);
  }
  if (story.cut !== undefined) lines.push('', ...wrapWords(story.cut, WIDTH_MAX));
  if (story.violation !== undefined) {
    const { invariant, message } = story.violation;
    lines.push('', ...wrapWords(`${invariant}: ${message}`, WIDTH_MAX));
  }
  return `${lines.join('\n')}\n`;
}
