/**
 * The summary that `test`, `explore` and `merge` print: the verdict first, then each failure in
 * words with what is needed and how to see it again, the counts, the lints, and last what the run
 * did not cover. Colour as tools/screen.ts decides.
 */
import type { FailureResult, LintFinding, Result } from '../../lib/crash/result/result.js';
import { color, plural, table } from '../screen.js';
import { visible, visibleLines } from './visible.js';
import {
  COUNT_ROWS,
  describeOutcome,
  describeVerified,
  UNKNOWN_NEED,
  whatHappened,
  END_MEANS,
  verdict,
} from './words.js';

const LINTS_SHOWN_MAX = 8;
const OUTPUT_LINES_MAX = 6;
const WIDTH = 96;
const SEVERITY_WIDTH = 'warning'.length;

/** Ends with a newline. @param savedIn where failures were saved, by id */
export function terminalSummary(result: Result, savedIn: ReadonlyMap<string, string>): string {
  const failed = result.failures.length > 0;
  const mark = failed ? color.red('✗ FAIL') : color.green('✓ PASS');
  const parts = [`${mark}  ${color.bold(verdict(result))}`];
  for (const failure of result.failures) parts.push(describeFailure(failure, savedIn));
  parts.push(countsTable(result));
  if (result.lints.length > 0) parts.push(lintLines(result.lints));
  parts.push(endLines(result));
  return `${parts.map((part) => part.trimEnd()).join('\n\n')}\n`;
}

function describeFailure(failure: FailureResult, savedIn: ReadonlyMap<string, string>): string {
  const { id, explanation, outcome } = failure;
  const under = `${failure.oracle}, ${failure.models.join(', ')}`;
  const lines = [
    `${color.red(color.bold(id))}  ${visible(failure.summary)} ${color.dim(`(${under})`)}`,
    ...indented(whatHappened(failure)),
    ...indented(`Needs: ${explanation.needs || UNKNOWN_NEED}`).map((line) => color.yellow(line)),
    ...indented(describeVerified(failure)),
  ];
  if (outcome !== null) {
    const output = said(outcome);
    const how = describeOutcome(outcome);
    lines.push(
      ...indented(output.length > 0 ? `${how}:` : `${how}, and printed nothing`),
      ...output,
    );
  }
  const saved = savedIn.get(id);
  lines.push(`  see it again: ${color.cyan(`fauxdax replay ${id}`)}   look around: --shell`);
  if (saved !== undefined) lines.push(color.dim(`  saved in ${visible(saved)}`));
  if (failure.similar > 1) {
    lines.push(color.dim(`  ${plural(failure.similar, 'state')} failed in the same way`));
  }
  return lines.join('\n');
}

/** The last lines of what the check printed: where programs say what is wrong. */
function said({ stdout, stderr }: { stdout: string; stderr: string }): string[] {
  const lines = visibleLines(`${stdout.trimEnd()}\n${stderr.trimEnd()}`)
    .split('\n')
    .filter((line) => line.trim() !== '');
  const shown = lines.slice(-OUTPUT_LINES_MAX).map((line) => color.dim(`  | ${line}`));
  return lines.length > shown.length ? [color.dim('  | ...'), ...shown] : shown;
}

function countsTable(result: Result): string {
  const head = ['', ...result.models.map((one) => one.model)];
  const rows = COUNT_ROWS.map(([name, text]) => [name, ...result.models.map(text)]);
  return table(head, rows);
}

function lintLines(lints: LintFinding[]): string {
  const shown = lints.slice(0, LINTS_SHOWN_MAX);
  const lines = shown.flatMap((one) => {
    const [first = '', ...rest] = indented(lintText(one), WIDTH - SEVERITY_WIDTH - 2);
    return [
      `  ${severity(one)}${first}`,
      ...rest.map((line) => line.padStart(line.length + SEVERITY_WIDTH + 2)),
    ];
  });
  const more = lints.length - shown.length;
  if (more > 0) lines.push(color.dim(`  ${more} more in the report`));
  return [color.bold('lints'), ...lines].join('\n');
}

/** One line however long, so that it can be grepped. */
export function lintLine(one: LintFinding): string {
  return `${severity(one)}  ${lintText(one)}`;
}

function severity(one: LintFinding): string {
  const paint = { error: color.red, warning: color.yellow, note: color.dim }[one.severity];
  return paint(one.severity.padEnd(SEVERITY_WIDTH));
}

function lintText(one: LintFinding): string {
  const times = one.count > 1 ? ` (${one.count} times)` : '';
  return `${visible(one.text)}${times} [${one.lint}]`;
}

function endLines(result: Result): string {
  const [first = '', ...more] = indented(
    `${result.end}: ${result.endDetail || END_MEANS[result.end]}`,
  );
  const lines = [first.trimStart().replace(result.end, color.bold(result.end)), ...more];
  if (result.shard.count > 1) {
    lines.push(
      color.dim(`shard ${result.shard.index + 1} of ${result.shard.count}: join with merge`),
    );
  }
  return lines.join('\n');
}

/** Wrapped at words; each line of the text is a paragraph. */
function indented(text: string, width = WIDTH): string[] {
  const lines: string[] = [];
  for (const paragraph of visibleLines(text).split('\n')) {
    let line = ' ';
    for (const word of paragraph.split(' ')) {
      if (line.length + word.length >= width && line.trim() !== '') {
        lines.push(line);
        line = ' ';
      }
      line += ` ${word}`;
    }
    lines.push(line);
  }
  return lines;
}
