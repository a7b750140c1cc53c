/**
 * Sizes as a person types and reads them: `1G`, `512MiB`, `4096`. Always powers of 1024, always
 * whole bytes.
 */
import { UsageError } from '../fs/options.js';
import { FILE_BYTES_MAX } from '../lib/units.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;
const SIZE = /^(\d+(?:\.\d+)?)([KMGTP]?)(?:i?B)?$/i;

/**
 * @returns bytes
 * @throws {UsageError} not a size, not a whole number of bytes, or beyond 2^52
 */
export function parseSize(text: string): number {
  const match = SIZE.exec(text);
  if (match === null) throw new UsageError(`'${text}' is not a size: write 512M, 1G or bytes`);
  const power = 'KMGTP'.indexOf((match[2] ?? '').toUpperCase()) + 1;
  const bytes = match[2] === '' ? Number(match[1]) : Number(match[1]) * 1024 ** power;
  if (!Number.isInteger(bytes)) throw new UsageError(`'${text}' is not a whole number of bytes`);
  if (bytes > FILE_BYTES_MAX) throw new UsageError(`'${text}' is more than the 4 PiB possible`);
  return bytes;
}

/** `1.5 GiB`, `4 KiB`, `17 B`: at most three significant digits after rounding. */
export function formatSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}
