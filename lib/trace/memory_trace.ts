/**
 * A trace in memory: for tests, and for the recovery that a nested crash interrupts.
 */
import { PagedBase } from './pages.js';
import type { TraceEvent } from './event.js';
import type { BaseImage, TraceInfo, TraceSource } from './source.js';

const NO_INFO: TraceInfo = {
  dir: '/',
  workload: '',
  setup: null,
  startedAt: '1970-01-01T00:00:00.000Z',
  fauxdaxVersion: '',
  mountOptions: '',
};

export class MemoryTrace implements TraceSource {
  readonly info: TraceInfo;
  private readonly list: TraceEvent[] = [];

  constructor(
    readonly base: BaseImage,
    events: Iterable<TraceEvent> = [],
    info: Partial<TraceInfo> = {},
  ) {
    this.info = { ...NO_INFO, ...info };
    for (const event of events) this.append(event);
  }

  get eventCount(): number {
    return this.list.length;
  }

  /** Keeps the event; bytes of a store are copied. */
  append(event: TraceEvent): void {
    this.list.push(event.type === 'store' ? { ...event, bytes: event.bytes.slice() } : event);
  }

  events(): Iterable<TraceEvent> {
    return this.list;
  }
}

/** A base with some pages written; all others are as in a trace file that does not list them. */
export function memoryBase(options: {
  pageCount: number;
  uuid: string;
  database: Uint8Array;
  pages?: ReadonlyMap<number, Uint8Array>;
}): BaseImage {
  const { pages = new Map<number, Uint8Array>(), ...parts } = options;
  const listed = (page: number): Buffer | undefined => {
    const bytes = pages.get(page);
    return bytes === undefined ? undefined : Buffer.from(bytes);
  };
  return new PagedBase({ ...parts, listed });
}
