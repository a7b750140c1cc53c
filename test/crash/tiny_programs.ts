/**
 * Tiny programs for tests of the explorer: they run on an image in memory, and what they do is a
 * trace in memory. Checks on crash states are functions that read files; nothing is mounted.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NOTHING_LOST } from '../../lib/crash/search/exploration.js';
import { type ExploreOptions, stateOf } from '../../lib/crash/explorer.js';
import { openState, type OpenState } from '../../lib/crash/state/open_state.js';
import type {
  CheckOutcome,
  Observation,
  Runner,
  RunRequest,
} from '../../lib/crash/search/runner.js';
import { canaryPage } from '../../lib/canary.js';
import { type Inode, ROOT_INO, S_IFREG } from '../../lib/metadata/inode.js';
import type { MetadataRecord } from '../../lib/metadata/records.js';
import { createDatabase } from '../../lib/metadata/schema.js';
import type { CallEvent, TraceEvent } from '../../lib/trace/event.js';
import type { BaseImage, TraceInfo, TraceSource } from '../../lib/trace/source.js';
import { PAGE_BYTES } from '../../lib/units.js';

export const OPTIONS: ExploreOptions = {
  models: ['dax'],
  check: 'check',
  continue: null,
  expect: [],
  seed: 1,
  statesMax: undefined,
  secondsMax: undefined,
  shard: { index: 0, count: 1 },
  nestedDepth: 0,
  tornBytes: undefined,
  failuresMax: 1,
};

const PAGE_COUNT = 256;
const UUID = '01234567-89ab-4def-8123-456789abcdef';
const PID = 4711;

/** An empty image. Free pages hold the canary of owner 0. */
export function emptyBase(): BaseImage {
  const dir = mkdtempSync(join(tmpdir(), 'fauxdax-unit-'));
  try {
    const path = join(dir, 'meta.db');
    createDatabase(path, { uuid: UUID, pageCount: PAGE_COUNT, uid: 0, gid: 0, nowMs: 0 });
    const database = readFileSync(path);
    database.fill(1, 18, 20);
    const page = (index: number) => canaryPage(Buffer.alloc(PAGE_BYTES), index, 0);
    return { pageCount: PAGE_COUNT, uuid: UUID, database, page };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Files of one directory, by name. */
export class Files {
  protected readonly open: OpenState;

  constructor(open: OpenState) {
    this.open = open;
  }

  has(name: string): boolean {
    return this.open.image.metadata.lookup(ROOT_INO, name) !== undefined;
  }

  read(name: string): string {
    const inode = this.inode(name);
    const bytes = Buffer.alloc(inode.sizeBytes);
    this.open.image.fileData.read(inode, 0, bytes);
    return bytes.toString('latin1');
  }

  names(): string[] {
    return this.open.image.metadata.list(ROOT_INO, 0, 1000).map(({ name }) => name);
  }

  /** As a recovery may: not durable until sync(). */
  overwrite(name: string, offset: number, text: string): void {
    this.open.image.fileData.write(this.inode(name), offset, Buffer.from(text, 'latin1'));
    this.open.image.metadata.endOperation();
  }

  sync(): void {
    this.open.image.fileData.commit();
  }

  protected inode(name: string): Inode {
    const { metadata } = this.open.image;
    const ino = metadata.lookup(ROOT_INO, name);
    if (ino === undefined) throw new Error(`${name} is not there`);
    return metadata.existingInode(ino);
  }
}

/** A program while it is recorded: each method is a call. */
export class Program extends Files {
  readonly events: TraceEvent[] = [];
  private callId = 0;
  private timeNs = 0;

  constructor(base: BaseImage) {
    const events: TraceEvent[] = [];
    super(openState(base, { sink: (event) => events.push(copied(event)) }));
    this.events = events;
    const { image } = this.open;
    image.metadata.sink = (record) => this.record(record);
    image.fileData.commit = () => this.commit('space');
    events.push({ type: 'process', pid: PID, parentPid: 1, command: 'python3 save.py' });
  }

  create(name: string): void {
    this.call({ operation: 'CREATE', ino: ROOT_INO, name }, () => {
      const { metadata } = this.open.image;
      const inode = metadata.createInode({ mode: S_IFREG | 0o644, nlink: 1 });
      metadata.addName(ROOT_INO, name, inode.ino);
      metadata.endOperation();
    });
  }

  write(name: string, offset: number, text: string | Buffer): void {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    const inode = this.inode(name);
    const call = { operation: 'WRITE', ino: inode.ino, offset, lengthBytes: bytes.length };
    this.call(call, () => {
      this.open.image.fileData.write(inode, offset, bytes);
      this.open.image.metadata.endOperation();
    });
  }

  append(name: string, text: string): void {
    this.write(name, this.inode(name).sizeBytes, text);
  }

  truncate(name: string, sizeBytes: number): void {
    const inode = this.inode(name);
    this.call({ operation: 'SETATTR', ino: inode.ino, lengthBytes: sizeBytes, flags: 8 }, () => {
      this.open.image.fileData.setSize(inode, sizeBytes);
      this.open.image.metadata.endOperation();
    });
  }

  /** A page of a mapping that the kernel writes back, for nobody. */
  writeback(name: string, offset: number, text: string): void {
    const bytes = Buffer.from(text, 'latin1');
    const inode = this.inode(name);
    const about = { operation: 'WRITE', ino: inode.ino, offset, lengthBytes: bytes.length };
    this.call({ ...about, isWriteback: true, pid: 0 }, () => {
      this.open.image.fileData.write(inode, offset, bytes);
      this.open.image.metadata.endOperation();
    });
  }

  rename(from: string, to: string): void {
    const call = { operation: 'RENAME', ino: ROOT_INO, name: from, ino2: ROOT_INO, name2: to };
    this.call(call, () => {
      const { metadata, fileData } = this.open.image;
      const inode = this.inode(from);
      if (this.has(to)) {
        const old = this.inode(to);
        metadata.replaceName(ROOT_INO, to, inode.ino);
        fileData.free(old);
        metadata.removeInode(old);
      } else {
        metadata.addName(ROOT_INO, to, inode.ino);
      }
      metadata.removeName(ROOT_INO, from);
      metadata.endOperation();
    });
  }

  unlink(name: string): void {
    this.call({ operation: 'UNLINK', ino: ROOT_INO, name }, () => {
      const { metadata, fileData } = this.open.image;
      const inode = this.inode(name);
      metadata.removeName(ROOT_INO, name);
      fileData.free(inode);
      metadata.removeInode(inode);
      metadata.endOperation();
    });
  }

  fsync(name: string): void {
    const { ino } = this.inode(name);
    this.call({ operation: 'FSYNC', ino, flags: 0 }, () => {
      this.commit('fsync');
      this.events.push({ type: 'force', callId: this.callId, kind: 'fsync', ino });
    });
  }

  fsyncDirectory(): void {
    this.call({ operation: 'FSYNCDIR', ino: ROOT_INO, flags: 0 }, () => {
      this.commit('fsync');
      const force = {
        type: 'force',
        callId: this.callId,
        kind: 'fsyncdir',
        ino: ROOT_INO,
      } as const;
      this.events.push(force);
    });
  }

  print(line: string): void {
    this.events.push({ type: 'output', timeNs: this.timeNs, stream: 'stdout', lines: [line] });
  }

  /** The trace. The program is over. */
  end(base: BaseImage): TraceSource {
    const { timeNs } = this;
    this.events.push({ type: 'workload-end', timeNs, exitStatus: 0, signal: null });
    this.open.close();
    return sourceOf(base, this.events);
  }

  private call(
    about: Omit<CallEvent, 'type' | 'callId' | 'timeNs' | 'pid'> & { pid?: number },
    act: () => void,
  ): void {
    this.callId++;
    this.timeNs += 1000;
    const { callId, timeNs } = this;
    this.open.region.callId = callId;
    this.events.push({ type: 'call', callId, timeNs, pid: PID, ...about });
    act();
    this.events.push({ type: 'return', callId, error: 0 });
  }

  private commit(reason: 'fsync' | 'space'): void {
    this.open.region.fence();
    this.open.image.metadata.commit();
    this.events.push({ type: 'commit', callId: this.callId, reason });
  }

  private record(record: MetadataRecord): void {
    this.events.push({ type: 'metadata', callId: this.callId, record });
  }
}

function copied(event: TraceEvent): TraceEvent {
  return event.type === 'store' ? { ...event, bytes: Buffer.from(event.bytes) } : event;
}

function sourceOf(base: BaseImage, events: readonly TraceEvent[]): TraceSource {
  const info: TraceInfo = {
    dir: '/data',
    workload: 'python3 save.py',
    setup: null,
    startedAt: '2026-01-01T00:00:00.000Z',
    fauxdaxVersion: '0.1.0',
    mountOptions: '',
  };
  return { base, info, events: () => events };
}

/** The trace of a program. @param setup what is there before it, all of it durable */
export function traceOf(
  run: (program: Program) => void,
  setup?: (program: Program) => void,
): TraceSource {
  const base = setup === undefined ? emptyBase() : baseAfter(setup);
  const program = new Program(base);
  run(program);
  return program.end(base);
}

function baseAfter(setup: (program: Program) => void): BaseImage {
  const source = traceOf(setup);
  const position = [...source.events()].length;
  return stateOf(source, { model: 'dax', position, ...NOTHING_LOST });
}

/** What a check does: throws when the state is bad, returns what it prints. */
export type Check = (files: Files, request: RunRequest) => string | void;

/** Runs functions as checks, in turns of the event loop as real programs would be. */
export class FunctionRunner implements Runner {
  runCount = 0;
  readonly hashes: string[] = [];

  constructor(
    private readonly check: Check,
    readonly slotCount = 1,
    private readonly delayMs: () => number = () => 0,
  ) {}

  async run(request: RunRequest): Promise<Observation> {
    this.runCount++;
    this.hashes.push(request.state.imageHash());
    const events: TraceEvent[] = [];
    const sink = (event: TraceEvent) => void events.push(copied(event));
    const open = openState(request.state, request.recorded ? { sink } : {});
    try {
      if (request.recorded) this.recordMetadata(open, events);
      const outcome = this.outcome(new Files(open), request);
      const seen = { outcomes: [outcome], readLines: open.readLines(), stale: open.stale() };
      const delayMs = this.delayMs();
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
      return request.recorded ? { ...seen, trace: sourceOf(request.state, events) } : seen;
    } finally {
      open.close();
    }
  }

  async close(): Promise<void> {
    // Functions leave nothing behind.
  }

  private recordMetadata(open: OpenState, events: TraceEvent[]): void {
    const { metadata, fileData, region } = open.image;
    metadata.sink = (record) => events.push({ type: 'metadata', callId: 0, record });
    fileData.commit = () => {
      region.fence();
      metadata.commit();
      events.push({ type: 'commit', callId: 0, reason: 'fsync' });
    };
  }

  private outcome(files: Files, request: RunRequest): CheckOutcome {
    const about = { phase: 'check', signal: null, timedOut: false, durationMs: 0 } as const;
    try {
      const stdout = this.check(files, request) ?? '';
      return { ...about, exitStatus: 0, stdout, stderr: '' };
    } catch (error) {
      return { ...about, exitStatus: 1, stdout: '', stderr: (error as Error).message };
    }
  }
}
