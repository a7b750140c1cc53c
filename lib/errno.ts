/**
 * Operating errors: the world said no. Thrown by lib and fs, turned into a FUSE reply in
 * fs/dispatch.ts or an exit code in tools, and nowhere else. A bug is an assert, never an Errno.
 */
import { constants } from 'node:os';

type ErrnoTable = typeof constants.errno;
export type ErrnoName = keyof ErrnoTable | 'ESTALE' | 'ENODATA' | 'EOPNOTSUPP' | 'EUCLEAN';

// Linux numbers for the names that os.constants leaves out.
const EXTRA: Record<string, number> = { EUCLEAN: 117 };

export class Errno extends Error {
  override readonly name = 'Errno';
  readonly code: ErrnoName;
  /** Positive Linux errno. */
  readonly errno: number;

  constructor(code: ErrnoName, message: string) {
    super(message);
    this.code = code;
    const errno = (constants.errno as Record<string, number>)[code] ?? EXTRA[code];
    if (errno === undefined) throw new TypeError(`no such errno: ${code}`);
    this.errno = errno;
  }
}
