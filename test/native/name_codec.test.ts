import t from 'tap';
import { Errno } from '../../lib/errno.js';
import { decodeName, encodeName } from '../../lib/name_codec.js';
import { loadNative } from '../../lib/native.js';
import { Random } from '../../lib/random.js';

const native = loadNative();

/** Bytes of a name in hex, and the string it decodes to. */
const TABLE: [string, string, string][] = [
  ['ASCII', '666f6f2e747874', 'foo.txt'],
  ['nothing', '', ''],
  ['long ASCII with an odd tail', '61'.repeat(255), 'a'.repeat(255)],
  ['two bytes', 'c3a9', 'é'],
  ['three bytes', 'e282ac', '€'],
  ['four bytes', 'f09f98ba', '😺'],
  ['byte order mark is kept', 'efbbbf61', '\ufeffa'],
  ['replacement character is text', 'efbfbd', '\ufffd'],
  ['Latin-1 byte', '66e974', 'f\u{10ffe9}t'],
  ['lone continuation', '80', '\u{10ff80}'],
  ['cut sequence', '61e282', 'a\u{10ffe2}\u{10ff82}'],
  ['cut sequence before text', 'e28261', '\u{10ffe2}\u{10ff82}a'],
  ['overlong', 'c080', '\u{10ffc0}\u{10ff80}'],
  ['overlong of three', 'e08080', '\u{10ffe0}\u{10ff80}\u{10ff80}'],
  ['surrogate in UTF-8', 'eda080', '\u{10ffed}\u{10ffa0}\u{10ff80}'],
  ['beyond U+10FFFF', 'f4908080', '\u{10fff4}\u{10ff90}\u{10ff80}\u{10ff80}'],
  ['five-byte lead', 'f888808080', '\u{10fff8}\u{10ff88}\u{10ff80}\u{10ff80}\u{10ff80}'],
  ['U+10FEFF is text', 'f48fbbbf', '\u{10feff}'],
  ['U+10FF00 is escaped', 'f48fbc80', '\u{10fff4}\u{10ff8f}\u{10ffbc}\u{10ff80}'],
  ['U+10FFFF is escaped', 'f48fbfbf', '\u{10fff4}\u{10ff8f}\u{10ffbf}\u{10ffbf}'],
  ['all high bytes', 'fffe', '\u{10ffff}\u{10fffe}'],
];

t.test(
  'each kind of name decodes as the table says and encodes back, in C++ and TypeScript',
  async (t) => {
    for (const [what, hex, name] of TABLE) {
      const bytes = Buffer.from(hex, 'hex');
      t.equal(decodeName(bytes), name, `${what}: TypeScript decodes`);
      t.equal(native.decodeName(bytes), name, `${what}: C++ decodes`);
      t.equal(Buffer.from(encodeName(name)).toString('hex'), hex, `${what}: TypeScript encodes`);
      t.equal(Buffer.from(native.encodeName(name)).toString('hex'), hex, `${what}: C++ encodes`);
    }
  },
);

t.test('strings that no bytes decode to are refused by both with EILSEQ', async (t) => {
  const refused: [string, string][] = [
    ['high surrogate alone', 'a\ud800'],
    ['high surrogate before text', '\ud800a'],
    ['low surrogate alone', '\udc00a'],
    ['surrogates in the wrong order', '\udc00\ud800'],
    ['an escape for a slash', '\u{10ff2f}'],
    ['an escape for NUL', '\u{10ff00}'],
    ['escapes that spell é', '\u{10ffc3}\u{10ffa9}'],
    ['half escaped é', 'x\u{10ffc3}\u{10ffa9}\u{10ff80}'],
  ];
  for (const [what, name] of refused) {
    for (const encode of [encodeName, native.encodeName]) {
      try {
        encode(name);
        t.fail(`${what}: accepted`);
      } catch (error) {
        t.ok(error instanceof Errno && error.code === 'EILSEQ', what);
      }
    }
  }
});

/** Bytes that often almost make UTF-8. */
function oddBytes(random: Random): Buffer {
  const interesting = [
    0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbb, 0xbc, 0xbf, 0xc0, 0xc2, 0xc3,
  ];
  interesting.push(0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff);
  const bytes = Buffer.alloc(random.below(12));
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = random.oneIn(4)
      ? random.below(256)
      : interesting[random.below(interesting.length)]!;
  }
  return bytes;
}

t.test(
  'random bytes decode to well-formed text, alike in both, and encode back exactly',
  async (t) => {
    const seed = 31415;
    const random = new Random(seed);
    for (let round = 0; round < 100_000; round++) {
      const bytes = oddBytes(random);
      const name = decodeName(bytes);
      const exact =
        native.decodeName(bytes) === name &&
        Buffer.from(name, 'utf8').toString('utf8') === name &&
        bytes.equals(encodeName(name)) &&
        bytes.equals(native.encodeName(name));
      if (!exact) return t.fail(`seed ${seed}, round ${round}: ${bytes.toString('hex')}`);
    }
    t.pass('100,000 names');
  },
);

t.test('every sequence of two bytes, alone and before a continuation, agrees', async (t) => {
  for (let first = 0; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      for (const tail of [[], [0x80], [0xbf, 0xbf]]) {
        const bytes = Buffer.from([first, second, ...tail]);
        const name = decodeName(bytes);
        if (native.decodeName(bytes) !== name || !bytes.equals(encodeName(name))) {
          return t.fail(bytes.toString('hex'));
        }
      }
    }
  }
  t.pass('all of them');
});
