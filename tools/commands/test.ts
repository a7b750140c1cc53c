/** `fauxdax test`: records a workload, explores what a power cut could leave, says what broke. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import {
  addExploreOptions,
  addRecordOptions,
  addReportOptions,
  EXPLORE_HELP,
  type ExploreWords,
  parseExploreOptions,
  parseRecordOptions,
  parseReportOptions,
  type RecordWords,
  type ReportWords,
} from '../crash_options.js';
import { assertModels, exploreTrace } from '../exploration.js';
import { ProgressLine } from '../progress.js';
import { record, recordedOptions } from '../recording.js';
import { inRunDirectory } from '../run_directory.js';
import { addTraceOption, parseTraceOption, type TraceWords } from './record.js';

type Options = RecordWords & ExploreWords & ReportWords & Partial<TraceWords>;

export function testCommand(): Command {
  const command = new Command('test').description(
    'can a crash break a program? record and explore',
  );
  addRecordOptions(command);
  addExploreOptions(command);
  addReportOptions(command);
  addTraceOption(command, false);
  return command
    .addHelpText(
      'after',
      `${EXPLORE_HELP}

Examples:
  fauxdax test --workload 'echo 1 > a.tmp; mv a.tmp a' --check 'test ! -e a || grep -q 1 a' --model posix
  fauxdax test --setup 'sqlite3 x.db "create table t (n)"' --check sqlite:x.db \\
    --workload 'sqlite3 x.db "insert into t values (1)"' --model dax,sector --report out.html`,
    )
    .action(test);
}

async function test(options: Options): Promise<void> {
  const recordWishes = parseRecordOptions(options);
  const exploreWishes = parseExploreOptions(options, process.env);
  assertModels(exploreWishes.models, recordedOptions(recordWishes));
  const reports = parseReportOptions(options);
  const kept = options.output === undefined ? undefined : parseTraceOption(options.output, options);
  await inRunDirectory(
    async (run) => {
      const trace = join(run.runDir, 'trace');
      const progress = new ProgressLine();
      progress.step('recording the workload');
      try {
        await record(recordWishes, trace, run);
      } finally {
        progress.clear();
      }
      if (kept !== undefined) copyFileSync(trace, kept);
      return await exploreTrace(trace, exploreWishes, reports, run);
    },
    { inMemory: recordWishes.isDax },
  );
}
