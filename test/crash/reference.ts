/**
 * The model `dax` told once more, slowly and without cleverness: full copies of the region, every
 * line with all its values, every database made from scratch. What the real one is compared with.
 */
import assert from 'node:assert/strict';
import { openDatabaseBytes } from '../../lib/metadata/schema.js';
import { FileData } from '../../lib/dax/file_data.js';
import { canaryPage } from '../../lib/canary.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import { type Inode, isRegular } from '../../lib/metadata/inode.js';
import { Metadata } from '../../lib/metadata/metadata.js';
import { applyRecord, type MetadataRecord } from '../../lib/metadata/records.js';
import { Allocator } from '../../lib/space/allocator.js';
import { WRITTEN } from '../../lib/space/extent_list.js';
import { FILESYSTEM_THREAD, type TraceEvent } from '../../lib/trace/event.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';
import { contentsOf } from './recorded_image.js';

/** Of one position; traces with more are left out. */
const STATES_MAX = 500;

interface Line {
  /** From the durable one to the newest. */
  values: string[];
  /** Index of the value at each thread's last flush since its last fence. */
  flushed: Map<number, number>;
}

export class TooManyStates extends Error {}

/** What files hold in each state at a position, as JSON, each once. */
export function referenceStates(source: TraceSource, position: number): Set<string> {
  const events = [...source.events()].slice(0, position);
  const ends: number[] = [];
  let committed = 0;
  events.forEach(({ type, ...rest }, index) => {
    const isEnd = (rest as { record?: MetadataRecord }).record?.type === 'end-operation';
    if (type === 'metadata' && isEnd) ends.push(index + 1);
    if (type === 'commit') committed = ends.length;
  });
  const found = new Set<string>();
  for (let kept = committed; kept <= ends.length; kept++) {
    const fenceAt = kept === committed ? undefined : ends[kept - 1]!;
    const lines = linesAfter(source, events, fenceAt);
    const records = recordsOf(events.slice(0, kept === 0 ? 0 : ends[kept - 1]!));
    for (const files of statesOf(source, lines, records)) found.add(files);
    if (found.size > STATES_MAX) throw new TooManyStates();
  }
  return found;
}

function recordsOf(events: TraceEvent[]): MetadataRecord[] {
  return events.flatMap((event) => (event.type === 'metadata' ? [event.record] : []));
}

/** Every line of the region with its possible values, the filesystem fencing once more at a position. */
function linesAfter(
  { base }: TraceSource,
  events: TraceEvent[],
  fenceAt: number | undefined,
): Line[] {
  const lines: Line[] = [];
  for (let page = 0; page < base.pageCount; page++) {
    const bytes = Buffer.from(base.page(page)).toString('latin1');
    for (let at = 0; at < PAGE_BYTES; at += LINE_BYTES) {
      lines.push({ values: [bytes.slice(at, at + LINE_BYTES)], flushed: new Map() });
    }
  }
  const flush = (offset: number, length: number, thread: number) => {
    for (
      let index = Math.floor(offset / LINE_BYTES);
      index * LINE_BYTES < offset + length;
      index++
    ) {
      lines[index]!.flushed.set(thread, lines[index]!.values.length - 1);
    }
  };
  const fence = (thread: number) => {
    for (const line of lines) {
      const durable = line.flushed.get(thread);
      if (durable === undefined) continue;
      line.values = line.values.slice(durable);
      const others = [...line.flushed].map(([other, index]): [number, number] => [
        other,
        index - durable,
      ]);
      line.flushed = new Map(others.filter(([other, index]) => other !== thread && index >= 0));
    }
  };
  events.forEach((event, index) => {
    if (event.type === 'store') {
      storeBytes(lines, event.offset, Buffer.from(event.bytes).toString('latin1'));
      if (event.isFlushed) flush(event.offset, event.bytes.length, FILESYSTEM_THREAD);
    } else if (event.type === 'flush') {
      flush(event.offset, event.lengthBytes, event.thread);
    } else if (event.type === 'fence') {
      fence(event.thread);
    } else if (event.type === 'canary') {
      for (let page = event.page; page < event.page + event.pageCount; page++) {
        const bytes = canaryPage(Buffer.alloc(PAGE_BYTES), page, event.ownerIno).toString('latin1');
        for (let line = 0; line < PAGE_BYTES / LINE_BYTES; line++) {
          const value = bytes.slice(line * LINE_BYTES, (line + 1) * LINE_BYTES);
          const index = page * (PAGE_BYTES / LINE_BYTES) + line;
          lines[index] = { values: [value], flushed: new Map() };
        }
      }
    }
    if (index + 1 === fenceAt) fence(FILESYSTEM_THREAD);
  });
  return lines;
}

function storeBytes(lines: Line[], offset: number, bytes: string): void {
  for (let at = 0; at < bytes.length; ) {
    const line = lines[Math.floor((offset + at) / LINE_BYTES)]!;
    const from = (offset + at) % LINE_BYTES;
    const part = bytes.slice(at, at + LINE_BYTES - from);
    const old = line.values.at(-1)!;
    line.values.push(old.slice(0, from) + part + old.slice(from + part.length));
    at += part.length;
  }
}

function* statesOf(
  { base }: TraceSource,
  lines: Line[],
  records: MetadataRecord[],
): IterableIterator<string> {
  const region = new MemoryRegion(base.pageCount);
  lines.forEach(({ values }, index) => {
    region.store(index * LINE_BYTES, Buffer.from(values[0]!, 'latin1'));
  });
  const db = openDatabaseBytes(base.database);
  const allocator = new Allocator(base.pageCount, { reuseBeforeCommit: true });
  const metadata = new Metadata(db, { allocator });
  const inos = new Set<number>();
  for (const record of records) {
    applyRecord(metadata, record);
    if (record.type === 'create-inode') inos.add(record.ino);
  }
  metadata.commit();
  const data = new FileData({ region, metadata, allocator });
  const files = [...inos].flatMap((ino) => metadata.inode(ino) ?? []);
  const open = visibleLines(metadata, files.filter(isRegular)).flatMap((line) => {
    const values = [...new Set(lines[line]!.values)];
    return values.length > 1 ? [{ line, values }] : [];
  });
  const count = open.reduce((product, { values }) => product * values.length, 1);
  if (count > STATES_MAX) throw new TooManyStates();
  for (let number = 0; number < count; number++) {
    let rest = number;
    for (const { line, values } of open) {
      region.store(line * LINE_BYTES, Buffer.from(values[rest % values.length]!, 'latin1'));
      rest = Math.floor(rest / values.length);
    }
    yield JSON.stringify([...contentsOf({ metadata, data })]);
  }
  metadata.close();
}

function visibleLines(metadata: Metadata, files: Inode[]): number[] {
  const lines: number[] = [];
  for (const inode of files) {
    for (const extent of metadata.extents(inode)) {
      if (extent.state !== WRITTEN) continue;
      for (let byte = 0; byte < extent.pageCount * PAGE_BYTES; byte += LINE_BYTES) {
        if (extent.filePage * PAGE_BYTES + byte >= inode.sizeBytes) break;
        lines.push((extent.regionPage * PAGE_BYTES + byte) / LINE_BYTES);
      }
    }
  }
  assert(lines.every(Number.isInteger));
  return lines;
}
