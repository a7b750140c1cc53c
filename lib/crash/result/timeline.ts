/**
 * The run as a report draws it: calls, syncs, outputs and crash points in their order. Calls that
 * change nothing are left out; of what there is too much of, every second entry is, again and again
 * until it fits. One reading of the trace, in memory that does not grow with it.
 */
import { CallTexts } from '../../trace/call_text.js';
import type { TraceSource } from '../../trace/source.js';
import type { PointTally } from '../search/exploration.js';
import type { Timeline, TimelineEntry } from './result.js';

/** Of each kind; failing crash points are a kind of their own. */
const ENTRIES_MAX = 800;
const SYNCS = new Set(['FSYNC', 'FSYNCDIR', 'SYNCFS', 'DAX_FLUSH', 'DAX_DRAIN', 'DAX_MSYNC']);
const WITHOUT_CHANGE = new Set(['READ', 'OPEN', 'RELEASE', 'IOCTL']);

export function makeTimeline(source: TraceSource, tallies: readonly PointTally[]): Timeline {
  const kinds = { call: new Thinned(), sync: new Thinned(), output: new Thinned() };
  const points = { failed: new Thinned(), passed: new Thinned() };
  const texts = new CallTexts(source.base);
  let [order, timeNs, position, next] = [0, 0, 0, 0];
  const addPoints = (): void => {
    for (; next < tallies.length && tallies[next]!.position <= position; next++) {
      const tally = tallies[next]!;
      const kind = tally.failed > 0 ? points.failed : points.passed;
      kind.add(order++, { kind: 'crash-point', timeNs, ...tally });
    }
  };
  for (const event of source.events()) {
    addPoints();
    if ('timeNs' in event) timeNs = event.timeNs;
    if (event.type === 'call' && !WITHOUT_CHANGE.has(event.operation)) {
      const kind = SYNCS.has(event.operation) ? 'sync' : 'call';
      kinds[kind].add(order++, { kind, ...texts.of(event, position) });
    } else if (event.type === 'output') {
      const { stream } = event;
      for (const text of event.lines) {
        kinds.output.add(order++, { kind: 'output', position, timeNs, stream, text });
      }
    }
    texts.observe(event);
    position++;
  }
  addPoints();
  const all = [...Object.values(kinds), ...Object.values(points)];
  const kept = all.flatMap(({ entries }) => entries).sort((a, b) => a.order - b.order);
  const thinned = order - kept.length;
  return { durationNs: timeNs, entries: kept.map(({ entry }) => entry), thinned };
}

/** Entries of a list that may be any length, evenly spread. */
class Thinned {
  entries: { order: number; entry: TimelineEntry }[] = [];
  private stride = 1;
  private seen = 0;

  add(order: number, entry: TimelineEntry): void {
    if (this.seen++ % this.stride !== 0) return;
    this.entries.push({ order, entry });
    if (this.entries.length <= ENTRIES_MAX) return;
    this.entries = this.entries.filter((_, index) => index % 2 === 0);
    this.stride *= 2;
  }
}
