/**
 * Seeded pseudo-random numbers: same seed, same sequence, on every machine. For choices that must
 * be replayable (crash states, random tests), never for secrets. The generator is mulberry32.
 */

export class Random {
  private state: number;

  /** @param seed any number; its lower 32 bits and the bits above both count */
  constructor(seed: number) {
    const high = Math.floor(seed / 2 ** 32);
    this.state = (seed ^ Math.imul(high, 0x9e3779b1)) | 0;
  }

  /** An integer in [0, 2^32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let word = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return (word ^ (word >>> 14)) >>> 0;
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound);
  }

  /** True once in `times` on average. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }
}
