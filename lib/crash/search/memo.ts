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
import { LINE_BYTES, LINES_PER_PAGE } from '../../units.js';
import { judgeOutcomes } from './oracles.js';
import type { Observation } from './runner.js';
import type { CrashState } from '../state/state.js';

/** One run; `observation` is set when it has been applied. */
export interface Run {
  readonly imageHash: string;
  observation: Observation | undefined;
  /** Called in order when it is applied, with it. */
  readonly followers: ((observation: Observation) => void)[];
}

export type Standing = { run: Run; rule: 'same-image' | 'unread' };

/** Lines that runs with one metadata read, as far as is known. */
interface KnownReads {
  readonly lines: ReadonlySet<number>;
  /** false: a run over other metadata stood for one of these states, so lines may be missing. */
  readonly isComplete: boolean;
}

/** Lines that runs read, and the runs that read exactly those by the bytes they found. */
interface ReadSet {
  lines: Float64Array;
  pages: ReadPage[];
  runs: Map<string, Run>;
}

/** What was read of one page. */
interface ReadPage {
  page: number;
  /** Equal for equal lines. */
  name: string;
  /** Bytes of the page. */
  ranges: { from: number; to: number }[];
}

interface Group {
  lines: Set<number>;
  isComplete: boolean;
  /** By a digest of the lines; the one that was useful last comes last. */
  readSets: Map<string, ReadSet>;
}

/** Of a group that find() compares with: those that were useful last. */
const READ_SETS_MAX = 16;

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
    const readSets = this.groups.get(groupKey(state, acked))?.readSets;
    if (readSets === undefined) return undefined;
    for (const [name, readSet] of [...readSets].slice(-READ_SETS_MAX).reverse()) {
      const run = readSet.runs.get(contentDigest(state, readSet.pages));
      if (run === undefined) continue;
      readSets.delete(name);
      readSets.set(name, readSet);
      return { run, rule: 'unread' };
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
    const bytes = new Uint8Array(readLines.buffer, readLines.byteOffset, readLines.byteLength);
    const name = createHash('sha256').update(bytes).digest('base64');
    let readSet = group.readSets.get(name);
    if (readSet === undefined) {
      for (const line of readLines) group.lines.add(line);
      readSet = { lines: readLines, pages: readPages(readLines), runs: new Map() };
      group.readSets.set(name, readSet);
    }
    readSet.runs.set(contentDigest(state, readSet.pages), run);
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

/** @param lines ascending */
function readPages(lines: Float64Array): ReadPage[] {
  const pages: ReadPage[] = [];
  for (const line of lines) {
    const page = Math.floor(line / LINES_PER_PAGE);
    const from = (line - page * LINES_PER_PAGE) * LINE_BYTES;
    let last = pages.at(-1);
    if (last?.page !== page) {
      last = { page, name: '', ranges: [] };
      pages.push(last);
    }
    const range = last.ranges.at(-1);
    if (range?.to === from) range.to += LINE_BYTES;
    else last.ranges.push({ from, to: from + LINE_BYTES });
  }
  for (const one of pages) one.name = one.ranges.map(({ from, to }) => `${from}-${to}`).join();
  return pages;
}

/** Of the bytes a state has in what was read. */
function contentDigest(state: CrashState, pages: readonly ReadPage[]): string {
  const digests = pages.map((one) => pageDigest(state.page(one.page), one));
  return createHash('sha256').update(digests.join()).digest('base64');
}

/** States of one crash point share the pages that they do not change, and these never change. */
const pageDigests = new WeakMap<Uint8Array, Map<string, string>>();

function pageDigest(bytes: Uint8Array, { name, ranges }: ReadPage): string {
  let known = pageDigests.get(bytes);
  if (known === undefined) {
    known = new Map();
    pageDigests.set(bytes, known);
  }
  let digest = known.get(name);
  if (digest === undefined) {
    const hash = createHash('sha256');
    for (const { from, to } of ranges) hash.update(bytes.subarray(from, to));
    digest = hash.digest('base64');
    known.set(name, digest);
  }
  return digest;
}
