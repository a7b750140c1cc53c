/** `fauxdax explore`: explores a trace that was recorded before, on this machine or another. */
import { Command } from 'commander';
import { resolve } from 'node:path';
import {
  addExploreOptions,
  addReportOptions,
  EXPLORE_HELP,
  type ExploreWords,
  parseExploreOptions,
  parseReportOptions,
  type ReportWords,
} from '../crash_options.js';
import { exploreTrace } from '../exploration.js';
import { inRunDirectory } from '../run_directory.js';

export function exploreCommand(): Command {
  const command = new Command('explore')
    .description('explore what a power cut could have left of a recorded workload')
    .argument('<TRACE>', 'written by fauxdax record');
  addExploreOptions(command);
  addReportOptions(command);
  return command
    .addHelpText(
      'after',
      `${EXPLORE_HELP}

Examples:
  fauxdax explore /tmp/trace --check 'test ! -e a || grep -q 1 a'
  fauxdax explore /tmp/trace --check json:conf.json --model all --shard 2/8 --json part2.json`,
    )
    .action(explore);
}

async function explore(trace: string, options: ExploreWords & ReportWords): Promise<void> {
  const wishes = parseExploreOptions(options, process.env);
  const reports = parseReportOptions(options);
  await inRunDirectory((run) => exploreTrace(resolve(trace), wishes, reports, run));
}
