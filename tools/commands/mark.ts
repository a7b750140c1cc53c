/**
 * `fauxdax mark`: a line of the workload's own in the trace, `$FAUXDAX_MARK`, placed among its
 * calls. Elsewhere than in a recorded workload it does nothing, so that scripts may keep it.
 */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { UsageError } from '../../fs/options.js';

export function markCommand(): Command {
  return new Command('mark')
    .description('put a line into the trace of the workload that runs this')
    .argument('<TEXT>', 'one line')
    .addHelpText(
      'after',
      `
The same without starting a program: echo TEXT > "$FAUXDAX_MARK"

Example:
  fauxdax record -o /tmp/trace --workload 'echo 1 > a; fauxdax mark "a is written"; sync a'`,
    )
    .action(mark);
}

function mark(text: string): void {
  if (/[\r\n]/.test(text)) throw new UsageError('mark: the text is more than one line');
  const path = process.env['FAUXDAX_MARK'];
  if (path === undefined || path === '') return;
  writeFileSync(path, `${text}\n`, { flag: 'a' });
}
