/** `fauxdax lint`: orders in a trace that a crash can break, found without running a check. */
import { Command } from 'commander';
import { lint } from '../../lib/crash/lint/lint.js';
import { lintLine } from '../report/terminal.js';
import { plural, printJson } from '../screen.js';
import { EXIT_REFUSED, openTrace } from '../trace_file.js';

const EXIT_FOUND = 1;

export function lintCommand(): Command {
  return new Command('lint')
    .description('find orders in a trace that a crash can break, without running a check')
    .argument('<TRACE>', 'written by fauxdax record')
    .option('--json', 'print [{"lint","severity","text","path","call","count"}]')
    .addHelpText(
      'after',
      `
  acknowledged-before-durable  a line was printed before what came before it was durable
  rename-before-data           a file was renamed before its data was durable
  name-not-synced              a name was changed and its directory not forced
  overwrite-before-durable     bytes that others rely on were overwritten before they were durable
  redundant-sync               a sync with nothing to do
  redundant-flush              a flush of bytes of a mapping that did not change since the last
  redundant-drain              a drain of a thread that flushed nothing since its last

Notes are no findings: what only POSIX asks for, and what only costs time.

Exit status: 0 no error or warning, 1 errors or warnings, 2 usage, 3 the trace is refused.

Example:
  fauxdax lint /tmp/trace`,
    )
    .action(run);
}

function run(path: string, options: { json?: true }): void {
  const reader = openTrace(path, EXIT_REFUSED);
  try {
    const findings = lint(reader);
    const count = findings.filter((one) => one.severity !== 'note').length;
    if (count > 0) process.exitCode = EXIT_FOUND;
    if (options.json === true) {
      printJson(findings);
      return;
    }
    for (const finding of findings) process.stdout.write(`${lintLine(finding)}\n`);
    const notes = findings.length - count;
    const noted = notes === 0 ? '' : `, ${plural(notes, 'note')}`;
    process.stdout.write(`${path}: ${count === 0 ? 'clean' : plural(count, 'finding')}${noted}\n`);
  } finally {
    reader.close();
  }
}
