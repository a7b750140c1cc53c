/**
 * What a page holds while no file owns it: its number and its last owner, in every line, so that
 * bytes shown to somebody who may not see them say where they come from. SPEC.md, Canary. Mirrored
 * in native/canary.h.
 */
import { LINE_BYTES, LINES_PER_PAGE } from './units.js';

export const CANARY_MAGIC = Buffer.from('FDXSTALE', 'latin1');
const RECORD_BYTES = 32;

/** Fills `target`, one page, with the canary of a region page; owner 0 is nobody. */
export function canaryPage(target: Buffer, page: number, ownerIno: number): Buffer {
  for (let line = 0; line < LINES_PER_PAGE; line++) {
    const end = (line + 1) * LINE_BYTES;
    for (let offset = line * LINE_BYTES; offset < end; offset += RECORD_BYTES) {
      CANARY_MAGIC.copy(target, offset);
      target.writeBigUInt64LE(BigInt(page), offset + 8);
      target.writeBigUInt64LE(BigInt(ownerIno), offset + 16);
      target.writeBigUInt64LE(BigInt(line), offset + 24);
    }
  }
  return target;
}
