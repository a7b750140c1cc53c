/**
 * What an exploration answers: the JSON document of `--json`, which reports are made from and
 * `fauxdax merge` joins. Plain data. Counts that may be huge are decimal strings.
 */
import type { ModelName, StateChoice } from '../choice.js';
import type { CheckOutcome } from '../search/runner.js';
import type { CallText } from '../../trace/call_text.js';
import type { OracleName } from '../search/oracles.js';

export const RESULT_VERSION = 1;

/** Only `space-exhausted` says that no other state exists under the model. */
export type EndName = 'space-exhausted' | 'limit-reached' | 'time-exhausted' | 'failure-found';

/** How several models, or several shards, ended together. */
export function overallEnd(models: readonly ModelResult[], hasFailure: boolean): EndName {
  if (hasFailure) return 'failure-found';
  return models.find(({ end }) => end !== 'space-exhausted')?.end ?? 'space-exhausted';
}

export interface Result {
  fauxdax: { result: typeof RESULT_VERSION; version: string };
  /** Digest of the trace, hex. */
  trace: string;
  end: EndName;
  /** One sentence: which limit ended it, or what was not covered. */
  endDetail: string;
  workload: string;
  setup: string | null;
  check: string;
  continue: string | null;
  /** What was looked for; all that a passing run says something about. */
  oracles: OracleName[];
  seed: number;
  limits: {
    statesMax: number | null;
    secondsMax: number | null;
    nestedDepth: number;
    failuresMax: number;
    tornBytes: number | null;
  };
  /** Shard index and count; 0 of 1 when it is not split. */
  shard: { index: number; count: number };
  /** One for each model explored, in the order asked for. */
  models: ModelResult[];
  /** Each a different failure, minimised; the first is the smallest. */
  failures: FailureResult[];
  lints: LintFinding[];
  timeline: Timeline;
  durationMs: number;
}

export interface ModelResult {
  model: ModelName;
  end: EndName;
  crashPoints: number;
  /** Crash points whose every allowed state was run or proved equal to one that was. */
  crashPointsExhausted: number;
  states: {
    /** Products of all undecided lines and operations, whether the model allows them or not. */
    possible: string;
    allowed: string;
    /** false: there were too many to count, and `allowed` is a lower bound. */
    allowedIsExact: boolean;
    /** Different images among those considered. */
    unique: number;
    run: number;
    failed: number;
    /** Considered and not run: the same image; differing only in what the check never read. */
    prunedSameImage: number;
    prunedUnread: number;
  };
  durationMs: number;
}

export interface FailureResult {
  /** Short, stable: a digest of the model, the choice and the image. What `replay` takes. */
  id: string;
  oracle: OracleName;
  /** Models under which a state fails in the same way. */
  models: ModelName[];
  choice: StateChoice;
  /** For a crash inside a recovery: the digest of the innermost recovery's trace, hex. */
  recovery?: string;
  imageHash: string;
  /** What failed: one line. */
  summary: string;
  outcome: CheckOutcome | null;
  explanation: Explanation;
  /** Files whose bytes differ from the state in which nothing was lost; the first few. */
  files: FileDifference[];
  /** States that failed in the same way, this one included. */
  similar: number;
}

export interface Explanation {
  /** Sentences for a tired engineer. */
  text: string;
  /** What had to be durable first. */
  lost: CallText[];
  /** What survived although it depends on that. */
  survived: CallText[];
  /** `fdatasync of conf.json.tmp before the rename`. */
  needs: string;
  /**
   * Explored again with that order enforced: no state of these failed, or how many still do.
   * null: it was not possible to try.
   */
  verified: Verified | null;
}

export interface Verified {
  /** Different states around the failure, with that order. */
  states: number;
  failed: number;
  /** What those that still fail need, and how it went with that as well; 0 states: not tried. */
  rest?: { needs: string[]; states: number; failed: number };
}

export interface FileDifference {
  path: string;
  /** null: the file is not there. */
  sizeWanted: number | null;
  sizeFound: number | null;
  /** First differing bytes, 256 at most, at `offset`; hex. */
  offset: number;
  wantedHex: string;
  foundHex: string;
  /** 64-byte lines of the file that differ, by index in the file; the first 4096. */
  lines: number[];
  /** All that the file has in those lines are zeroes. */
  isZero: boolean;
}

export type LintName =
  | 'acknowledged-before-durable'
  | 'rename-before-data' // rename without fsync of the file
  | 'name-not-synced' // create, rename, unlink, link without fsync of the directory
  | 'overwrite-before-durable' // bytes overwritten in place while their first version was undecided
  | 'redundant-sync'
  | 'redundant-flush' // of lines of a mapping that did not change since they were flushed
  | 'redundant-drain'; // by a thread that flushed nothing since its last one

export interface LintFinding {
  lint: LintName;
  severity: 'error' | 'warning' | 'note';
  text: string;
  path: string;
  call: CallText;
  /** How often the same was found for the same path and operation. */
  count: number;
}

/** The run as the report draws it; calls of no consequence are left out, long runs thinned. */
export interface Timeline {
  durationNs: number;
  entries: TimelineEntry[];
  /** Entries left out, by kind. */
  thinned: number;
}

export type TimelineEntry =
  | ({ kind: 'call' } & CallText)
  | ({ kind: 'sync' } & CallText)
  | { kind: 'output'; position: number; timeNs: number; stream: 'stdout' | 'mark'; text: string }
  | { kind: 'crash-point'; position: number; timeNs: number; passed: number; failed: number };
