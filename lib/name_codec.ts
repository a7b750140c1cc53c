/**
 * Linux names are bytes, JavaScript strings are UTF-16. A name is decoded as UTF-8; each byte that
 * is not part of a well-formed sequence, and each byte of a sequence that encodes
 * U+10FF00..U+10FFFF, becomes the code point U+10FF00 + byte. Encoding reverses it; both ways are
 * exact. Mirrored by native/name_codec.h, which the session uses.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { Errno } from './errno.js';

/** Code points from here on are not text: they stand for bytes 0x80..0xFF. */
const ESCAPE_BASE = 0x10ff00;
const ESCAPE = /[\u{10ff00}-\u{10ffff}]/u;
const SURROGATE = /[\ud800-\udfff]/;
const SEQUENCE_BYTES_MAX = 4;

/** Never fails: any bytes are a name. */
export function decodeName(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isAscii(buffer)) return buffer.toString('latin1');
  if (isUtf8(buffer)) {
    const text = buffer.toString('utf8');
    if (!ESCAPE.test(text)) return text;
  }
  let name = '';
  for (let at = 0; at < buffer.length; ) {
    const lengthBytes = wellFormedBytes(buffer, at);
    const text = buffer.toString('utf8', at, at + lengthBytes);
    if (lengthBytes > 0 && text.codePointAt(0)! < ESCAPE_BASE) {
      name += text;
      at += lengthBytes;
      continue;
    }
    for (const end = at + Math.max(lengthBytes, 1); at < end; at++) {
      name += String.fromCodePoint(ESCAPE_BASE + buffer[at]!);
    }
  }
  return name;
}

/**
 * The bytes that decodeName() turns into `name`.
 * @throws {Errno} EILSEQ for a string that decodeName() never returns: a lone surrogate,
 * U+10FF00..U+10FF7F, or escaped bytes that are well-formed together
 */
export function encodeName(name: string): Uint8Array {
  if (!SURROGATE.test(name)) return Buffer.from(name, 'utf8');
  const parts: Buffer[] = [];
  for (const character of name) {
    const codePoint = character.codePointAt(0)!;
    parts.push(
      codePoint < ESCAPE_BASE
        ? Buffer.from(character, 'utf8')
        : Buffer.from([codePoint - ESCAPE_BASE]),
    );
  }
  const bytes = Buffer.concat(parts);
  if (decodeName(bytes) !== name) throw new Errno('EILSEQ', 'no bytes decode to this name');
  return bytes;
}

/** Length of the well-formed UTF-8 sequence at `at`, 0 when there is none. */
function wellFormedBytes(buffer: Buffer, at: number): number {
  for (let lengthBytes = 1; lengthBytes <= SEQUENCE_BYTES_MAX; lengthBytes++) {
    if (at + lengthBytes > buffer.length) return 0;
    if (isUtf8(buffer.subarray(at, at + lengthBytes))) return lengthBytes;
  }
  return 0;
}
