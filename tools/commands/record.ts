/** `fauxdax record`: runs a workload on a fresh mount and writes everything it did to a trace. */
import { copyFileSync, existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { UsageError } from '../../fs/options.js';
import {
  addRecordOptions,
  outputPath,
  parseRecordOptions,
  type RecordWords,
} from '../crash_options.js';
import { ProgressLine } from '../progress.js';
import { record as recordWorkload } from '../recording.js';
import { formatMs } from '../report/words.js';
import { inRunDirectory } from '../run_directory.js';
import { formatSize } from '../size.js';

export interface TraceWords {
  output: string;
  force?: true;
}

export function addTraceOption(command: Command, isRequired: boolean): Command {
  const words = '-o, --output <TRACE>';
  if (isRequired) command.requiredOption(words, 'the trace to write');
  else command.option(words, 'keep the trace (default: only with a failure)');
  return command.option('--force', 'overwrite a trace that is there');
}

/** @throws {UsageError} it is there, or cannot be */
export function parseTraceOption(output: string, { force }: { force?: true }): string {
  const path = outputPath('-o', output);
  if (existsSync(path) && force !== true) {
    throw new UsageError(`-o ${output}: is there already: --force overwrites it`);
  }
  return path;
}

export function recordCommand(): Command {
  const command = new Command('record').description('record what a workload does to its directory');
  addTraceOption(command, true);
  return addRecordOptions(command)
    .addHelpText(
      'after',
      `
The workload runs in a fresh directory; $OLDPWD is where fauxdax was started. Lines it prints, and
those of fauxdax mark, become part of the trace.

Example:
  fauxdax record -o /tmp/trace --workload 'echo 1 > a.tmp; mv a.tmp a; echo saved'`,
    )
    .action(record);
}

async function record(options: RecordWords & TraceWords): Promise<void> {
  const wishes = parseRecordOptions(options);
  const output = parseTraceOption(options.output, options);
  await inRunDirectory(
    async (run) => {
      const progress = new ProgressLine();
      progress.step('recording the workload');
      const trace = join(run.runDir, 'trace');
      try {
        const { durationMs } = await recordWorkload(wishes, trace, run);
        rmSync(output, { force: true });
        copyFileSync(trace, output);
        const size = formatSize(statSync(output).size);
        progress.clear();
        process.stdout.write(
          `${options.output}: ${size}, ${formatMs(durationMs)} of the workload\n`,
        );
      } finally {
        progress.clear();
      }
      return 0;
    },
    { inMemory: wishes.isDax },
  );
}
