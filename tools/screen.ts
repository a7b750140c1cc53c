/**
 * What a person reads: tables and colour. Colour only where stdout is a terminal and NO_COLOR is
 * unset (picocolors decides); tables have no borders, so that they can be cut and grepped.
 */
import Table from 'cli-table3';
import pc from 'picocolors';

export const color = pc.createColors(
  process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined,
);

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Numbers go right, words left; `head` is dimmed. Ends with a newline. */
export function table(head: string[], rows: (string | number)[][]): string {
  const aligns = head.map((_, column) =>
    rows.length > 0 && rows.every((row) => typeof row[column] === 'number') ? 'right' : 'left',
  );
  const made = new Table({
    head: head.map((title) => color.dim(title)),
    chars: NO_BORDERS,
    colAligns: aligns as ('left' | 'right')[],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  for (const row of rows) made.push(row.map(String));
  return trimLines(made.toString());
}

/** `name  value` lines under a heading. */
export function section(title: string, rows: [string, string | number][]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `  ${color.dim(name.padEnd(width))}  ${value}`);
  return `${[color.bold(title), ...lines].join('\n')}\n`;
}

/** `1 row`, `2 rows`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

function trimLines(text: string): string {
  return `${text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
}
