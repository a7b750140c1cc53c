/**
 * An image in memory whose every store, flush, fence, record and commit is recorded while tests
 * change it through the real FileData and Metadata: short traces without a mount.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OpenState, openState } from '../../lib/crash/state/open_state.js';
import { type BugSwitches, NO_BUGS } from '../../lib/dax/bugs.js';
import { FileData } from '../../lib/dax/file_data.js';
import { canaryPage } from '../../lib/canary.js';
import { type Inode, isDirectory, ROOT_INO } from '../../lib/metadata/inode.js';
import { Metadata } from '../../lib/metadata/metadata.js';
import { createDatabase, openDatabaseBytes } from '../../lib/metadata/schema.js';
import { Allocator, type PageRun } from '../../lib/space/allocator.js';
import type { ForceKind, TraceEvent } from '../../lib/trace/event.js';
import type { BaseImage, TraceInfo, TraceSource } from '../../lib/trace/source.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { OverlayRegion } from '../../lib/crash/state/overlay_region.js';

const UUID = '0123456789abcdef0123456789abcdef'.replace(
  /^(.{8})(.{4})(.{4})(.{4})/,
  '$1-$2-$3-$4-',
);
const INFO: TraceInfo = {
  dir: '/w',
  workload: 'test',
  setup: null,
  startedAt: '2020-01-01T00:00:00.000Z',
  fauxdaxVersion: '0',
  mountOptions: '',
};

const databases = new Map<number, Uint8Array>();

function emptyDatabase(pageCount: number): Uint8Array {
  let bytes = databases.get(pageCount);
  if (bytes === undefined) {
    const dir = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
    const path = join(dir, 'meta.db');
    createDatabase(path, { uuid: UUID, pageCount, uid: 0, gid: 0, nowMs: 0 });
    bytes = readFileSync(path);
    bytes[18] = 1;
    bytes[19] = 1;
    rmSync(dir, { recursive: true });
    databases.set(pageCount, bytes);
  }
  return bytes;
}

/** An image that was never used: every page but the first holds the canary of owner 0. */
export function emptyBase(pageCount: number): BaseImage {
  const page = (index: number) =>
    index === 0 ? Buffer.alloc(PAGE_BYTES) : canaryPage(Buffer.alloc(PAGE_BYTES), index, 0);
  return { pageCount, uuid: UUID, page, database: emptyDatabase(pageCount) };
}

export class RecordedImage implements TraceSource {
  readonly info = INFO;
  readonly recorded: TraceEvent[] = [];
  readonly region: OverlayRegion;
  readonly metadata: Metadata;
  readonly data: FileData;
  /** Set: what changes a file is preceded by the call that does. */
  hasCalls = false;
  private callId = 0;

  constructor(
    readonly base: BaseImage = emptyBase(64),
    readonly bugs: Readonly<BugSwitches> = NO_BUGS,
  ) {
    const sink = (event: TraceEvent) => this.record(event);
    this.region = new OverlayRegion(base, { sink });
    const allocator = new Allocator(base.pageCount, { reuseBeforeCommit: bugs.reuseBeforeCommit });
    const db = openDatabaseBytes(base.database);
    const rows = db
      .prepare('SELECT region_page AS page, page_count AS pageCount FROM extent')
      .all();
    for (const run of rows as PageRun[]) assert(allocator.markUsed(run));
    allocator.markCommitted();
    this.metadata = new Metadata(db, { allocator, bugs });
    const commit = () => this.commit('space');
    this.data = new FileData({ ...this, allocator, commit, metadata: this.metadata, bugs });
    this.metadata.sink = (record) => this.record({ type: 'metadata', callId: this.callId, record });
    // Before the late flushes of the bug that commits before data.
    this.metadata.afterCommit.unshift((released) => {
      this.record({ type: 'commit', callId: this.callId, reason: 'fsync' });
      for (const { page, pageCount, ownerIno } of released) {
        this.region.fillCanary(page, pageCount, ownerIno);
      }
    });
  }

  events(): Iterable<TraceEvent> {
    return this.recorded;
  }

  get position(): number {
    return this.recorded.length;
  }

  record(event: TraceEvent): void {
    const copy = 'bytes' in event ? { ...event, bytes: Buffer.from(event.bytes) } : event;
    this.recorded.push('callId' in copy ? { ...copy, callId: this.callId } : copy);
  }

  /** The next changes come from another call. */
  nextCall(): number {
    return ++this.callId;
  }

  /** One call that changes something, as one operation. */
  operation<T>(change: () => T, call = 'SETATTR'): T {
    this.nextCall();
    const { callId } = this;
    if (this.hasCalls) {
      this.record({ type: 'call', callId, timeNs: 0, operation: call, pid: 1, ino: 0 });
    }
    const result = change();
    this.metadata.endOperation();
    return result;
  }

  commit(_reason: 'space' | 'fsync' = 'fsync'): void {
    this.metadata.endOperation();
    this.region.fence();
    this.metadata.commit();
  }

  print(...lines: string[]): void {
    this.record({ type: 'output', timeNs: 0, stream: 'stdout', lines });
  }

  lookup(path: string): Inode {
    const inode = findInode(this.metadata, path);
    assert(inode !== undefined, `no ${path}`);
    return inode;
  }

  create(path: string): Inode {
    const { parent, name } = this.split(path);
    return this.operation(() => {
      const inode = this.metadata.createInode({ mode: 0o100644, nlink: 1 });
      this.metadata.addName(parent.ino, name, inode.ino);
      return inode;
    });
  }

  mkdir(path: string): Inode {
    const { parent, name } = this.split(path);
    return this.operation(() => {
      const { metadata } = this;
      const inode = metadata.createInode({ mode: 0o040755, nlink: 2, parentIno: parent.ino });
      metadata.addName(parent.ino, name, inode.ino);
      metadata.updateInode(parent, { nlink: parent.nlink + 1 });
      return inode;
    });
  }

  write(path: string, offset: number, bytes: Uint8Array | string): void {
    const inode = this.lookup(path);
    const source = Buffer.from(bytes);
    const count = this.operation(() => this.data.write(inode, offset, source), 'WRITE');
    assert(count > 0);
  }

  truncate(path: string, sizeBytes: number): void {
    this.operation(() => this.data.setSize(this.lookup(path), sizeBytes));
  }

  punch(path: string, offset: number, length: number): void {
    this.operation(() => this.data.punch(this.lookup(path), offset, length), 'FALLOCATE');
  }

  unlink(path: string): void {
    const { parent, name } = this.split(path);
    const inode = this.lookup(path);
    this.operation(() => {
      this.metadata.removeName(parent.ino, name);
      this.drop(inode);
      if (isDirectory(inode)) this.link(parent, -1);
    });
  }

  rename(from: string, to: string): void {
    const source = this.split(from);
    const target = this.split(to);
    const moving = this.lookup(from);
    const displaced = findInode(this.metadata, to);
    this.operation(() => {
      const { metadata } = this;
      metadata.removeName(source.parent.ino, source.name);
      if (isDirectory(moving)) this.link(source.parent, -1);
      if (displaced === undefined) {
        metadata.addName(target.parent.ino, target.name, moving.ino);
      } else {
        metadata.replaceName(target.parent.ino, target.name, moving.ino);
        this.drop(displaced);
        if (isDirectory(displaced)) this.link(target.parent, -1);
      }
      if (isDirectory(moving)) this.link(target.parent, 1);
      if (isDirectory(moving)) metadata.updateInode(moving, { parentIno: target.parent.ino });
    });
  }

  /** fsync, fdatasync, syncfs ... of a path, or of everything. */
  force(kind: ForceKind, path?: string): void {
    this.nextCall();
    const ino = path === undefined ? 0 : this.lookup(path).ino;
    if (this.metadata.dirty) this.commit();
    else this.region.fence();
    this.record({ type: 'force', callId: 0, kind, ino });
  }

  private link(directory: Inode, delta: number): void {
    this.metadata.updateInode(directory, { nlink: directory.nlink + delta });
  }

  private drop(inode: Inode): void {
    this.metadata.updateInode(inode, { nlink: isDirectory(inode) ? 0 : inode.nlink - 1 });
    if (inode.nlink === 0) this.metadata.removeInode(inode);
  }

  private split(path: string): { parent: Inode; name: string } {
    const parts = path.split('/');
    const name = parts.pop()!;
    return { parent: this.lookup(parts.join('/')), name };
  }
}

/** @param path names joined by slashes; '' is the root */
export function findInode(metadata: Metadata, path: string): Inode | undefined {
  let ino: number | undefined = ROOT_INO;
  for (const name of path.split('/').filter((part) => part !== '')) {
    if (ino !== undefined) ino = metadata.lookup(ino, name);
  }
  return ino === undefined ? undefined : metadata.inode(ino);
}

/** Everything a program can see: paths to contents; directories end in a slash. */
export function contentsOf(image: { metadata: Metadata; data: FileData }): Map<string, string> {
  const { metadata, data } = image;
  const found = new Map<string, string>();
  const visit = (ino: number, path: string) => {
    for (const { name, ino: child } of metadata.list(ino, 0, 1000)) {
      const inode = metadata.existingInode(child);
      if (isDirectory(inode)) {
        found.set(`${path}${name}/`, '');
        visit(child, `${path}${name}/`);
      } else {
        const bytes = Buffer.alloc(inode.sizeBytes);
        data.read(inode, 0, bytes);
        found.set(path + name, bytes.toString('latin1'));
      }
    }
  };
  visit(ROOT_INO, '');
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a program sees in a state; `stale` when it was shown a canary. */
export function seenIn(state: BaseImage): { files: Map<string, string>; open: OpenState } {
  const open = openState(state);
  try {
    const { metadata, fileData } = open.image;
    return { files: contentsOf({ metadata, data: fileData }), open };
  } finally {
    open.close();
  }
}
