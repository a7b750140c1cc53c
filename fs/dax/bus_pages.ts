/**
 * Pages that were answered with SIGBUS for want of space or because of bad memory: they fault again
 * after a moment, for a later access may fare better. (Those beyond the end of a file wait until it
 * grows: that is the engine's.)
 */
import type { Mapping, PageRange } from '../../lib/dax/mmu.js';

/** Long enough that a program which tries at once does not keep the daemon busy. */
const RETRY_MS = 20;

export class BusPages {
  readonly #trap: (mapping: Mapping, range: PageRange) => void;
  #pages: { mapping: Mapping; filePage: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param trap has an access to the page fault again; the mapping may be gone */
  constructor(trap: (mapping: Mapping, range: PageRange) => void) {
    this.#trap = trap;
  }

  add(mapping: Mapping, filePage: number): void {
    this.#pages.push({ mapping, filePage });
    this.#timer ??= setTimeout(() => this.#retry(), RETRY_MS);
  }

  #retry(): void {
    this.#timer = undefined;
    for (const { mapping, filePage } of this.#pages.splice(0)) {
      this.#trap(mapping, { filePage, pageCount: 1 });
    }
  }

  /** All of them fault again by other means. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pages = [];
  }
}
