/** An invariant that broke: which, and the sentence that says how, with the bytes. */
import type { Livelock } from './livelock.js';
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

/** Steps that lead back to where they began, and so may be made for ever. */
export class LivelockViolation extends Violation {
  constructor({ actors, start }: Livelock) {
    super(
      'progress',
      `the last ${actors.length - start} steps lead back to where they began, and everybody who can go on made one`,
    );
  }
}
