/** Where the command line keeps what outlives a run: failures, last results. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$XDG_DATA_HOME/fauxdax`, or under ~/.local/share as the XDG base directories say. */
export function dataDirectory(): string {
  const data = process.env['XDG_DATA_HOME'];
  const base = data === undefined || data === '' ? join(homedir(), '.local', 'share') : data;
  return join(base, 'fauxdax');
}
