/** An invariant that broke: which, and the sentence that says how, with the bytes. */
import type { Invariant } from './scenario.js';

export class Violation extends Error {
  override readonly name = 'Violation';

  constructor(
    readonly invariant: Invariant,
    message: string,
  ) {
    super(message);
  }
}
