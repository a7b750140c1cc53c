/** Errors of the addon, in the words of the rest of lib/. */
import { Errno, type ErrnoName } from '../errno.js';

/** Calls the addon; an error that carries an errno becomes an `Errno`, a bug stays what it is. */
export function run<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof Error) || !('errno' in error) || !('code' in error)) throw error;
    throw new Errno(error.code as ErrnoName, error.message);
  }
}
