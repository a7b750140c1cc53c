import { accessSync, constants } from 'node:fs';

/** Why nothing can be mounted here; false when it can. */
export function missing(): string | false {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return false;
  } catch {
    return '/dev/fuse cannot be opened';
  }
}
