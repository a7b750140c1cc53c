/**
 * What a page holds, for simulated memory: one value in all its words, but for some. A word is 8 bytes
 * that hold a number below 2^32. Contents are immutable and interned: equal ones are one object, so
 * that zeroing, copying and comparing pages cost nothing and their numbers tell states apart.
 */
import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../units.js';
import { OLD_BYTES } from './scenario.js';

export const WORD_BYTES = 8;
export const WORDS_PER_PAGE = PAGE_BYTES / WORD_BYTES;

export interface Content {
  /** Its number among the contents seen so far. */
  readonly id: number;
  readonly fill: number;
  /** Words that differ from the fill, by index. */
  readonly words: ReadonlyMap<number, number>;
}

export class Contents {
  private readonly byText = new Map<string, Content>();

  /** All words alike. */
  filled(fill: number): Content {
    return this.intern(fill, new Map());
  }

  /** As `content`, with one other word. */
  with(content: Content, index: number, value: number): Content {
    if (wordOf(content, index) === value) return content;
    const words = new Map(content.words);
    words.set(index, value);
    return this.intern(content.fill, words);
  }

  /** As `under`, with words [first, end) of `over`. */
  spliced(under: Content, over: Content, first: number, end: number): Content {
    if (under === over || (first === 0 && end === WORDS_PER_PAGE)) return over;
    assert(under.fill === over.fill || end - first <= 8, 'parts of pages are lines');
    let made = under;
    for (const index of new Set([...under.words.keys(), ...over.words.keys()])) {
      if (first <= index && index < end) made = this.with(made, index, wordOf(over, index));
    }
    if (under.fill !== over.fill) {
      for (let index = first; index < end; index++) {
        made = this.with(made, index, wordOf(over, index));
      }
    }
    return made;
  }

  /** The bytes of whole words, laid over `content` from word `first` on. */
  parsed(content: Content, first: number, bytes: Uint8Array): Content {
    assert(bytes.length % WORD_BYTES === 0);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const values = Array.from({ length: bytes.length / WORD_BYTES }, (_, index) => {
      assert(view.getUint32(index * WORD_BYTES + 4, true) === 0, 'a word holds less than 2^32');
      return view.getUint32(index * WORD_BYTES, true);
    });
    const isWhole = values.length === WORDS_PER_PAGE;
    const fill = isWhole ? oftenIn(values) : content.fill;
    const words = new Map(isWhole ? [] : content.words);
    for (const [index, value] of values.entries()) words.set(first + index, value);
    return this.intern(fill, words);
  }

  private intern(fill: number, words: Map<number, number>): Content {
    const kept = [...words].filter(([, value]) => value !== fill).sort(([a], [b]) => a - b);
    const text = `${fill};${kept.join(';')}`;
    let content = this.byText.get(text);
    if (content === undefined) {
      content = { id: this.byText.size, fill, words: new Map(kept) };
      this.byText.set(text, content);
    }
    return content;
  }
}

/** What most of the words of a page hold, where no more than one of the first three is another. */
function oftenIn([one, other, third]: readonly number[]): number {
  return (one === other || one === third ? one : other)!;
}

export function wordOf(content: Content, index: number): number {
  return content.words.get(index) ?? content.fill;
}

/** For a person. */
export function valueText(value: number): string {
  return value === OLD_BYTES ? 'the old bytes of a removed file' : String(value);
}
