/**
 * Arguments are bytes, and Node's strings are not: what is no UTF-8 would reach a file or a program
 * changed.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { EXIT_USAGE, Failure } from './failure.js';

/** What Node makes of a byte that is no part of a character. */
const REPLACED = '\u{fffd}';

/**
 * @param args as Node gives them to this process
 * @throws {Failure} one of them is not what the command was started with
 */
export function assertUnchanged(args: readonly string[]): void {
  if (!args.some((arg) => arg.includes(REPLACED))) return;
  // Each ends with a zero byte.
  const line = readFileSync('/proc/self/cmdline');
  if (isUtf8(line)) return;
  const index = args.findIndex((arg) => arg.includes(REPLACED) && !line.includes(`\0${arg}\0`));
  throw new Failure(
    `argument ${index + 1} is not UTF-8: ${args[index]}: rename it, or give it from a script that is run`,
    EXIT_USAGE,
  );
}
