/** Results that reports are made from: one as a run would give, with hostile text where it can be. */
import type { Result, TimelineEntry } from '../../lib/crash/result/result.js';
import type { CallText } from '../../lib/trace/call_text.js';

/** Markup, a terminal escape, a name that is no UTF-8 (0xff), a mark that turns text around. */
export const HOSTILE = `<script>alert("1")</script>'&\u001b[31m\u{10ffff}\u202e`;

function call(callId: number, position: number, operation: string, text: string): CallText {
  const path = /\(([^,)]*)/.exec(text)?.[1] ?? '';
  const timeNs = position * 41_000;
  return { callId, position, timeNs, pid: 4711, command: 'python3 save.py', operation, path, text };
}

const write = call(3, 12, 'WRITE', 'write(conf.json.tmp, offset 0, 9120 bytes)');
const rename = call(5, 31, 'RENAME2', 'rename(conf.json.tmp, conf.json)');
const open = call(1, 4, 'CREATE', 'create(conf.json.tmp)');
const sync = call(4, 22, 'FSYNC', 'fsync(.)');

function entries(): TimelineEntry[] {
  const list: TimelineEntry[] = [];
  const point = (position: number, passed: number, failed: number): void => {
    list.push({ kind: 'crash-point', position, timeNs: position * 41_000, passed, failed });
  };
  const said = (position: number, text: string): void => {
    list.push({ kind: 'output', position, timeNs: position * 41_000, stream: 'stdout', text });
  };
  list.push({ kind: 'call', ...open });
  point(6, 1, 0);
  list.push({ kind: 'call', ...write });
  point(20, 4, 0);
  list.push({ kind: 'sync', ...sync });
  point(24, 3, 0);
  list.push({ kind: 'call', ...rename });
  point(33, 12, 5);
  said(34, 'saved 1');
  for (let round = 0; round < 12; round++) {
    const at = 40 + round * 10;
    list.push({
      kind: 'call',
      ...call(10 + round, at, 'WRITE', `write(log, offset ${round * 40}, 40 bytes)`),
    });
    list.push({ kind: 'sync', ...call(30 + round, at + 2, 'FSYNC', 'fdatasync(log)') });
    point(at + 4, 2, 0);
    said(at + 6, `logged ${round}`);
  }
  point(170, 0, 0);
  return list;
}

export function result(): Result {
  return {
    fauxdax: { result: 1, version: '0.1.0' },
    trace: 'ab'.repeat(32),
    end: 'failure-found',
    endDetail: 'the first failure ended it; 14 of 31 crash points were not looked at',
    workload: 'python3 save.py --rounds 12',
    setup: 'echo "{}" > conf.json',
    check: 'python3 -c "import json; json.load(open(\'conf.json\'))"',
    continue: null,
    oracles: ['check', 'stale', 'acked'],
    seed: 1,
    limits: {
      statesMax: null,
      secondsMax: 60,
      nestedDepth: 0,
      failuresMax: 1,
      tornBytes: null,
    },
    shard: { index: 0, count: 1 },
    models: [
      {
        model: 'dax',
        end: 'failure-found',
        crashPoints: 31,
        crashPointsExhausted: 17,
        states: {
          possible: '340282366920938463463374607431768211456',
          allowed: '18446744',
          allowedIsExact: true,
          unique: 402,
          run: 211,
          failed: 5,
          prunedSameImage: 1204,
          prunedUnread: 93_211,
        },
        durationMs: 3712,
      },
      {
        model: 'posix',
        end: 'space-exhausted',
        crashPoints: 31,
        crashPointsExhausted: 31,
        states: {
          possible: '4096',
          allowed: '820',
          allowedIsExact: true,
          unique: 97,
          run: 97,
          failed: 12,
          prunedSameImage: 411,
          prunedUnread: 312,
        },
        durationMs: 912,
      },
    ],
    failures: [torn(), hostile()],
    lints: [
      {
        lint: 'rename-before-data',
        severity: 'error',
        text: '`conf.json.tmp` was renamed to `conf.json` without fsync of the file',
        path: 'conf.json.tmp',
        call: rename,
        count: 1,
      },
      {
        lint: 'redundant-sync',
        severity: 'note',
        text: 'fsync of `.` had nothing to make durable',
        path: '.',
        call: sync,
        count: 12,
      },
    ],
    timeline: { durationNs: 7_100_000, entries: entries(), thinned: 48 },
    durationMs: 4711,
  };
}

function torn(): Result['failures'][number] {
  const wanted = Buffer.from(`{"rounds": 12, "name": "${'configuration '.repeat(20)}"}`);
  const found = Buffer.from(wanted);
  found.fill(0, 64, 192);
  return {
    id: 'k7f3q2',
    oracle: 'check',
    models: ['dax', 'posix'],
    choice: {
      model: 'dax',
      position: 33,
      lostOperations: [],
      otherLines: 'newest',
      lines: [
        [65, 0],
        [66, 0],
      ],
    },
    imageHash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    summary: 'the check ended with status 1: JSONDecodeError',
    outcome: {
      phase: 'check',
      exitStatus: 1,
      signal: null,
      timedOut: false,
      stdout: '',
      stderr:
        'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\njson.decoder.JSONDecodeError: Invalid control character at: line 1 column 65 (char 64)\n',
      durationMs: 31.4,
    },
    explanation: {
      text: '`conf.json.tmp` was renamed over `conf.json` before its bytes were durable: after the crash the name is there, and lines 1 to 2 of the file are zeroes.',
      lost: [write],
      survived: [open, rename],
      needs:
        'fdatasync of `conf.json.tmp`, written by python3 save.py in pid 4711, before the rename',
      verified: { states: 312, failed: 0 },
    },
    files: [
      {
        path: 'conf.json',
        sizeWanted: 9120,
        sizeFound: 9120,
        offset: 64,
        wantedHex: wanted.subarray(64, 304).toString('hex'),
        foundHex: found.subarray(64, 304).toString('hex'),
        lines: [1, 2, 70, 71, 72, 140],
        isZero: true,
      },
      {
        path: 'conf.json.tmp',
        sizeWanted: null,
        sizeFound: 12,
        offset: 0,
        wantedHex: '',
        foundHex: Buffer.from('hello world\n').toString('hex'),
        lines: [0],
        isZero: false,
      },
    ],
    similar: 5,
  };
}

function hostile(): Result['failures'][number] {
  return {
    ...torn(),
    id: 'h0st11',
    oracle: 'acked',
    models: ['dax'],
    summary: `acknowledged line is gone: ${HOSTILE}`,
    outcome: {
      phase: 'check',
      exitStatus: null,
      signal: 'SIGSEGV',
      timedOut: false,
      stdout: HOSTILE,
      stderr: `${HOSTILE}\n`,
      durationMs: 0.4,
    },
    explanation: {
      text: `${HOSTILE} was acknowledged before it was durable.`,
      lost: [call(3, 12, 'WRITE', `write(${HOSTILE}, offset 0, 5 bytes)`)],
      survived: [],
      needs: `fsync of ${HOSTILE}`,
      verified: null,
    },
    files: [
      {
        path: HOSTILE,
        sizeWanted: 5,
        sizeFound: null,
        offset: 0,
        wantedHex: '68656c6c6f',
        foundHex: '',
        lines: [0],
        isZero: false,
      },
    ],
    similar: 1,
  };
}
