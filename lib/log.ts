/**
 * The log of a process: pino, one JSON object a line, to a file or to standard error.
 */
import { type Logger, pino } from 'pino';

export type Log = Logger;

/** @param options.file appended to and made when missing; without it standard error */
export function makeLog(options: { level?: string; file?: string | undefined } = {}): Log {
  // Written at once: the lines before a process is killed are the ones that matter.
  const destination = pino.destination({ dest: options.file ?? 2, sync: true });
  return pino({ level: options.level ?? 'info', base: { pid: process.pid } }, destination);
}
