/**
 * How the command line ends when something is wrong: one line on stderr, `fauxdax: what: where:
 * what to do`, and an exit status. The only place in tools that turns an error into either.
 */
import { getSystemErrorMap } from 'node:util';
import { UsageError } from '../fs/options.js';

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;
export const EXIT_INTERRUPTED = 130; // 128 + SIGINT, as a shell says it

/** An operating failure with the status the command ends with. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitStatus: number;
  /** Lines that are printed below the message: what a program said. */
  readonly detail: string;

  constructor(message: string, exitStatus: number = EXIT_FAILURE, detail = '') {
    super(message);
    this.exitStatus = exitStatus;
    this.detail = detail;
  }
}

const BUGS = new Set(['AssertionError', 'TypeError', 'RangeError', 'ReferenceError']);

/** Says what failed on stderr and returns the exit status. Bugs come with their stack. */
export function report(error: unknown): number {
  if (!(error instanceof Error)) {
    process.stderr.write(`fauxdax: bug: thrown ${String(error)}\n`);
    return EXIT_FAILURE;
  }
  if (BUGS.has(error.name) && !isSystemError(error)) {
    process.stderr.write(`fauxdax: bug, please report it: ${error.stack ?? error.message}\n`);
    return EXIT_FAILURE;
  }
  process.stderr.write(`fauxdax: ${describeError(error).replaceAll('\n', ' ')}\n`);
  if (error instanceof UsageError) return EXIT_USAGE;
  if (!(error instanceof Failure)) return EXIT_FAILURE;
  if (error.detail !== '') process.stderr.write(`${error.detail}\n`);
  return error.exitStatus;
}

function isSystemError(error: Error): error is NodeJS.ErrnoException {
  return (error as NodeJS.ErrnoException).syscall !== undefined;
}

/** What happened, on what: for the line on stderr, or for the end of a sentence. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return isSystemError(error) ? describeSystemError(error) : error.message;
}

/** `/x/y: open: permission denied`, instead of Node's `EACCES: permission denied, open '/x/y'`. */
function describeSystemError(error: NodeJS.ErrnoException): string {
  const reason = getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? error.code ?? error.message;
  return [error.path, error.syscall, reason].filter((part) => part !== undefined).join(': ');
}
