/**
 * The log of a daemon: pino, one JSON object a line, on standard error, which its starter points at
 * a file (fs/job.ts). Written at once: the lines before a process is killed are the ones that matter.
 */
import { type Logger, pino } from 'pino';

export type Log = Logger;

export function makeLog(): Log {
  return pino({ base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));
}
