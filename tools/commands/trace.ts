/** `fauxdax trace`: what a trace holds, event by event, for a person or a program. */
import { once } from 'node:events';
import { Command } from 'commander';
import { UsageError } from '../../fs/options.js';
import type { TraceEvent } from '../../lib/trace/event.js';
import { EXIT_REFUSED, openTrace } from '../trace_file.js';
import { TRACE_HEADING, TraceLines } from '../trace_lines.js';

/** Printed at a time, so that a long trace does not wait in memory for a slow reader. */
const BATCH_CHARACTERS = 64 * 1024;

interface Options {
  json?: true;
  calls?: true;
  from?: string;
  to?: string;
}

export function traceCommand(): Command {
  return new Command('trace')
    .description('show the events of a trace: calls, stores, fences, metadata, what was printed')
    .argument('<TRACE>', 'written by fauxdax record')
    .option('--calls', 'only calls, their errors, processes and what was printed')
    .option('--from <N>', 'from this position on')
    .option('--to <N>', 'up to this position')
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      `
A position counts events: a crash at position N comes right before the event with that number.

Exit status: 0, 2 usage, 3 the trace is refused: cut, damaged, of another version.

Example:
  fauxdax trace /tmp/trace --calls --from 100 --to 200`,
    )
    .action(trace);
}

async function trace(path: string, options: Options): Promise<void> {
  const from = parsePosition('--from', options.from) ?? 0;
  const to = parsePosition('--to', options.to) ?? Number.POSITIVE_INFINITY;
  if (to < from) throw new UsageError(`--to ${to} contradicts --from ${from}`);
  const reader = openTrace(path, EXIT_REFUSED);
  try {
    const lines = new TraceLines(reader.base);
    let batch = options.json === true ? '' : `${TRACE_HEADING}\n`;
    let position = 0;
    for (const event of reader.events()) {
      if (position >= to) break;
      if (position >= from && (options.calls !== true || isOfCalls(event))) {
        const line =
          options.json === true ? lines.json(event, position) : lines.line(event, position);
        batch += `${line}\n`;
      }
      lines.observe(event);
      position++;
      if (batch.length < BATCH_CHARACTERS) continue;
      await print(batch);
      batch = '';
    }
    await print(batch);
  } finally {
    reader.close();
  }
}

function isOfCalls(event: TraceEvent): boolean {
  if (event.type === 'return') return event.error !== 0;
  return ['call', 'output', 'process', 'workload-end'].includes(event.type);
}

async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

function parsePosition(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new UsageError(`${option} ${text}: expected a whole number`);
  return Number(text);
}
