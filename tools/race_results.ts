/**
 * What the last runs of `fauxdax race` on this machine said, for its list: one file, read and written as
 * a whole. It is a convenience, not a promise: a file that is damaged or of another format is none, and
 * one that cannot be written is said in one line. Times are milliseconds.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Exploration } from '../lib/race/explorer.js';
import { dataDirectory } from './data_directory.js';
import { version } from './version.js';

const FORMAT = 1;

/** Of one run through the whole space, or to the first failure. */
export interface LastResult {
  /** ISO 8601. */
  at: string;
  fauxdaxVersion: string;
  end: string;
  /** The invariant that broke, or null. */
  broke: string | null;
  states: number;
  schedules: number;
  steps: number;
  milliseconds: number;
}

/** By scenario, then by bug switch; `none` without one. */
type Results = Record<string, Record<string, LastResult>>;

const WITHOUT = 'none';

export class RaceResults {
  private readonly place = join(dataDirectory(), 'race.json');
  private readonly results = this.load();

  of(scenario: string, bug: string | undefined): LastResult | undefined {
    return this.results[scenario]?.[bug ?? WITHOUT];
  }

  note(scenario: string, bug: string | undefined, result: Exploration): void {
    const { end, failure, states, schedules, steps, milliseconds } = result;
    this.results[scenario] ??= {};
    this.results[scenario][bug ?? WITHOUT] = {
      at: new Date().toISOString(),
      fauxdaxVersion: version(),
      end,
      broke: failure?.violation.invariant ?? null,
      states,
      schedules,
      steps,
      milliseconds: Math.round(milliseconds),
    };
  }

  /** @returns why it could not be kept */
  save(): string | undefined {
    const { place } = this;
    try {
      mkdirSync(dirname(place), { recursive: true });
      const text = JSON.stringify({ format: FORMAT, results: this.results }, null, 2);
      writeFileSync(`${place}.${process.pid}`, `${text}\n`);
      renameSync(`${place}.${process.pid}`, place);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  private load(): Results {
    try {
      const kept = JSON.parse(readFileSync(this.place, 'utf8')) as {
        format: number;
        results: Results;
      };
      return kept.format === FORMAT ? kept.results : {};
    } catch {
      // Never run here, or damaged: the next run writes it anew.
      return {};
    }
  }
}
