/**
 * Remembers every run of an exploration, and says which run stands for a state that was not run.
 * Two rules, neither of which can lose a failure of a deterministic check:
 *
 * - the same image: equal image hashes and equal acknowledged lines are equal to whoever looks;
 * - unread: equal metadata and acknowledged lines, and equal bytes in every line that a run read.
 *   Such a run cannot come across a difference, so it does the same.
 *
 * A run that has not been applied yet (apply()) stands only for the same image; what it read is
 * not known. The order of calls alone decides every answer, never how long a run takes.
 */
import { createHash } from 'node:crypto';
import { LINE_BYTES, PAGE_BYTES } from '../units.js';
import { judgeOutcomes } from './oracles.js';
import type { Observation } from './runner.js';
import type { CrashState } from './state.js';

const LINES_PER_PAGE = PAGE_BYTES / LINE_BYTES;

/** One run; `observation` is set when it has been applied. */
export interface Run {
  readonly imageHash: string;
  observation: Observation | undefined;
  /** Called in order when it is applied, with it. */
  readonly followers: ((observation: Observation) => void)[];
}

export type Standing = { run: Run; rule: 'same-image' | 'unread' };

/** Lines that runs with one metadata read, as far as is known. */
export interface KnownReads {
  readonly lines: ReadonlySet<number>;
  /** false: a run over other metadata stood for one of these states, so lines may be missing. */
  readonly isComplete: boolean;
}

interface Group {
  lines: Set<number>;
  isComplete: boolean;
  /** By the text of the lines, each set of read lines once, with the runs by their bytes there. */
  readSets: Map<string, { lines: Float64Array; runs: Map<string, Run> }>;
}

export class Memo {
  private readonly byImage = new Map<string, { run: Run; metadataKey: string }>();
  private readonly groups = new Map<string, Group>();

  /**
   * @param options.keepsOutput what a passing check printed matters; else it is dropped
   * @param options.prunes false for those who compare with pruning
   */
  constructor(private readonly options: { keepsOutput: boolean; prunes: boolean }) {}

  /** The run that stands for a state, if one does. */
  find(state: CrashState, acknowledged: readonly string[]): Standing | undefined {
    const imageHash = state.imageHash();
    if (!this.options.prunes) return undefined;
    const acked = digestOf(acknowledged);
    const same = this.byImage.get(`${imageHash} ${acked}`);
    if (same !== undefined) {
      if (same.metadataKey !== state.metadataKey) this.group(state, acked).isComplete = false;
      return { run: same.run, rule: 'same-image' };
    }
    for (const { lines, runs } of this.groups.get(groupKey(state, acked))?.readSets.values() ??
      []) {
      const run = runs.get(contentDigest(state, lines));
      if (run !== undefined) return { run, rule: 'unread' };
    }
    return undefined;
  }

  /** A run begins that nothing stands for. */
  begin(state: CrashState, acknowledged: readonly string[]): Run {
    const imageHash = state.imageHash();
    const run: Run = { imageHash, observation: undefined, followers: [] };
    const key = `${imageHash} ${digestOf(acknowledged)}`;
    this.byImage.set(key, { run, metadataKey: state.metadataKey });
    return run;
  }

  /** What it showed is known. The state must not be released yet. */
  apply(
    run: Run,
    state: CrashState,
    acknowledged: readonly string[],
    observation: Observation,
  ): void {
    const { readLines } = observation;
    const group = this.group(state, digestOf(acknowledged));
    for (const line of readLines) group.lines.add(line);
    const bytes = new Uint8Array(readLines.buffer, readLines.byteOffset, readLines.byteLength);
    const name = createHash('sha256').update(bytes).digest('base64');
    let readSet = group.readSets.get(name);
    if (readSet === undefined) {
      readSet = { lines: readLines, runs: new Map() };
      group.readSets.set(name, readSet);
    }
    readSet.runs.set(contentDigest(state, readLines), run);
    // Kept for every run: nothing that is long and not needed.
    run.observation = { ...this.withoutOutput(observation), readLines: readSet.lines };
    for (const follower of run.followers) follower(observation);
    run.followers.length = 0;
  }

  /** What runs with this metadata and these lines are known to read; undefined when none ran. */
  reads(metadataKey: string, acknowledged: readonly string[]): KnownReads | undefined {
    if (!this.options.prunes) return undefined;
    return this.groups.get(`${metadataKey} ${digestOf(acknowledged)}`);
  }

  private withoutOutput(observation: Observation): Observation {
    if (this.options.keepsOutput || judgeOutcomes(observation) !== undefined) return observation;
    const outcomes = observation.outcomes.map((one) => ({ ...one, stdout: '', stderr: '' }));
    return { outcomes, readLines: observation.readLines, stale: observation.stale };
  }

  private group(state: CrashState, acked: string): Group {
    const key = groupKey(state, acked);
    let group = this.groups.get(key);
    if (group === undefined) {
      group = { lines: new Set(), isComplete: true, readSets: new Map() };
      this.groups.set(key, group);
    }
    return group;
  }
}

function groupKey(state: CrashState, acked: string): string {
  return `${state.metadataKey} ${acked}`;
}

const ackDigests = new WeakMap<readonly string[], { length: number; digest: string }>();

/** Of acknowledged lines; the arrays of a trace only grow, and are often asked about. */
function digestOf(lines: readonly string[]): string {
  const known = ackDigests.get(lines);
  if (known?.length === lines.length) return known.digest;
  const digest = createHash('sha256').update(lines.join('\n')).digest('base64');
  ackDigests.set(lines, { length: lines.length, digest });
  return digest;
}

/** Of the bytes a state has in the lines; they are ascending. */
function contentDigest(state: CrashState, lines: Float64Array): string {
  const hash = createHash('sha256');
  for (let index = 0; index < lines.length; ) {
    const page = Math.floor(lines[index]! / LINES_PER_PAGE);
    const bytes = state.page(page);
    while (index < lines.length && Math.floor(lines[index]! / LINES_PER_PAGE) === page) {
      // A run of lines that follow each other is one piece.
      const first = lines[index]!;
      let count = 1;
      const room = LINES_PER_PAGE - (first % LINES_PER_PAGE);
      while (count < room && lines[index + count] === first + count) count++;
      const from = (first - page * LINES_PER_PAGE) * LINE_BYTES;
      hash.update(bytes.subarray(from, from + count * LINE_BYTES));
      index += count;
    }
  }
  return hash.digest('base64');
}
