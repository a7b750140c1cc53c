/**
 * The id of a failure: what a person types to see it again. A digest of the choice and of the image
 * it makes, so that an id that fits names the same bytes.
 */
import { createHash } from 'node:crypto';
import type { StateChoice } from '../choice.js';

const ID_CHARACTERS = 10;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Ten characters of base32 (RFC 4648, lower case): 50 bits of a SHA-256. */
export function failureId(choice: StateChoice, imageHash: string): string {
  const text = JSON.stringify([canonical(choice), imageHash]);
  const digest = createHash('sha256').update(text).digest();
  let id = '';
  for (let bit = 0; id.length < ID_CHARACTERS; bit += 5) {
    const word = digest.readUInt16BE(Math.floor(bit / 8));
    id += ALPHABET[(word >> (11 - (bit % 8))) & 31];
  }
  return id;
}

/** The same choice is the same text, in whichever order its fields were set. */
function canonical(choice: StateChoice): unknown[] {
  const { model, position, lostOperations, otherLines, lines, tornBytes, nested } = choice;
  const inner = nested === undefined ? null : canonical(nested);
  return [model, position, lostOperations, otherLines, lines, tornBytes ?? 0, inner];
}
