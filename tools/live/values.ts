/**
 * The words that a round stores. Each round has a number range of its own, so that whatever a page
 * shows of an earlier round, whose files are removed, is told from what belongs there.
 */

const VALUES_PER_ROUND = 1000;
/** What the canary has in its words is more, or less than one round's. */
const ROUNDS_MAX = 1e9;

export class Values {
  readonly #base: number;

  /** @param round from 1 */
  constructor(round: number) {
    this.#base = round * VALUES_PER_ROUND;
  }

  /** What is stored for a value of the scenario; zero stays zero. */
  stored(value: number): number {
    return value === 0 ? 0 : this.#base + value;
  }

  /** The scenario's value of a word; negative for a word that nobody stores in this round. */
  named(word: number): number {
    if (word === 0) return 0;
    const value = word - this.#base;
    return value > 0 && value < VALUES_PER_ROUND ? value : -word;
  }
}

export function valueText(value: number): string {
  if (value >= 0) return String(value);
  const round = Math.floor(-value / VALUES_PER_ROUND);
  if (round === 0 || round >= ROUNDS_MAX) return 'old bytes of a freed page';
  return `${-value % VALUES_PER_ROUND} of round ${round}, from a removed file`;
}
