/** The run as a report draws it: calls, syncs, outputs and crash points in their order, thinned. */
import type { TraceSource } from '../trace/source.js';
import type { PointTally } from './exploration.js';
import type { Timeline, TimelineEntry } from './result.js';

const ENTRIES_MAX = 4000;

export function makeTimeline(source: TraceSource, tallies: readonly PointTally[]): Timeline {
  const entries: TimelineEntry[] = [];
  let timeNs = 0;
  let position = 0;
  let next = 0;
  const addPoints = (): void => {
    for (; tallies[next]?.position === position; next++) {
      entries.push({ kind: 'crash-point', timeNs, ...tallies[next]! });
    }
  };
  for (const event of source.events()) {
    addPoints();
    if ('timeNs' in event) timeNs = event.timeNs;
    if (event.type === 'output') {
      for (const text of event.lines) {
        entries.push({ kind: 'output', position, timeNs, stream: event.stream, text });
      }
    }
    position++;
  }
  addPoints();
  const kept = entries.slice(0, ENTRIES_MAX);
  return { durationNs: timeNs, entries: kept, thinned: entries.length - kept.length };
}
