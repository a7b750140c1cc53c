/** What programs stored through private mappings, which only they see: part of the model. */
import type { Mapping } from '../dax/mmu.js';
import { WORDS_PER_PAGE } from './content.js';

export class PrivateStores {
  private readonly words = new Map<Mapping, Map<number, number>>();

  reset(): void {
    this.words.clear();
  }

  put(mapping: Mapping, page: number, word: number, value: number): void {
    const words = this.words.get(mapping) ?? new Map();
    words.set(page * WORDS_PER_PAGE + word, value);
    this.words.set(mapping, words);
  }

  get(mapping: Mapping, page: number, word: number): number | undefined {
    return this.words.get(mapping)?.get(page * WORDS_PER_PAGE + word);
  }

  /** A child has what its parent had. */
  fork(from: Mapping, to: Mapping): void {
    const words = this.words.get(from);
    if (words !== undefined) this.words.set(to, new Map(words));
  }

  /** Truncate takes private pages too. */
  drop(ino: number, fromPage: number): void {
    for (const [mapping, words] of this.words) {
      if (mapping.ino !== ino) continue;
      for (const at of [...words.keys()]) if (at >= fromPage * WORDS_PER_PAGE) words.delete(at);
    }
  }

  text(): string {
    return [...this.words]
      .map(([mapping, words]) => `${mapping.id}:${[...words].join(';')}`)
      .sort()
      .join(' ');
  }
}
