/** `fauxdax crash`: pulls the plug of a mount, now or at the n-th matching operation. */
import { Command } from 'commander';
import type { CrashReport } from '../../fs/crash.js';
import { describeKeep, parseKeep, parseTrigger } from '../fault_text.js';
import { plural, printJson } from '../screen.js';
import { ask, requireMount } from '../target.js';

const NAMES_SHOWN_MAX = 5;

interface Options {
  keep: string;
  at?: string;
  json?: true;
}

export function crashCommand(): Command {
  return new Command('crash')
    .description('cut the power of a mount made with -o crashable; the mount stays')
    .argument('<DIR>', 'mount point')
    .option('--keep <WHAT>', 'none, all, or seed:N of what was not yet durable', 'none')
    .option('--at <OP:GLOB:N>', 'not now: at the N-th such operation on a matching path')
    .option('--json', 'print what was lost as JSON')
    .addHelpText(
      'after',
      `
What was not durable: 64-byte lines that were stored but not flushed and fenced, and metadata
that was not committed. none loses all of it, all keeps all of it, seed:N keeps a part that the
seed decides: the same seed on the same history leaves the same bytes.

Examples:
  fauxdax crash /mnt
  fauxdax crash /mnt --keep seed:7
  fauxdax crash /mnt --at 'write:*.wal:3'`,
    )
    .action(crash);
}

async function crash(dir: string, options: Options): Promise<void> {
  const keep = parseKeep(options.keep);
  const at = options.at === undefined ? undefined : parseTrigger(options.at);
  const mount = requireMount('crash', dir);
  if (at !== undefined) {
    const rule = await ask('crash', mount, (control) =>
      control.faultAdd({ ...at, action: { do: 'crash', keep } }),
    );
    if (options.json === true) printJson({ armed: rule });
    else {
      const what = `${at.op} ${at.nth} on ${at.path}, keeping ${describeKeep(keep)}`;
      process.stdout.write(`${mount.dir}: armed (fault ${rule.id}): crash at ${what}\n`);
    }
    return;
  }
  const lost = await ask('crash', mount, (control) => control.crash(keep));
  if (options.json === true) printJson(lost);
  else process.stdout.write(`${mount.dir}: ${describeCrash(lost)}\n`);
}

/** One sentence: what was undecided, and what of it the cut took. */
export function describeCrash(report: CrashReport): string {
  const { undecidedLines, keptLines, undecidedOperations, keptOperations, lostNames } = report;
  const lost = [
    ...describeLost(undecidedLines, keptLines, 'undecided line'),
    ...describeLost(undecidedOperations, keptOperations, 'uncommitted operation'),
  ];
  if (lost.length === 0) return 'the power was cut; nothing is lost';
  const names = lostNames.slice(0, NAMES_SHOWN_MAX).join(', ');
  const more = lostNames.length > NAMES_SHOWN_MAX ? ', ...' : '';
  const taken = names === '' ? '' : `; names as before: ${names}${more}`;
  return `the power was cut; lost ${lost.join(' and ')}${taken}`;
}

function describeLost(undecided: number, kept: number, what: string): string[] {
  if (undecided === kept) return [];
  if (kept === 0) return [undecided === 1 ? `1 ${what}` : `all ${plural(undecided, what)}`];
  return [`${undecided - kept} of ${plural(undecided, what)}`];
}
