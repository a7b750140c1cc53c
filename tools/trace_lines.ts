/**
 * Events of a trace as a person reads them, a line each in columns of fixed width, and as JSON.
 * Bytes are summarised. Fed with every event in order, also those that are not shown: names of
 * files and numbers of operations come from what went before.
 */
import { getSystemErrorMap } from 'node:util';
import type { InodeFields } from '../lib/metadata/inode.js';
import type { MetadataRecord } from '../lib/metadata/records.js';
import { CallTexts } from '../lib/trace/call_text.js';
import { FILESYSTEM_THREAD, type TraceEvent } from '../lib/trace/event.js';
import type { BaseImage } from '../lib/trace/source.js';
import { PAGE_BYTES, pageOf } from '../lib/units.js';
import { visible } from './report/visible.js';
import { color, plural } from './screen.js';
import { formatSize } from './size.js';

const POSITION_WIDTH = 9;
const TIME_WIDTH = 11;
const PROCESS_WIDTH = 18;
const HEAD_BYTES_SHOWN = 8;
const COMMAND_SHOWN_MAX = 100;

export const TRACE_HEADING = color.dim(
  `${'position'.padStart(POSITION_WIDTH)} ${'seconds'.padStart(TIME_WIDTH)}  ` +
    `${'process'.padEnd(PROCESS_WIDTH)}  event`,
);

export class TraceLines {
  private readonly texts: CallTexts;
  /** Number that the next group of metadata records gets. */
  private operation = 0;

  constructor(base: BaseImage) {
    this.texts = new CallTexts(base);
  }

  /** One line without its end. The event is not taken yet: see observe(). */
  line(event: TraceEvent, position: number): string {
    const time = 'timeNs' in event ? (event.timeNs / 1e9).toFixed(6) : '';
    const columns = [
      String(position).padStart(POSITION_WIDTH),
      time.padStart(TIME_WIDTH),
      '',
      this.process(event).slice(0, PROCESS_WIDTH).padEnd(PROCESS_WIDTH),
      '',
      this.describe(event, position),
    ];
    return columns.join(' ').trimEnd();
  }

  /** One line of JSON: the event, its position, and the words for a call. */
  json(event: TraceEvent, position: number): string {
    if (event.type === 'call') {
      const { path, path2, text, command } = this.texts.of(event, position);
      return JSON.stringify({ position, ...event, path, path2, command, text });
    }
    if (event.type === 'store') {
      const { bytes, ...rest } = event;
      const hex = Buffer.from(bytes.subarray(0, HEAD_BYTES_SHOWN)).toString('hex');
      return JSON.stringify({ position, ...rest, lengthBytes: bytes.length, firstBytesHex: hex });
    }
    const replaced = (_: string, value: unknown): unknown =>
      value instanceof Uint8Array ? { lengthBytes: value.length } : value;
    return JSON.stringify({ position, ...event }, replaced);
  }

  /** After line() or json() of the same event. */
  observe(event: TraceEvent): void {
    if (event.type === 'metadata' && event.record.type === 'end-operation') this.operation++;
    this.texts.observe(event);
  }

  private process(event: TraceEvent): string {
    if (event.type === 'process') return String(event.pid);
    if (event.type !== 'call') return '';
    if (event.pid === 0) return 'kernel';
    const word = this.texts.command(event.pid).split(' ')[0] ?? '';
    return visible(`${event.pid} ${word.slice(word.lastIndexOf('/') + 1)}`);
  }

  private describe(event: TraceEvent, position: number): string {
    switch (event.type) {
      case 'call':
        return visible(this.texts.of(event, position).text);
      case 'return':
        return event.error === 0 ? color.dim('  = 0') : color.red(`  = ${errorName(event.error)}`);
      case 'store': {
        const { bytes, offset, isFlushed } = event;
        const head = Buffer.from(bytes.subarray(0, HEAD_BYTES_SHOWN)).toString('hex');
        const more = bytes.length > HEAD_BYTES_SHOWN ? '...' : '';
        const flushed = isFlushed ? '' : ', not flushed';
        return `  store ${formatSize(bytes.length)} at ${this.place(offset)}${flushed}: ${head}${more}`;
      }
      case 'flush': {
        const by = threadText(event.thread);
        return `  flush ${formatSize(event.lengthBytes)} at ${this.place(event.offset)}${by}`;
      }
      case 'fence':
        return color.cyan(`  fence${threadText(event.thread)}`);
      case 'canary': {
        const pages = plural(event.pageCount, 'page');
        return `  canary in ${pages} from ${event.page}, last of inode ${event.ownerIno}`;
      }
      case 'metadata':
        return `  ${visible(this.describeRecord(event.record))}`;
      case 'commit':
        return color.cyan(`  commit (${event.reason})`);
      case 'force': {
        const what = event.ino === 0 ? 'all' : this.texts.paths.path(event.ino);
        return color.green(visible(`  durable by ${event.kind}: ${what}`));
      }
      default:
        return describeWorkload(event);
    }
  }

  /** `page 12 + 64, file offset 128`: the region, and the file that has the page. */
  private place(offset: number): string {
    const found = this.texts.places.find(offset);
    if (found === undefined) return regionPlace(offset);
    const path = visible(this.texts.paths.path(found.ino));
    return `${regionPlace(offset)} (${path}, offset ${found.offset})`;
  }

  private describeRecord(record: MetadataRecord): string {
    if (record.type === 'end-operation') return `end of operation ${this.operation}`;
    const { type, ...fields } = record;
    return `${type} ${describeFields(fields)}`;
  }
}

function describeWorkload(event: TraceEvent): string {
  switch (event.type) {
    case 'output': {
      const word = event.stream === 'mark' ? 'marks' : 'prints';
      return color.yellow(`${word} ${event.lines.map((line) => `'${visible(line)}'`).join(' ')}`);
    }
    case 'process':
      return `is '${shortened(event.command)}', child of ${event.parentPid}`;
    case 'workload-end': {
      const how = event.signal ?? `status ${event.exitStatus ?? 'unknown'}`;
      return color.bold(`end of the workload: ${how}`);
    }
    default:
      return event.type;
  }
}

/** `ino 5, {sizeBytes 10, times}`; what a new inode has of zeroes is left out. */
function describeFields(fields: object): string {
  const words: string[] = [];
  let hasTimes = false;
  for (const [name, value] of Object.entries(fields as Record<string, unknown>)) {
    if (/^[abcm]time/.test(name)) hasTimes = true;
    else words.push(describeField(name, value));
  }
  if (hasTimes) words.push('times');
  return words.join(', ');
}

function describeField(name: string, value: unknown): string {
  if (value instanceof Uint8Array) return `${name} of ${formatSize(value.length)}`;
  if (name === 'fields') {
    const set = Object.entries(value as InodeFields).filter(([, field]) => Boolean(field));
    return `{${describeFields(Object.fromEntries(set))}}`;
  }
  if (typeof value === 'object' && value !== null) return `{${describeFields(value)}}`;
  if (name === 'mode') return `mode ${(value as number).toString(8)}`;
  return `${name} ${typeof value === 'string' ? `'${value}'` : String(value)}`;
}

/** `page 12 + 64` */
function regionPlace(offset: number): string {
  const page = pageOf(offset);
  const rest = offset - page * PAGE_BYTES;
  return rest === 0 ? `page ${page}` : `page ${page} + ${rest}`;
}

function threadText(thread: number): string {
  return thread === FILESYSTEM_THREAD ? '' : ` by thread ${thread}`;
}

function shortened(command: string): string {
  const text = visible(command);
  return text.length > COMMAND_SHOWN_MAX ? `${text.slice(0, COMMAND_SHOWN_MAX)}...` : text;
}

function errorName(error: number): string {
  return getSystemErrorMap().get(-error)?.[0] ?? `error ${error}`;
}
