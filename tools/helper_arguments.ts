/**
 * The arguments that mount(8) hands to its helpers: `SPEC DIR [-sfnv] [-N namespace] [-t type]
 * [-o options]` (mount(8), External helpers). The words of -o are read by fs/options.ts.
 */
import { UsageError } from '../fs/options.js';

export interface HelperArguments {
  image: string;
  dir: string;
  lists: string[];
  /** -f: everything but the mount itself. */
  fake: boolean;
}

/** @throws {UsageError} */
export function parseHelperArguments(args: readonly string[]): HelperArguments {
  const operands: string[] = [];
  const lists: string[] = [];
  let fake = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '-o' || arg === '-t' || arg === '-N') {
      const value = args[++i];
      if (value === undefined) throw new UsageError(`mount helper: ${arg} needs a value`);
      if (arg === '-N') throw new UsageError('mount helper: -N (mount namespace) is not supported');
      if (arg === '-o') lists.push(value);
    } else if (/^-[sfnv]+$/.test(arg)) {
      fake ||= arg.includes('f');
    } else if (arg.startsWith('-')) {
      throw new UsageError(`mount helper: unknown option ${arg}`);
    } else {
      operands.push(arg);
    }
  }
  const [image, dir, extra] = operands;
  if (image === undefined || dir === undefined || extra !== undefined) {
    throw new UsageError('usage: mount.fuse.fauxdax IMAGE DIR [-sfnv] [-o OPT,...]');
  }
  return { image, dir, lists, fake };
}
