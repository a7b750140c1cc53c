/**
 * Making crash states: an image of 1 GiB with a file of 256 MiB, and states that each differ from
 * the one before in 100 lines, every changed page read. Prints one line of JSON. Started by the
 * runner, and by hand:
 *
 *   node dist/bench/make_states.js DIRECTORY COUNT
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StateChoice } from '../lib/crash/choice.js';
import { openState } from '../lib/crash/state/open_state.js';
import { type Point, points } from '../lib/crash/state/points.js';
import { createDatabase } from '../lib/metadata/schema.js';
import type { TraceEvent } from '../lib/trace/event.js';
import type { BaseImage, TraceInfo, TraceSource } from '../lib/trace/source.js';
import { LINE_BYTES, PAGE_BYTES } from '../lib/units.js';

const pageCount = 2 ** 30 / PAGE_BYTES;
const uuid = '01234567-89ab-cdef-0123-456789abcdef';
const fileMib = 256;
const linesOfState = 100;
const warmUpStates = 20;
const info: TraceInfo = {
  dir: '/dir',
  workload: 'bench',
  setup: null,
  startedAt: '2020-01-01T00:00:00.000Z',
  fauxdaxVersion: '0',
  mountOptions: '',
};

const [directory = '', countWord = ''] = process.argv.slice(2);
const count = Number(countWord);
if (!(count > 0)) throw new Error('usage: make_states DIRECTORY COUNT');

function emptyImage(): BaseImage {
  const path = join(directory, 'meta.db');
  createDatabase(path, { uuid, pageCount, uid: 0, gid: 0, nowMs: 0 });
  const database = readFileSync(path);
  // A database in memory has no log beside it.
  database.fill(1, 18, 20);
  const zeroes = new Uint8Array(PAGE_BYTES);
  return { pageCount, uuid, database, page: () => zeroes };
}

/** A file is written and committed; then twice as many of its lines as a state differs in. */
function recordTrace(base: BaseImage): TraceSource {
  const events: TraceEvent[] = [];
  const sink = (event: TraceEvent): void => {
    events.push('bytes' in event ? { ...event, bytes: event.bytes.slice() } : event);
  };
  const { image } = openState(base, { sink });
  const { metadata, fileData, region } = image;
  metadata.sink = (record) => events.push({ type: 'metadata', callId: 1, record });
  const file = metadata.createInode({ mode: 0o100644, nlink: 1 });
  metadata.addName(1, 'file', file.ino);
  const block = new Uint8Array(2 ** 20).fill(1);
  for (let mib = 0; mib < fileMib; mib++) fileData.write(file, mib * block.length, block);
  metadata.endOperation();
  region.fence();
  metadata.commit();
  events.push({ type: 'commit', callId: 1, reason: 'fsync' });
  const line = new Uint8Array(LINE_BYTES).fill(7);
  for (let index = 0; index < 2 * linesOfState; index++) {
    fileData.write(file, index * 10 * PAGE_BYTES + 2 * LINE_BYTES, line);
  }
  metadata.endOperation();
  const end: TraceEvent = { type: 'workload-end', timeNs: 0, exitStatus: 0, signal: null };
  return { base, info, events: () => [...events, end] };
}

/** A point is valid inside `use`. */
function atTheEnd<T>(source: TraceSource, use: (point: Point) => T): T {
  for (const point of points(source, 'dax')) if (point.reason === 'end') return use(point);
  throw new Error('the trace has no end');
}

function makeState(point: Point, lines: number[]): void {
  const choice: StateChoice = {
    model: 'dax',
    position: point.position,
    lostOperations: [],
    otherLines: 'newest',
    lines: lines.map((line) => [line, 0]),
  };
  const state = point.state(choice);
  for (const line of lines) state.page(Math.floor((line * LINE_BYTES) / PAGE_BYTES));
  state.release();
}

atTheEnd(recordTrace(emptyImage()), (point) => {
  const lines = point.data({ lostOperations: [] }).units.map((unit) => unit.line);
  const choose = (index: number): number[] =>
    lines.slice(index % linesOfState, (index % linesOfState) + linesOfState);
  for (let index = 0; index < warmUpStates; index++) makeState(point, choose(index));
  const rssBefore = process.memoryUsage.rss();
  const begin = performance.now();
  for (let index = 0; index < count; index++) makeState(point, choose(index));
  const value = (performance.now() - begin) / count;
  const grownMib = (process.memoryUsage.rss() - rssBefore) / 2 ** 20;
  console.log(JSON.stringify({ value, states: count, grownMib }));
});
