/** A schedule as one word: scenario, bug switch, and who made each step. Whoever has it can run it again. */

export interface ReplayId {
  readonly scenario: string;
  readonly bug: string | undefined;
  readonly actors: readonly number[];
}

export function formatReplayId({ scenario, bug, actors }: ReplayId): string {
  return `${scenario}/${bug ?? 'none'}/${actors.map((actor) => actor.toString(36)).join('')}`;
}

/** @throws {RangeError} not such a word */
export function parseReplayId(text: string): ReplayId {
  const [scenario, bug, actors, ...rest] = text.split('/');
  if (rest.length > 0 || actors === undefined || !/^[0-9a-z]+$/.test(actors)) {
    throw new RangeError(`not a replay id: '${text}': scenario/bug/steps, as race printed it`);
  }
  return {
    scenario: scenario!,
    bug: bug === 'none' ? undefined : bug,
    actors: [...actors].map((digit) => Number.parseInt(digit, 36)),
  };
}
