/**
 * What one reading of a trace tells an exploration about the order of outputs, forces and changes:
 * which acknowledgements are next to a crash point, and whether a completed sync is the last thing
 * that happened. Also the digest that tells one trace from another. Positions count events.
 */
import { createHash } from 'node:crypto';
import type { TraceEvent } from '../../trace/event.js';
import type { TraceSource } from '../../trace/source.js';

export class Landmarks {
  /** Hex; equal for two readings of one trace only. */
  readonly digest: string;
  readonly eventCount: number;
  /** Position of the workload's end; of the end of the trace when it has none. */
  readonly workloadEnd: number;
  /** Positions right before each line of output, with those of the ends. */
  readonly outputs: number[] = [0];
  /** (from, to]: a force was the last event that matters. */
  private readonly quiet: { from: number; to: number }[] = [];

  constructor(source: TraceSource) {
    const hash = createHash('sha256').update(JSON.stringify([source.base.uuid, source.info]));
    hash.update(source.base.database);
    let position = 0;
    let workloadEnd: number | undefined;
    let quietFrom: number | undefined;
    const endQuiet = (): void => {
      if (quietFrom !== undefined) this.quiet.push({ from: quietFrom, to: position });
      quietFrom = undefined;
    };
    for (const event of source.events()) {
      addToDigest(hash, event);
      if (event.type === 'output' && event.stream === 'stdout') this.outputs.push(position);
      if (event.type === 'workload-end') workloadEnd = position;
      if (event.type === 'store' || event.type === 'metadata') endQuiet();
      position++;
      if (event.type === 'force') quietFrom ??= position;
    }
    endQuiet();
    this.eventCount = position;
    this.workloadEnd = workloadEnd ?? position;
    this.outputs.push(position);
    this.digest = hash.digest('hex');
  }

  /** The outputs around a position: the last one that was printed before it, and the next. */
  neighbours(position: number): [before: number, after: number] {
    const index = lowerBound(this.outputs, position, (output) => output);
    return [this.outputs[Math.max(0, index - 1)]!, this.outputs[index]!];
  }

  /** Nothing was stored or changed between a force and this position. */
  isSynced(position: number): boolean {
    const index = lowerBound(this.quiet, position, ({ to }) => to);
    const range = this.quiet[index];
    return range !== undefined && range.from <= position;
  }
}

/** Index of the first item whose position is at least `position`. */
function lowerBound<T>(items: readonly T[], position: number, of: (item: T) => number): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(items[middle]!) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

function addToDigest(hash: ReturnType<typeof createHash>, event: TraceEvent): void {
  if (event.type === 'store') {
    hash.update(`store ${event.callId} ${event.offset} `).update(event.bytes);
  } else if (event.type !== 'metadata') {
    hash.update(JSON.stringify(event));
  } else {
    hash.update(`metadata ${event.callId} ${event.record.type}`);
  }
}
