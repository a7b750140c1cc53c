/** What the starter of a daemon hands to it, and the log that both open. */
import { closeSync, fstatSync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { RecordedOutput } from '../lib/addon/recorder.js';
import type { MountOptions } from './options.js';

export interface Job {
  /** Absolute, symlinks resolved. */
  imageDir: string;
  dir: string;
  options: MountOptions;
  /** Everything that happens to the image is appended to a trace. */
  record?: RecordJob;
}

export interface RecordJob {
  /** Absolute path of the trace, which holds its header and the base; not in the mount. */
  trace: string;
  /** FIFOs, by absolute path, that the workload prints to. */
  outputs: RecordedOutput[];
}

const LOG_NAME = 'daemon.log';
const LOG_BYTES_MAX = 4 << 20;

/** Opens the daemon's log in the image, for it and for what Node itself prints when it dies. */
export function openLog(imageDir: string): number {
  const path = join(imageDir, LOG_NAME);
  const fd = openSync(path, 'a', 0o600);
  if (fstatSync(fd).size <= LOG_BYTES_MAX) return fd;
  closeSync(fd);
  renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o600);
}
