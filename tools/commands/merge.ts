/** `fauxdax merge`: joins the results of the shards of one exploration. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { MergeError, mergeResults } from '../../lib/crash/result/merge.js';
import { RESULT_VERSION, type Result } from '../../lib/crash/result/result.js';
import { addReportOptions, parseReportOptions, type ReportWords } from '../crash_options.js';
import { present } from '../exploration.js';
import { describeError, EXIT_USAGE, Failure } from '../failure.js';

export function mergeCommand(): Command {
  const command = new Command('merge')
    .description('join the results of shards, as --json wrote them')
    .argument('<FILE...>', 'one for each shard');
  return addReportOptions(command)
    .addHelpText(
      'after',
      `
Exit status: 0 no failure in any shard, 1 a failure, 2 files that do not belong together.

Example:
  fauxdax merge part1.json part2.json part3.json --report out.html`,
    )
    .action(merge);
}

function merge(files: string[], options: ReportWords): void {
  const reports = parseReportOptions(options);
  const results = files.map(readResult);
  let whole: Result;
  try {
    whole = mergeResults(results);
  } catch (error) {
    if (!(error instanceof MergeError)) throw error;
    throw new Failure(`merge: ${error.message}`, EXIT_USAGE);
  }
  process.exitCode = present(whole, reports, new Map());
}

function readResult(file: string): Result {
  let result: Partial<Result>;
  try {
    result = JSON.parse(readFileSync(file, 'utf8')) as Partial<Result>;
  } catch (error) {
    if (error instanceof SyntaxError) throw new Failure(`merge: ${file}: no JSON`, EXIT_USAGE);
    throw new Failure(`merge: ${describeError(error)}`, EXIT_USAGE);
  }
  const found = result.fauxdax?.result;
  if (found === RESULT_VERSION) return result as Result;
  const what = found === undefined ? 'no result of fauxdax' : `a result of version ${found}`;
  throw new Failure(`merge: ${file}: ${what}; this is version ${RESULT_VERSION}`, EXIT_USAGE);
}
