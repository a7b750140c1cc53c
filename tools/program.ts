/**
 * The commands of `fauxdax` put together, and the one place where their errors become exit
 * statuses: 2 for usage, what the command says otherwise (tools/failure.ts). Commander names
 * unknown commands and options itself.
 */
import { Command, CommanderError, Help, type OutputConfiguration } from 'commander';
import { assertUnchanged } from './arguments.js';
import { crashCommand } from './commands/crash.js';
import { demoCommand } from './commands/demo.js';
import { exploreCommand } from './commands/explore.js';
import { faultCommand, withDirLast } from './commands/fault.js';
import { fsckCommand } from './commands/fsck.js';
import { infoCommand } from './commands/info.js';
import { lintCommand } from './commands/lint.js';
import { mapCommand } from './commands/map.js';
import { markCommand } from './commands/mark.js';
import { mergeCommand } from './commands/merge.js';
import { mkfsCommand } from './commands/mkfs.js';
import { mountCommand } from './commands/mount.js';
import { raceCommand } from './commands/race.js';
import { recordCommand } from './commands/record.js';
import { replayCommand } from './commands/replay.js';
import { runCommand } from './commands/run.js';
import { testCommand } from './commands/test.js';
import { traceCommand } from './commands/trace.js';
import { umountCommand } from './commands/umount.js';
import { EXIT_USAGE, report } from './failure.js';
import { version } from './version.js';

/** @param args without node and script; @returns the exit status */
export async function runProgram(args: string[]): Promise<number> {
  try {
    assertUnchanged(args);
    await makeProgram().parseAsync(withDirLast(args), { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (!(error instanceof CommanderError)) return report(error);
    // Commander has printed its message; help that was asked for is no error.
    return error.exitCode === 0 ? 0 : EXIT_USAGE;
  }
}

function makeProgram(): Command {
  const program = new Command('fauxdax')
    .description('A Linux filesystem you can pull the plug on.')
    .version(version(), '-V, --version')
    .helpCommand('help [COMMAND]', 'display help for a command')
    .configureHelp({ commandUsage: usageLine })
    .configureOutput(usageErrors('fauxdax', 'fauxdax'))
    .exitOverride()
    .addHelpText(
      'after',
      `
Example:
  fauxdax mkfs /tmp/image --size 256M
  mkdir -p /tmp/dir && fauxdax mount /tmp/image /tmp/dir -o crashable
  echo kept > /tmp/dir/a && sync /tmp/dir/a && echo lost > /tmp/dir/b
  fauxdax crash /tmp/dir && ls /tmp/dir
  fauxdax umount /tmp/dir`,
    );
  const commands = [
    mkfsCommand(),
    mountCommand(),
    umountCommand(),
    infoCommand(),
    mapCommand(),
    fsckCommand(),
    crashCommand(),
    faultCommand(),
    runCommand(),
    demoCommand(),
    testCommand(),
    recordCommand(),
    exploreCommand(),
    replayCommand(),
    mergeCommand(),
    markCommand(),
    traceCommand(),
    lintCommand(),
    raceCommand(),
  ];
  for (const command of commands) inherit(program, command);
  return program;
}

/** Commands made apart take over how the program prints and ends, and so do theirs. */
function inherit(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent).helpCommand(false);
  command.configureOutput(usageErrors(`fauxdax: ${command.name()}`, `fauxdax ${command.name()}`));
  parent.addCommand(command);
  for (const child of command.commands) child.copyInheritedSettings(command).helpCommand(false);
}

/** Commander's message as one line of ours; with its guess at what was meant. */
function usageErrors(what: string, command: string): OutputConfiguration {
  return {
    outputError: (text, write) => {
      const reason = text
        .replace(/^error: /, '')
        .trimEnd()
        .replaceAll('\n', ' ');
      write(`${what}: ${reason}: see ${command} --help\n`);
    },
  };
}

/** Commander's own line, but that `fault` takes its directory before the word of its action. */
function usageLine(command: Command): string {
  const line = new Help().commandUsage(command);
  if (command.name() === 'fault') return 'fauxdax fault <DIR> add|list|clear [options]';
  return line.replace(/ fault (add|list|clear) (.*?)<DIR>/, ' fault <DIR> $1 $2').trimEnd();
}
