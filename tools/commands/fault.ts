/**
 * `fauxdax fault DIR add|list|clear`: rules that make operations fail, fall short, tear, wait or
 * meet bad memory. Rules live in the daemon until they are cleared or the mount ends.
 */
import { Command } from 'commander';
import { FAULT_OPS, type FaultOp, type FaultRule } from '../../fs/faults.js';
import { UsageError } from '../../fs/options.js';
import { Failure } from '../failure.js';
import { ACTION_HELP, describeRule, parseAction } from '../fault_text.js';
import { plural, printJson, table } from '../screen.js';
import { ask, requireMount } from '../target.js';

const ACTIONS = ['add', 'list', 'clear'];

/**
 * The command line says `fault DIR add`, commander wants the word of the subcommand first.
 * @returns the arguments with the two exchanged where the first is no subcommand
 * @throws {UsageError} no action follows the directory
 */
export function withDirLast(args: string[]): string[] {
  const [command, dir, action, ...rest] = args;
  if (command !== 'fault' || dir === undefined) return args;
  if (ACTIONS.includes(dir) || dir.startsWith('-') || action === '--help') return args;
  if (action === undefined || !ACTIONS.includes(action)) {
    const what = action === undefined ? 'nothing' : `'${action}'`;
    throw new UsageError(`fault: expected add, list or clear after ${dir}, not ${what}`);
  }
  return [command, action, dir, ...rest];
}

export function faultCommand(): Command {
  return new Command('fault')
    .description('make operations of a mount fail: add, list and clear rules')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(clearCommand())
    .addHelpText(
      'after',
      `
Examples:
  fauxdax fault /mnt add --op write --path '*.wal' --nth 3 --do torn
  fauxdax fault /mnt list
  fauxdax fault /mnt clear`,
    );
}

interface AddOptions {
  op: string;
  path: string;
  nth?: string;
  every?: string;
  chance?: string;
  seed?: string;
  point?: string;
  do: string;
  json?: true;
}

function addCommand(): Command {
  return new Command('add')
    .description('add a rule')
    .argument('<DIR>', 'mount point')
    .option('--op <OP>', `the operation: ${FAULT_OPS.join(', ')}`, 'any')
    .option('--path <GLOB>', 'path inside the mount; without a slash, the last name', '**')
    .option('--nth <N>', 'only the N-th matching operation from now')
    .option('--every <N>', 'every N-th matching operation')
    .option('--chance <P>', 'of those only so many of one, at random: 0.25')
    .option('--seed <N>', 'what --chance goes by', '0')
    .option('--point <TEXT>', 'with --op point: only points with this in their name')
    .requiredOption('--do <FAULT>', 'what happens, below')
    .option('--json', 'print the rule as JSON')
    .addHelpText(
      'after',
      `
Faults:
${ACTION_HELP}

Points are the steps of a fault, sync or change of a file that is mapped under fauxdax run: between
lookup and lock, allocation and zeroing, flush and fence. They can only be delayed; others go on.

Examples:
  fauxdax fault /mnt add --op fsync --do eio
  fauxdax fault /mnt add --op write --path '*.db' --every 100 --do enospc
  fauxdax fault /mnt add --op write --path '*.wal' --nth 3 --do torn=64
  fauxdax fault /mnt add --path '/slow/**' --do delay=250ms
  fauxdax fault /mnt add --op point --point 'lock the entry' --chance 0.5 --do delay=20ms`,
    )
    .action(add);
}

async function add(dir: string, options: AddOptions): Promise<void> {
  const nth = parseCount('--nth', options.nth);
  const every = parseCount('--every', options.every);
  if (nth !== undefined && every !== undefined) {
    throw new UsageError('--nth and --every contradict each other');
  }
  if (!FAULT_OPS.includes(options.op as FaultOp)) {
    throw new UsageError(`--op ${options.op}: expected one of ${FAULT_OPS.join(', ')}`);
  }
  const rule: FaultRule = {
    op: options.op as FaultOp,
    path: options.path,
    ...chanceOf(options),
    ...(options.point === undefined ? {} : { point: options.point }),
    ...(nth === undefined ? {} : { nth }),
    ...(every === undefined ? {} : { every }),
    action: parseAction(options.do),
  };
  const mount = requireMount('fault', dir);
  const added = await ask('fault', mount, (control) => control.faultAdd(rule));
  if (options.json === true) printJson(added);
  else process.stdout.write(`added fault ${added.id}\n`);
}

function chanceOf({ chance, seed }: AddOptions): { chance?: number; seed?: number } {
  if (chance === undefined) return {};
  const share = /^(0?\.\d+|0|1(\.0*)?)$/.test(chance) ? Number(chance) : Number.NaN;
  if (!(share > 0))
    throw new UsageError(`--chance ${chance}: expected a number above 0, 1 at most`);
  const number = Number(seed);
  if (!/^\d+$/.test(seed ?? '') || !Number.isSafeInteger(number)) {
    throw new UsageError(`--seed ${seed}: expected a whole number`);
  }
  return { chance: share, seed: number };
}

function listCommand(): Command {
  return new Command('list')
    .description('list the rules, how often each matched and fired')
    .argument('<DIR>', 'mount point')
    .option('--json', 'print the rules as JSON')
    .addHelpText('after', '\nExample:\n  fauxdax fault /mnt list --json')
    .action(list);
}

async function list(dir: string, options: { json?: true }): Promise<void> {
  const mount = requireMount('fault', dir);
  const rules = await ask('fault', mount, (control) => control.faultList());
  if (options.json === true) {
    printJson(rules);
    return;
  }
  if (rules.length === 0) {
    process.stdout.write('no faults\n');
    return;
  }
  const rows = rules.map((rule) => {
    const { when, action } = describeRule(rule);
    return [rule.id, rule.op, rule.path, when, action, rule.matched, rule.fired];
  });
  process.stdout.write(table(['id', 'op', 'path', 'when', 'do', 'matched', 'fired'], rows));
}

function clearCommand(): Command {
  return new Command('clear')
    .description('remove one rule, or all')
    .argument('<DIR>', 'mount point')
    .argument('[ID]', 'the rule to remove (default: all)')
    .addHelpText('after', '\nExample:\n  fauxdax fault /mnt clear 2')
    .action(clear);
}

async function clear(dir: string, text: string | undefined): Promise<void> {
  const id = parseCount('ID', text);
  const mount = requireMount('fault', dir);
  const count = await ask('fault', mount, (control) => control.faultClear(id));
  if (id !== undefined && count === 0) throw new Failure(`fault: ${dir}: no fault ${id}`);
  process.stdout.write(`cleared ${plural(count, 'fault')}\n`);
}

function parseCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count) || count < 1) {
    throw new UsageError(`${name} ${text}: expected a whole number above 0`);
  }
  return count;
}
