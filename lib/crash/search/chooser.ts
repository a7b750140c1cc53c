/**
 * Makes every choice of an exploration: whoever has to decide asks for a number below a bound.
 * Whether all answers are tried in turn or drawn from a seed is the chooser's business, never the
 * asker's. Nothing here knows what is chosen; what was chosen is a StateChoice, which names its state
 * without the answers that led to it.
 *
 * An asker must be deterministic: the same answers make it ask the same questions.
 */
import assert from 'node:assert/strict';
import { Random } from '../../random.js';

export interface Chooser {
  /** An integer in [0, bound); bound is at least 1. */
  pick(bound: number): number;
}

/**
 * All sequences of answers, in lexical order, as an odometer counts: the first round answers 0 to
 * everything. Questions may depend on the answers before them.
 */
export class ExhaustiveChooser implements Chooser {
  private readonly digits: { value: number; bound: number }[] = [];
  private asked = 0;

  pick(bound: number): number {
    assert(Number.isSafeInteger(bound) && bound >= 1);
    let digit = this.digits[this.asked];
    if (digit === undefined) {
      digit = { value: 0, bound };
      this.digits.push(digit);
    }
    assert(digit.bound === bound, 'the same answers led to another question');
    this.asked++;
    return digit.value;
  }

  /** Ends a round of questions. @returns false when every sequence was given */
  next(): boolean {
    this.digits.length = this.asked;
    this.asked = 0;
    for (let digit = this.digits.at(-1); digit !== undefined; digit = this.digits.at(-1)) {
      digit.value++;
      if (digit.value < digit.bound) return true;
      this.digits.pop();
    }
    return false;
  }
}

/** Drawn from a seed, the same on every machine. */
export class SeededChooser implements Chooser {
  private readonly random: Random;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  pick(bound: number): number {
    assert(Number.isSafeInteger(bound) && bound >= 1);
    return this.random.below(bound);
  }
}
