/**
 * Text of programs (paths, output, commands) as it may be shown to a person: what would act on a
 * terminal, reorder a line, be invalid in XML or be no text at all is written as an escape. Names
 * that are not UTF-8 come as lib/name_codec.ts decodes them and show their bytes.
 */

/** Where lib/name_codec.ts puts bytes that are not text. */
const NAME_ESCAPE_BASE = 0x10ff00;

/** Control characters, lone surrogates, marks that change direction, noncharacters, raw bytes. */
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff\u{10ff00}-\u{10ffff}]/gu;

const NAMED: Record<string, string> = { '\n': '\\n', '\t': '\\t', '\r': '\\r' };

/** As one line. */
export function visible(text: string): string {
  return text.replace(HIDDEN, escapeOf);
}

/** Line ends and tabs stay. */
export function visibleLines(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(HIDDEN, (character) => {
    return character === '\n' || character === '\t' ? character : escapeOf(character);
  });
}

function escapeOf(character: string): string {
  const named = NAMED[character];
  if (named !== undefined) return named;
  const code = character.codePointAt(0) ?? 0;
  if (code >= NAME_ESCAPE_BASE) return `\\x${(code - NAME_ESCAPE_BASE).toString(16)}`;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return `\\u{${code.toString(16)}}`;
}
