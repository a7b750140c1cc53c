/**
 * The calls of a trace by their number, for those who speak of a failure: as a person names them,
 * and what of them decides how it is explained. One reading of the trace.
 */
import { type CallText, CallTexts } from '../../trace/call_text.js';
import type { CallEvent, OutputEvent } from '../../trace/event.js';
import type { TraceSource } from '../../trace/source.js';
import { LINE_BYTES } from '../../units.js';

/** More than a workload for a crash test makes; later ones stay nameless. */
const CALLS_MAX = 500_000;

/** Of paths of one kind: counters, process numbers, digests. */
const NUMBERS = /[0-9a-f]{16,}|\d+/g;
/** Calls that only touch times: what of them is lost matters to nobody. */
const QUIET_OPERATIONS = new Set([
  ...['FSYNC', 'FSYNCDIR', 'SYNCFS', 'RELEASE', 'READ'],
  ...['DAX_FLUSH', 'DAX_DRAIN', 'DAX_MSYNC'],
]);
export const NAME_OPERATIONS = new Set([
  ...['CREATE', 'MKNOD', 'MKDIR', 'SYMLINK', 'LINK', 'TMPFILE'],
  ...['RENAME', 'RENAME2', 'UNLINK', 'RMDIR'],
]);

export interface KnownCall {
  text: CallText;
  event: CallEvent;
  /** Positions before its first and after its last change; undefined when it changed nothing. */
  changes?: { from: number; to: number };
  /** A rename over a name that was there. */
  replaces?: boolean;
}

/** Why a store through a mapping was not durable: nobody flushed the line after it, or fenced. */
export type StoreFate =
  | { kind: 'never-flushed' }
  /** The last flush of the line came before the store, when there was nothing to flush. */
  | { kind: 'flushed-early'; flush: KnownCall }
  /** After the crash; also by msync or fsync. */
  | { kind: 'flushed-late'; flush: KnownCall }
  /** The crash came inside the msync or fsync. */
  | { kind: 'sync-under-way'; flush: KnownCall }
  /** Whoever flushed it had not drained. */
  | { kind: 'not-drained'; flush: KnownCall }
  | { kind: 'drained-by-another'; flush: KnownCall };

export class CallBook {
  private readonly calls = new Map<number, KnownCall>();
  private readonly byPattern = new Map<string, number[]>();
  private readonly outputs: { position: number; event: OutputEvent }[] = [];

  constructor(source: TraceSource) {
    const texts = new CallTexts(source.base);
    let position = 0;
    for (const event of source.events()) {
      if (event.type === 'call' && this.calls.size < CALLS_MAX) {
        const located = texts.located(event);
        this.calls.set(event.callId, { text: texts.of(event, position), event: located });
      } else if (event.type === 'store' || event.type === 'metadata') {
        const call = this.calls.get(event.callId);
        if (call !== undefined) {
          call.changes = { from: call.changes?.from ?? position, to: position + 1 };
          if (event.type === 'metadata' && event.record.type === 'replace-name') {
            call.replaces = true;
          }
        }
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

  /** The same without those that only touched times, unless there are no others. */
  thatMatter(callIds: Iterable<number>): KnownCall[] {
    const all = this.inOrder(callIds);
    const some = all.filter(({ event }) => !QUIET_OPERATIONS.has(event.operation));
    return some.length > 0 ? some : all;
  }

  /** Calls that changed something after a position, in the order in which they were done. */
  changingAfter(position: number): KnownCall[] {
    return this.changing(({ to }) => to > position).sort((a, b) => a.changes!.to - b.changes!.to);
  }

  /** The call that made the last change before a position. */
  changedLast(position: number): KnownCall | undefined {
    const last = ({ changes }: KnownCall) => Math.min(changes!.to, position);
    const calls = this.changing(({ from }) => from < position);
    return calls.sort((a, b) => last(a) - last(b)).at(-1);
  }

  private changing(matches: (changes: { from: number; to: number }) => boolean): KnownCall[] {
    return [...this.calls.values()].filter(
      ({ changes, event }) =>
        changes !== undefined && matches(changes) && !QUIET_OPERATIONS.has(event.operation),
    );
  }

  /** The first pages of a mapping that the kernel wrote back after a position. */
  writebackAfter(position: number): KnownCall | undefined {
    for (const call of this.calls.values()) {
      if (call.text.position >= position && call.event.isWriteback === true) return call;
    }
    return undefined;
  }

  /**
   * What became of a store through a mapping, in a line of its file, up to the position of a crash.
   * @param offset of the line, in the file
   */
  flushesOf(store: KnownCall, offset: number, crash: number): StoreFate {
    const { ino } = store.event;
    const touches = ({ event }: KnownCall): boolean => {
      const { offset: from = 0, lengthBytes = 0 } = event;
      return event.ino === ino && from < offset + LINE_BYTES && from + lengthBytes > offset;
    };
    const stored = store.text.position;
    let early: KnownCall | undefined;
    let flush: KnownCall | undefined;
    let late: KnownCall | undefined;
    let underWay: KnownCall | undefined;
    let drain: KnownCall | undefined;
    for (const call of this.calls.values()) {
      const { operation } = call.event;
      const { position } = call.text;
      if (position < stored && operation === 'DAX_STORE' && touches(call)) early = undefined;
      if (operation === 'DAX_FLUSH' && touches(call)) {
        if (position < stored) early = call;
        else if (position < crash) flush = call;
        else late ??= call;
      }
      const isFsync = operation === 'FSYNC' && call.event.ino === ino;
      const isSync = isFsync || (operation === 'DAX_MSYNC' && touches(call));
      if (isSync && position > stored) {
        if (position < crash) underWay = call;
        else late ??= call;
      }
      if (operation === 'DAX_DRAIN' && flush !== undefined && position < crash) drain = call;
    }
    if (flush !== undefined) return { kind: drain ? 'drained-by-another' : 'not-drained', flush };
    if (underWay !== undefined) return { kind: 'sync-under-way', flush: underWay };
    if (early !== undefined) return { kind: 'flushed-early', flush: early };
    return late === undefined ? { kind: 'never-flushed' } : { kind: 'flushed-late', flush: late };
  }

  /** What makes two calls of a loop the same mistake. */
  shape(callId: number): string {
    const call = this.calls.get(callId);
    if (call === undefined) return '';
    const { operation, path, path2 = '' } = call.text;
    return `${operation} ${path} ${path2}`;
  }

  /** What two calls have in common that do the same to numbered files: `message.1`, `message.2`. */
  pattern(callId: number): string {
    return this.shape(callId).replace(NUMBERS, '#');
  }

  /** What a sync has to name to cover a call: the directory of a name, or the file. */
  subject(callId: number): string {
    const call = this.calls.get(callId);
    if (call === undefined) return '';
    const { path, path2 } = call.text;
    if (!NAME_OPERATIONS.has(call.event.operation)) return path.replace(NUMBERS, '#');
    return `${directoryOf(path2 ?? path)}/`;
  }

  /** Calls of one pattern that began between two positions. */
  alike(pattern: string, from: number, to: number): number[] {
    if (this.byPattern.size === 0) {
      for (const callId of this.calls.keys()) {
        const name = this.pattern(callId);
        const list = this.byPattern.get(name);
        if (list === undefined) this.byPattern.set(name, [callId]);
        else list.push(callId);
      }
    }
    return (this.byPattern.get(pattern) ?? []).filter((callId) => {
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

export function directoryOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '.' : path.slice(0, slash);
}
