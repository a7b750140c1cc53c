/**
 * Which pages of private mappings are the process's own, and what was stored to them, which only it
 * sees: part of the model.
 */
import type { Mapping } from '../dax/mmu.js';
import { WORDS_PER_PAGE } from './content.js';

export class PrivateStores {
  private readonly words = new Map<Mapping, Map<number, number>>();
  private readonly pages = new Map<Mapping, Set<number>>();

  reset(): void {
    this.words.clear();
    this.pages.clear();
  }

  /** The page was copied for a store. */
  copy(mapping: Mapping, page: number): void {
    this.pages.set(mapping, (this.pages.get(mapping) ?? new Set()).add(page));
  }

  isOwn(mapping: Mapping, page: number): boolean {
    return this.pages.get(mapping)?.has(page) ?? false;
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
    this.words.set(to, new Map(this.words.get(from)));
    this.pages.set(to, new Set(this.pages.get(from)));
  }

  /** Truncate takes private pages too. */
  drop(ino: number, fromPage: number): void {
    for (const [mapping, words] of this.words) {
      if (mapping.ino !== ino) continue;
      for (const at of [...words.keys()]) if (at >= fromPage * WORDS_PER_PAGE) words.delete(at);
    }
    for (const [mapping, pages] of this.pages) {
      if (mapping.ino !== ino) continue;
      for (const page of [...pages]) if (page >= fromPage) pages.delete(page);
    }
  }

  text(): string {
    const words = [...this.words].map(([{ id }, stored]) => `${id}:${[...stored].join(';')}`);
    const pages = [...this.pages].map(([{ id }, own]) => `${id} own ${[...own].join()}`);
    return [...words, ...pages].sort().join(' ');
  }
}
