/**
 * When an exploration ends although states are left: after so many runs, after so much time, or
 * because somebody said so.
 */
export interface Limits {
  statesMax: number | undefined;
  secondsMax: number | undefined;
  signal: AbortSignal | undefined;
}

export class Budget {
  readonly startedMs = performance.now();
  private runs = 0;

  constructor(
    private readonly limits: Limits,
    private readonly whole?: Budget,
    /** The limits are a part of those that were asked for. */
    private readonly isPart = false,
  ) {}

  /** A run began. */
  spend(): void {
    this.runs++;
    this.whole?.spend();
  }

  get hasLimit(): boolean {
    return this.limits.statesMax !== undefined || this.limits.secondsMax !== undefined;
  }

  /** The reason to stop, as a report says it; undefined while there is none. */
  get ended(): { end: 'limit-reached' | 'time-exhausted'; detail: string } | undefined {
    const { statesMax, secondsMax, signal } = this.limits;
    if (signal?.aborted) return { end: 'limit-reached', detail: 'it was interrupted' };
    if (statesMax !== undefined && this.runs >= statesMax) {
      return { end: 'limit-reached', detail: `${this.limitOf(`${statesMax} states`)} ended it` };
    }
    if (secondsMax !== undefined && this.elapsedMs >= secondsMax * 1000) {
      return {
        end: 'time-exhausted',
        detail: `${this.limitOf(`${Math.ceil(secondsMax)} seconds`)} ended it`,
      };
    }
    return undefined;
  }

  get elapsedMs(): number {
    return performance.now() - this.startedMs;
  }

  /** By whichever limit comes first, at the rate so far; null when there is no limit. */
  get secondsLeft(): number | null {
    const { statesMax, secondsMax } = this.limits;
    const seconds = this.elapsedMs / 1000;
    const byTime = secondsMax === undefined ? Infinity : secondsMax - seconds;
    const rate = this.runs / seconds;
    const byStates =
      statesMax === undefined || rate === 0 ? Infinity : (statesMax - this.runs) / rate;
    const left = Math.min(byTime, byStates);
    return Number.isFinite(left) ? Math.max(0, left) : null;
  }

  /** What was asked for, or the part of it that this one got. */
  private limitOf(what: string): string {
    return this.isPart ? `its share of the limit, ${what},` : `the limit of ${what}`;
  }

  /** An equal part of what is left, for one of `count` things that remain to be done. */
  share(count: number): Budget {
    const { statesMax, secondsMax, signal } = this.limits;
    const limits = {
      statesMax: statesMax === undefined ? undefined : Math.ceil((statesMax - this.runs) / count),
      secondsMax:
        secondsMax === undefined ? undefined : (secondsMax - this.elapsedMs / 1000) / count,
      signal,
    };
    return new Budget(limits, this, count > 1);
  }
}
