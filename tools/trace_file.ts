/** Traces that are named on the command line, opened for reading. */
import { TraceError } from '../lib/trace/format.js';
import { TraceReader } from '../lib/trace/reader.js';
import { Failure } from './failure.js';

/** Of commands whose 1 says what was found in a trace: there was none to look at. */
export const EXIT_REFUSED = 3;

/**
 * The trace, checked from its first byte to its last.
 * @throws {Failure} with this exit status: cut, damaged, of another version
 */
export function openTrace(path: string, exitStatus: number): TraceReader {
  try {
    return new TraceReader(path);
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    throw new Failure(error.message, exitStatus);
  }
}
