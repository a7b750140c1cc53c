/**
 * Small images and traces for tests: a base with one file, and one event of each kind and shape.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Test } from 'tap';
import type { CallEvent, TraceEvent } from '../../lib/trace/event.js';
import { writeBase } from '../../lib/trace/base.js';
import { withReadOnlyDatabase } from '../../lib/image.js';
import { serializeDatabase } from '../../lib/metadata/schema.js';
import { memoryBase } from '../../lib/trace/memory_trace.js';
import type { BaseImage, TraceInfo, TraceSource } from '../../lib/trace/source.js';
import { TestImage, UUID } from '../unit/image_fixture.js';
import { PAGE_BYTES } from '../../lib/units.js';

export const PAGE_COUNT = 64;

export const INFO: TraceInfo = {
  dir: '/data',
  workload: './workload',
  setup: null,
  startedAt: '2024-05-06T07:08:09.000Z',
  fauxdaxVersion: '0.1.0',
  mountOptions: 'crashable',
};

/** An image, closed, with `file` (inode 2) in the root: 'old' on its page 0, page 1 zeroes. */
export function closedImage(t: Test): { dir: string; filePage: number } {
  const image = new TestImage(t, { pageCount: PAGE_COUNT });
  const { metadata, fileData } = image.open;
  const inode = metadata.createInode({ mode: 0o100644, nlink: 1 });
  metadata.addName(1, 'file', inode.ino);
  fileData.write(inode, 0, Buffer.from('old'));
  fileData.write(inode, PAGE_BYTES, Buffer.alloc(PAGE_BYTES));
  metadata.endOperation();
  metadata.commit();
  const filePage = metadata.db.prepare('SELECT region_page FROM extent').pluck().get() as number;
  image.open.close();
  const bytes = Buffer.alloc(PAGE_COUNT * PAGE_BYTES);
  image.region.read(0, bytes);
  fs.writeFileSync(path.join(image.dir, 'region'), bytes);
  return { dir: image.dir, filePage };
}

/** The base section of closedImage() in a file. */
export function baseFile(t: Test): { trace: string; nextSequence: number; filePage: number } {
  const { dir, filePage } = closedImage(t);
  const trace = path.join(dir, 'trace');
  return { trace, nextSequence: writeBase(dir, trace, INFO), filePage };
}

/** The base of closedImage(), without a file. */
export function sampleBase(t: Test): BaseImage {
  const { dir } = closedImage(t);
  const database = withReadOnlyDatabase(path.join(dir, 'meta.db'), serializeDatabase);
  return memoryBase({ pageCount: PAGE_COUNT, uuid: UUID, database });
}

let nextCallId = 1;

export function call(operation: string, fields: Partial<CallEvent> = {}): CallEvent {
  const callId = nextCallId++;
  return { type: 'call', callId, timeNs: callId * 1000, operation, pid: 7, ino: 2, ...fields };
}

/** Every kind of event, every operation with arguments, and what is awkward to encode. */
export const SAMPLE_EVENTS: TraceEvent[] = [
  { type: 'process', pid: 7, parentPid: 1, command: 'python3 work.py ü' },
  call('SETATTR', { flags: 8, lengthBytes: 2 ** 40 }),
  call('SETATTR', { flags: 1 }),
  call('SYMLINK', { name: 'link', name2: '../some where' }),
  call('MKNOD', { name: 'pipe' }),
  call('MKDIR', { name: 'dir' }),
  call('UNLINK', { name: 'file' }),
  call('RMDIR', { name: 'dir' }),
  call('RENAME', { ino: 1, ino2: 3, flags: 0, name: 'a', name2: 'b' }),
  call('RENAME2', { ino: 1, ino2: 2 ** 40, flags: 2, name: 'a', name2: 'ä \u{10ff80}' }),
  call('LINK', { ino: 1, ino2: 2, name: 'other' }),
  call('OPEN', { flags: 0o1002 }),
  call('READ', { offset: 2 ** 45, lengthBytes: 17, flags: 0 }),
  call('WRITE', { offset: 5, lengthBytes: 4096, flags: 1 }),
  call('WRITE', { pid: 0, offset: 4096, lengthBytes: 4096, flags: 0, isWriteback: true }),
  call('FSYNC', { flags: 1 }),
  call('FSYNCDIR', { flags: 0 }),
  call('SETXATTR', { name: 'user.x', lengthBytes: 300, flags: 1 }),
  call('REMOVEXATTR', { name: 'user.x' }),
  call('CREATE', { ino: 1, name: 'new', flags: 0o101 }),
  call('TMPFILE', { ino: 1, flags: 0o20000002 }),
  call('FALLOCATE', { offset: 1, lengthBytes: 2 ** 33, flags: 3 }),
  call('COPY_FILE_RANGE', { ino2: 9, offset: 10, lengthBytes: 11 }),
  call('COPY_FILE_RANGE_64', { ino2: 9, offset: 10, lengthBytes: 2 ** 34 }),
  call('RELEASE', { flags: 2 }),
  call('SYNCFS'),
  call('IOCTL', { flags: 0x40086602 }),
  call('DAX_STORE', { ino: 0, offset: 4096 + 70, lengthBytes: 3, flags: 0, thread: 8 }),
  call('DAX_STORE', { ino: 0, offset: 60 * 4096, lengthBytes: 64, flags: 0, thread: 0 }),
  call('DAX_FLUSH', { offset: 0, lengthBytes: 129, flags: 0, thread: 8 }),
  call('DAX_DRAIN', { ino: 0, offset: 0, lengthBytes: 0, flags: 0, thread: 8 }),
  call('DAX_MSYNC', { offset: 4096, lengthBytes: 8192, flags: 0, thread: 8 }),
  call('DAX_FAULT', { offset: 4096, lengthBytes: 4096, flags: 1, thread: 9 }),
  call('DAX_FALLOCATE', { offset: 0, lengthBytes: 4096, flags: 8, thread: 9 }),
  { type: 'store', callId: 1, offset: 4100, bytes: Buffer.from('new'), isFlushed: false },
  { type: 'store', callId: 0, offset: 8192, bytes: Buffer.alloc(4096, 9), isFlushed: true },
  { type: 'flush', callId: 1, offset: 4100, lengthBytes: 3, thread: 0 },
  { type: 'flush', callId: 1, offset: 245_764, lengthBytes: 3, thread: 4_000_000_000 },
  { type: 'fence', callId: 1, thread: 0 },
  { type: 'fence', callId: 1, thread: 4_000_000_000 },
  { type: 'canary', page: 3, pageCount: 2, ownerIno: 8 },
  {
    type: 'metadata',
    callId: 1,
    record: { type: 'add-name', parentIno: 1, name: 'ä\u{10fff3}', ino: 5 },
  },
  {
    type: 'metadata',
    callId: 1,
    record: { type: 'set-xattr', ino: 2, name: 'user.x', value: Uint8Array.of(0, 255, 7) },
  },
  { type: 'metadata', callId: 1, record: { type: 'end-operation' } },
  { type: 'commit', callId: 2, reason: 'fsync' },
  { type: 'force', callId: 2, kind: 'fdatasync', ino: 2 },
  { type: 'force', callId: 2, kind: 'syncfs', ino: 0 },
  { type: 'return', callId: 1, error: 28 },
  { type: 'output', timeNs: 2 ** 50, stream: 'stdout', lines: ['put 1', '', 'put ü'] },
  { type: 'output', timeNs: 5, stream: 'mark', lines: [''] },
  { type: 'workload-end', timeNs: 6, exitStatus: 3, signal: null },
  { type: 'workload-end', timeNs: 7, exitStatus: null, signal: 'SIGKILL' },
];

/** Events that stay valid. */
export function copyEvents(source: TraceSource): TraceEvent[] {
  return Array.from(source.events(), (event) =>
    event.type === 'store' ? { ...event, bytes: new Uint8Array(event.bytes) } : event,
  );
}

/** As events compare: bytes of any kind are the same. */
export function plain(events: TraceEvent[]): unknown {
  return JSON.parse(
    JSON.stringify(events, (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
    ).replace(/\{"type":"Buffer","data":\[([\d,]*)\]\}/g, (_, list: string) =>
      JSON.stringify(Buffer.from(list.split(',').filter(Boolean).map(Number)).toString('hex')),
    ),
  );
}
