/**
 * The calls of a trace by their number, for those who speak of a failure: as a person names them,
 * and what of them decides how it is explained. One reading of the trace.
 */
import { CallTexts } from '../trace/call_text.js';
import type { CallEvent, OutputEvent } from '../trace/event.js';
import type { TraceSource } from '../trace/source.js';
import type { CallText } from './result.js';

/** More than a workload for a crash test makes; later ones stay nameless. */
const CALLS_MAX = 500_000;

export interface KnownCall {
  text: CallText;
  event: CallEvent;
}

export class CallBook {
  private readonly calls = new Map<number, KnownCall>();
  private readonly byShape = new Map<string, number[]>();
  private readonly outputs: { position: number; event: OutputEvent }[] = [];

  constructor(source: TraceSource) {
    const texts = new CallTexts(source.base);
    let position = 0;
    for (const event of source.events()) {
      if (event.type === 'call' && this.calls.size < CALLS_MAX) {
        this.calls.set(event.callId, { text: texts.of(event, position), event });
      } else if (event.type === 'output') {
        this.outputs.push({ position, event });
      }
      texts.observe(event);
      position++;
    }
  }

  get(callId: number): KnownCall | undefined {
    return this.calls.get(callId);
  }

  /** In the order they were made; those nobody made are left out. */
  inOrder(callIds: Iterable<number>): KnownCall[] {
    const known = [...new Set(callIds)].flatMap((callId) => this.calls.get(callId) ?? []);
    return known.sort((a, b) => a.text.position - b.text.position);
  }

  /** The first pages of a mapping that the kernel wrote back after a position. */
  writebackAfter(position: number): KnownCall | undefined {
    for (const call of this.calls.values()) {
      if (call.text.position >= position && call.event.isWriteback === true) return call;
    }
    return undefined;
  }

  /** What makes two calls of a loop the same mistake. */
  shape(callId: number): string {
    const call = this.calls.get(callId);
    if (call === undefined) return '';
    const { operation, path, path2 = '' } = call.text;
    return `${operation} ${path} ${path2}`;
  }

  /** Calls of one shape that began between two positions. */
  alike(shape: string, from: number, to: number): number[] {
    if (this.byShape.size === 0) {
      for (const callId of this.calls.keys()) {
        const name = this.shape(callId);
        const list = this.byShape.get(name);
        if (list === undefined) this.byShape.set(name, [callId]);
        else list.push(callId);
      }
    }
    return (this.byShape.get(shape) ?? []).filter((callId) => {
      const { position } = this.calls.get(callId)!.text;
      return position > from && position < to;
    });
  }

  /** Where a line was printed; undefined when it was not. */
  printedAt(line: string): number | undefined {
    return this.outputs.find(({ event }) => event.lines.includes(line))?.position;
  }

  /** How many lines were printed or marked before a position. */
  linesBefore(position: number): number {
    let count = 0;
    for (const output of this.outputs) {
      if (output.position >= position) break;
      count += output.event.lines.length;
    }
    return count;
  }

  /** Positions of outputs in (from, to). */
  hasOutputBetween(from: number, to: number): boolean {
    return this.outputs.some(({ position }) => position > from && position < to);
  }
}
