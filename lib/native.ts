/**
 * The only file that loads the addon. It types the addon's surface and turns native errnos into
 * `Errno`; it decides nothing. Everything runs on the JavaScript thread that calls it, and
 * synchronously.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Errno, type ErrnoName } from './errno.js';
import { FRAME_VERSION } from './frame.js';
import { MAPPING_OP, type MappingOperation } from './trace/request.js';
import type { CrashCount, Keep, Region } from './region.js';

export interface NativeRegion extends Region {
  readonly flushInstruction: 'clwb' | 'clflushopt' | 'clflush';
  readonly path: string;
  undecidedCounters(): UndecidedCounters;
  /**
   * From here on every store, flush, fence and canary is recorded, in the order in which they are
   * made. Once, before anything else uses the region; crash() is refused afterwards.
   */
  record(recorder: Recorder): void;
}

/** How often a crashable region reached the limit of undecided lines it remembers. Monotonic. */
export interface UndecidedCounters {
  /** Flushed lines were drained, as if fenced. */
  limitFences: number;
  /** That was not enough: unflushed lines were written back, as if evicted from the cache. */
  limitEvictions: number;
}

export interface SessionOptions {
  /** An open /dev/fuse descriptor already mounted; owned by the session from here. */
  fd: number;
  /** null: nothing is served natively; no file may be shared. */
  region: NativeRegion | null;
  request: Float64Array;
  reply: Float64Array;
  handler: (opcode: number, name: string | undefined, name2: string | undefined) => number;
  /** Called once: the kernel unmounted us (reason undefined) or the session broke. */
  onEnd: (reason: string | undefined) => void;
  readOnly: boolean;
  /**
   * Files opened FOPEN_DIRECT_IO (also all O_DIRECT ones) may be mapped shared, through the page
   * cache. Without it such an mmap(2) fails with ENODEV.
   */
  directMappings: boolean;
  /** Calls and their returns are recorded here. */
  recorder?: Recorder;
}

/** Monotonic counts since mount. */
export interface SessionCounters {
  requests: number;
  nativeReads: number;
  nativeWrites: number;
  nativeReadBytes: number;
  nativeWriteBytes: number;
  scriptCalls: number;
  helperRequests: number;
  notifications: number;
  /** Times that requests were waited for in place of the event loop; see native/stretch.h. */
  stretches: number;
}

/**
 * Times a native read or write left on a file, not yet known to the metadata. An atime is only a
 * candidate: native service does not know the times from before the file was shared, so apply the
 * rule of relatime (after the mtime, when that is the earlier one).
 */
export interface TouchedTimes {
  ino: number;
  atimeSec: number;
  atimeNsec: number; // atimeSec is NaN when only mtime changed
  mtimeSec: number;
  mtimeNsec: number; // mtimeSec is NaN when only atime changed
}

/**
 * One FUSE connection, served on the thread that made it. A file shared with shareFile() has its
 * READs answered natively where the map says written or hole, and its WRITEs where they stay inside
 * the size and the map says written. All other requests call the handler. Calls that change a file
 * which is not shared do nothing; setMap and setSize close the gate themselves when it is open.
 *
 * A handler that throws is a bug: its request gets EIO, and the session ends through onEnd.
 */
export interface Session {
  readonly requestBytes: Uint8Array;
  readonly replyBytes: Uint8Array;

  /** Begins native service of an inode. Its map starts as one hole of `sizeBytes`. */
  shareFile(ino: number, sizeBytes: number): void;
  unshareFile(ino: number): void;
  /**
   * Replaces the map of pages [filePage, endPage) by `count` extents of 4 numbers each
   * (filePage, regionPage, pageCount, state 0 unwritten / 1 written), sorted, inside the range.
   */
  setMap(
    ino: number,
    filePage: number,
    endPage: number,
    extents: Float64Array,
    count: number,
  ): void;
  setSize(ino: number, sizeBytes: number): void;
  /**
   * What native service may do: bit 0 reads, bit 1 writes, bit 2 reads update atime (relatime),
   * bit 3 the file has no set-id bits or capabilities that a write must take away (without it the
   * writes of unprivileged callers, which ask for that, go to the handler).
   */
  setService(ino: number, bits: number): void;
  /** Waits for native operations on the file to leave, then keeps new ones out. Not nested. */
  closeGate(ino: number): void;
  openGate(ino: number): void;
  /** Takes (and forgets) all pending times, also of files unshared since. */
  takeTouched(): TouchedTimes[];

  /** READDIR(PLUS): adds one entry with the attributes in `reply`; false when it does not fit. */
  addEntry(name: string, cookie: number): boolean;

  /** Makes a deferred READDIR(PLUS) the one being read again, until it is answered. */
  resume(unique: number): void;

  /** Answers a deferred request as if the handler had returned `status` now. */
  answer(unique: number, opcode: number, status: number): void;

  /** Queued to the helper thread; length 0 means to the end, offset -1 attributes only. */
  invalidateInode(ino: number, offset: number, length: number): void;
  invalidateEntry(parentIno: number, name: string): void;
  /** Resolves when every notification queued so far has been carried out. */
  notificationsDone(): Promise<void>;
  /** While true, page-cache WRITEs (FUSE_WRITE_CACHE) are acknowledged and thrown away. */
  discardWriteback(on: boolean): void;

  counters(): SessionCounters;
  /** Stops serving and closes the descriptor. May be called twice. */
  close(): void;
}

/** What a recorded program prints to: a FIFO that its maker has made. */
export interface RecordedOutput {
  path: string;
  stream: 'stdout' | 'mark';
}

/** A call of a mapping to record; native/recorder.h has the native side's. */
export interface MappingCall {
  operation: MappingOperation;
  /** The calling process; 0: it is not known who. */
  pid: number;
  /** Its thread as it knows itself, gettid(2). */
  tid: number;
  ino: number;
  /** In the file. */
  offset: number;
  lengthBytes: number;
  /** DAX_FAULT: 1 for a store. DAX_FALLOCATE: the mode. Others: 0. */
  flags: number;
}

/** Of this recording, not of what was in the trace before. */
export interface RecorderCounters {
  events: number;
  chunks: number;
  calls: number;
}

/**
 * Appends events to a trace (SPEC.md, Trace) in one total order. What is written to the outputs is
 * taken before each call of a program is recorded, and by drain().
 *
 * When the trace file fails, events are thrown away from there on, and drain(), sync() and finish()
 * throw: whoever records looks by calling drain() often.
 */
export interface Recorder {
  /**
   * Records what the native code cannot know; attributed to the call being served on this thread.
   * `metadata`: a record as JSON. `commit`: the reason. `force`: the kind, and the inode as `value`.
   * `workload-end`: the signal or nothing, and the exit status or -1 as `value`; the outputs are
   * emptied before, also of an unfinished line.
   */
  append(kind: 'metadata' | 'commit' | 'force' | 'workload-end', text: string, value: number): void;
  /**
   * What a program does through a DAX mapping begins: the outputs are emptied, the call recorded.
   * @returns its number, odd; end() is to follow
   */
  begin(call: MappingCall): number;
  /**
   * What this thread records from here on belongs to that call, to none with 0.
   * @returns the call it belonged to before
   */
  serve(callId: number): number;
  /** The call is answered next. @param error 0, or the positive errno */
  end(callId: number, error: number): void;
  /** Takes what the outputs hold. @throws {Errno} when the trace cannot be written */
  drain(): void;
  /** Waits until all events so far are in the file. @throws {Errno} when it cannot be written */
  sync(): void;
  /**
   * Ends the trace: it is whole, and on the disk. Nothing may be recorded afterwards.
   * @throws {Errno} when it cannot be written
   */
  finish(): void;
  /** Lets go without an end: the trace counts as cut. May be called twice, and after finish(). */
  close(): void;
  counters(): RecorderCounters;
}

/** Where a client's mapping lies; see native/wire.h. */
export interface FaultServerOptions {
  /** Absolute path of the socket, which is made; mode 0600. */
  socketPath: string;
  region: NativeRegion;
  /** The mount's session: stores that are caught touch the mtime of its shared files. */
  session: Session;
  /** Stores, flushes and fences of mappings are recorded here. */
  recorder?: Recorder;
  /** Called on the JavaScript thread when take() has something; never inside another call. */
  onEvents: () => void;
  /** A helper thread that could run and left a command undone for that long is killed: 10 000. */
  silenceMsMax?: number;
}

export type FaultServerEvent =
  /** A process attached. `tid`s of its calls and faults are those of its threads. */
  | { type: 'attached'; client: number; pid: number }
  /** It ended, exec'ed, or broke the protocol; commands under way count as done. */
  | { type: 'gone'; client: number; reason: string }
  /** To be answered by map(). Addresses are bytes, whole pages. `flags`: WIRE_MAP_*. */
  | {
      type: 'map';
      call: number;
      client: number;
      pid: number;
      address: number;
      lengthBytes: number;
      ino: number;
      offset: number;
      flags: number;
    }
  /** This part of a mapping is gone already; nothing is to be answered. */
  | { type: 'unmapped'; mapping: number; filePage: number; pageCount: number }
  /** msync: to be answered by reply(). The parts of mappings that the range covers. */
  | { type: 'sync'; call: number; client: number; tid: number; parts: MappingPart[] }
  /** To be answered by reply(). */
  | {
      type: 'fallocate';
      call: number;
      client: number;
      tid: number;
      ino: number;
      mode: number;
      offset: number;
      lengthBytes: number;
    }
  /** A thread waits; wake() lets it go on. Not told again while it is not answered. */
  | {
      type: 'fault';
      client: number;
      tid: number;
      mapping: number;
      filePage: number;
      isWrite: boolean;
      isProtected: boolean;
    }
  /** Commands up to `number` of this client are done. */
  | { type: 'done'; client: number; number: number; error: number };

export interface MappingPart {
  mapping: number;
  filePage: number;
  pageCount: number;
}

/** What a mapping's pages are to show: WIRE_TRAP, WIRE_ZERO, WIRE_REGION, WIRE_BUS of wire.h. */
export type ShowKind = 'trap' | 'zero' | 'region' | 'bus';

export interface FaultCounters {
  clients: number;
  mappings: number;
  /** Faults told to JavaScript, and stores caught natively. */
  faults: number;
  caughtStores: number;
  /** Stores that had to wait for a command under way; then they are tried again. */
  heldStores: number;
  commands: number;
}

/**
 * The daemon's end of all shims (native/wire.h): a thread takes userfaultfd messages and calls; what
 * it can decide over an unchanged map it does, the rest becomes events. All calls here are on the
 * JavaScript thread and do not wait for a client.
 */
export interface FaultServer {
  /** Events so far, in order, each once. */
  take(): FaultServerEvent[];

  /** Accepts a `map` event (error 0: from then on its faults come) or refuses it. */
  map(call: number, mapping: number, error: number): void;
  reply(call: number, error: number): void;

  /**
   * Has the client show something else on pages of a mapping.
   * @param regionPage for 'region'
   * @param flags WIRE_DROP_OWN, WIRE_STORABLE, WIRE_POPULATE
   * @returns the number of its `done` event; 0 when there is nobody to wait for
   */
  show(
    mapping: number,
    filePage: number,
    pageCount: number,
    kind: ShowKind,
    regionPage: number,
    flags: number,
  ): number;
  /** Lets threads that wait for a fault in the range try again. */
  wake(mapping: number, filePage: number, pageCount: number): void;
  /** The next store to each page faults (`on`), or stores go through and waiting ones are woken. */
  writeProtect(mapping: number, filePage: number, pageCount: number, on: boolean): void;

  /** Mmu.catchStores() and Mmu.takeDirtied(): the latter as pairs filePage, pageCount. */
  catchStores(ino: number, filePage: number, pageCount: number, on: boolean, isHuge: boolean): void;
  takeDirtied(ino: number): Float64Array;

  /**
   * Recorded or crashable: from now on stores to these region pages by mappings are found by
   * comparing, see sweep(). Caught stores do this by themselves.
   */
  watchPages(regionPage: number, pageCount: number): void;
  /** Records what changed since the last look, line by line; `forget`: and looks no more. */
  sweep(): void;
  sweepPages(regionPage: number, pageCount: number, forget: boolean): void;

  counters(): FaultCounters;
  /** Clients lose their daemon: their next fault or call fails. May be called twice. */
  close(): void;
}

export interface Native {
  /**
   * Maps the region file. A writable one gets its host blocks allocated first.
   * @throws {Errno} those of open(2), fallocate(2) and mmap(2); EINVAL when the file is shorter than
   * `pageCount` pages or neither a file nor a DAX device
   */
  openRegion(path: string, pageCount: number, options: { readOnly: boolean }): NativeRegion;
  openSession(options: SessionOptions): Session;
  /**
   * Goes on with a trace that holds its header and base, and has no end.
   * @throws {Errno} those of open(2); EBADMSG when it is no trace or damaged, EEXIST when it is
   * finished, EINVAL when an output is no FIFO
   */
  openRecorder(path: string, options: { outputs: readonly RecordedOutput[] }): Recorder;
  /**
   * Listens for shims, and serves them.
   * @throws {Errno} those of bind(2); EOPNOTSUPP when the region lies on no tmpfs
   */
  openFaultServer(options: FaultServerOptions): FaultServer;
  /**
   * mount(2) of type fuse.fauxdax; returns the /dev/fuse descriptor, close-on-exec. Needs
   * CAP_SYS_ADMIN. `flags` are MS_* of mount(2); `data` the FUSE options besides fd=.
   */
  mountFuse(dir: string, source: string, flags: number, data: string): number;
  /** umount2(2); `lazy` is MNT_DETACH. */
  unmount(dir: string, lazy: boolean): void;
  /**
   * Receives one descriptor sent by fusermount3 over the socket `fd`. Blocks.
   * @throws {Errno} ENODATA when the peer closed without sending one
   */
  receiveDescriptor(fd: number): number;
  /** A connected pair of Unix stream sockets, close-on-exec. */
  socketPair(): [number, number];
  /** flock(LOCK_EX | LOCK_NB); false when another process holds it. */
  lockFile(fd: number): boolean;
  /** posix_fallocate(3): the host's blocks exist afterwards, so a store never meets a full disk. */
  allocateFile(fd: number, lengthBytes: number): void;
  closeDescriptor(fd: number): void;
  /**
   * The UFFD_FEATURE_* that direct mappings need and this kernel lacks.
   * @throws {Errno} ENOSYS: no userfaultfd; EPERM: this user may not use it
   */
  probeUserfault(): number;
  /** lib/name_codec.ts, as the session does it. */
  decodeName(bytes: Uint8Array): string;
  encodeName(name: string): Uint8Array;
}

/** native/region_object.h. */
interface AddonRegion {
  read(offset: number, target: Uint8Array): void;
  store(offset: number, source: Uint8Array): void;
  storeFlushed(offset: number, source: Uint8Array): void;
  zeroFlushed(offset: number, lengthBytes: number): void;
  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void;
  flush(offset: number, lengthBytes: number): void;
  fence(): void;
  fillCanary(page: number, pageCount: number, ownerIno: number): void;
  poison(page: number): void;
  heal(page: number): void;
  poisonedPages(): number[];
  trackUndecided(): void;
  undecidedLineCount(): number;
  undecidedCounters(): UndecidedCounters;
  record(recorder: AddonRecorder): void;
  crash(keep: Keep['keep'], seed: number | undefined): CrashCount;
  syncHost(): void;
  close(): void;
  flushInstruction(): NativeRegion['flushInstruction'];
}

/** native/recorder_object.h. */
interface AddonRecorder extends Omit<Recorder, 'append' | 'begin'> {
  append(kind: number, text: string, value: number): void;
  begin(
    operation: number,
    pid: number,
    tid: number,
    ino: number,
    offset: number,
    lengthBytes: number,
    flags: number,
  ): number;
}

/** native/fault_server_object.h. */
interface AddonFaultServer extends Omit<FaultServer, 'show'> {
  show(
    mapping: number,
    filePage: number,
    pageCount: number,
    kind: number,
    regionPage: number,
    flags: number,
  ): number;
}

/** The addon as native/addon.cc exports it. */
interface Addon
  extends Omit<Native, 'openRegion' | 'openSession' | 'openRecorder' | 'openFaultServer'> {
  Region: new (path: string, pageCount: number, readOnly: boolean) => AddonRegion;
  Session: new (
    options: Omit<SessionOptions, 'region' | 'recorder'> & {
      region: AddonRegion | null;
      recorder?: AddonRecorder | undefined;
      frameVersion: number;
    },
  ) => Session;
  Recorder: new (path: string, outputs: { path: string; stream: number }[]) => AddonRecorder;
  FaultServer: new (
    options: Omit<FaultServerOptions, 'region' | 'recorder'> & {
      region: AddonRegion;
      recorder?: AddonRecorder | undefined;
    },
  ) => AddonFaultServer;
}

class MappedRegion implements NativeRegion {
  readonly path: string;
  readonly pageCount: number;
  readonly flushInstruction: NativeRegion['flushInstruction'];
  /** What the addon's Session takes; opaque to everybody else. */
  readonly mapped: AddonRegion;

  constructor(addon: Addon, path: string, pageCount: number, readOnly: boolean) {
    this.mapped = run(() => new addon.Region(path, pageCount, readOnly));
    this.path = path;
    this.pageCount = pageCount;
    this.flushInstruction = this.mapped.flushInstruction();
  }

  read(offset: number, target: Uint8Array): void {
    run(() => this.mapped.read(offset, target));
  }

  store(offset: number, source: Uint8Array): void {
    run(() => this.mapped.store(offset, source));
  }

  storeFlushed(offset: number, source: Uint8Array): void {
    run(() => this.mapped.storeFlushed(offset, source));
  }

  zeroFlushed(offset: number, lengthBytes: number): void {
    run(() => this.mapped.zeroFlushed(offset, lengthBytes));
  }

  copyFlushed(fromOffset: number, toOffset: number, lengthBytes: number): void {
    run(() => this.mapped.copyFlushed(fromOffset, toOffset, lengthBytes));
  }

  flush(offset: number, lengthBytes: number): void {
    this.mapped.flush(offset, lengthBytes);
  }

  fence(): void {
    this.mapped.fence();
  }

  fillCanary(page: number, pageCount: number, ownerIno: number): void {
    run(() => this.mapped.fillCanary(page, pageCount, ownerIno));
  }

  poison(page: number): void {
    this.mapped.poison(page);
  }

  heal(page: number): void {
    this.mapped.heal(page);
  }

  poisonedPages(): number[] {
    return this.mapped.poisonedPages();
  }

  trackUndecided(): void {
    run(() => this.mapped.trackUndecided());
  }

  undecidedLineCount(): number {
    return this.mapped.undecidedLineCount();
  }

  undecidedCounters(): UndecidedCounters {
    return this.mapped.undecidedCounters();
  }

  record(recorder: Recorder): void {
    run(() => this.mapped.record(addonRecorder(recorder)));
  }

  crash(keep: Keep): CrashCount {
    const seed = keep.keep === 'seed' ? keep.seed : undefined;
    return run(() => this.mapped.crash(keep.keep, seed));
  }

  syncHost(): void {
    run(() => this.mapped.syncHost());
  }

  close(): void {
    this.mapped.close();
  }
}

/** Event kinds of SPEC.md, Trace, that are recorded from here. */
const EVENT_KIND = { metadata: 8, commit: 9, force: 10, 'workload-end': 13 } as const;
const STREAM = { stdout: 0, mark: 1 } as const;

class FileRecorder implements Recorder {
  /** What the addon's Region and Session take; opaque to everybody else. */
  readonly recorder: AddonRecorder;

  constructor(addon: Addon, path: string, outputs: readonly RecordedOutput[]) {
    const numbered = outputs.map((output) => ({
      path: output.path,
      stream: STREAM[output.stream],
    }));
    this.recorder = run(() => new addon.Recorder(path, numbered));
  }

  append(kind: keyof typeof EVENT_KIND, text: string, value: number): void {
    this.recorder.append(EVENT_KIND[kind], text, value);
  }

  begin({ operation, pid, tid, ino, offset, lengthBytes, flags }: MappingCall): number {
    const code = MAPPING_OP[operation];
    return this.recorder.begin(code, pid, tid, ino, offset, lengthBytes, flags);
  }

  serve(callId: number): number {
    return this.recorder.serve(callId);
  }

  end(callId: number, error: number): void {
    this.recorder.end(callId, error);
  }

  drain(): void {
    run(() => this.recorder.drain());
  }

  sync(): void {
    run(() => this.recorder.sync());
  }

  finish(): void {
    run(() => this.recorder.finish());
  }

  close(): void {
    this.recorder.close();
  }

  counters(): RecorderCounters {
    return this.recorder.counters();
  }
}

function addonRecorder(recorder: Recorder): AddonRecorder {
  if (!(recorder instanceof FileRecorder)) throw new TypeError('recorder is not a trace recorder');
  return recorder.recorder;
}

/** wire_command_kind of native/wire.h. */
const SHOW_KIND = { trap: 1, zero: 2, region: 3, bus: 4 } as const;

class NativeFaultServer implements FaultServer {
  readonly #server: AddonFaultServer;

  constructor(addon: Addon, options: FaultServerOptions) {
    const { region } = options;
    if (!(region instanceof MappedRegion)) throw new TypeError('region is not a mapped region');
    const recorder = options.recorder && addonRecorder(options.recorder);
    const { mapped } = region;
    this.#server = run(() => new addon.FaultServer({ ...options, region: mapped, recorder }));
  }

  take(): FaultServerEvent[] {
    return this.#server.take();
  }

  map(call: number, mapping: number, error: number): void {
    this.#server.map(call, mapping, error);
  }

  reply(call: number, error: number): void {
    this.#server.reply(call, error);
  }

  show(
    mapping: number,
    filePage: number,
    pageCount: number,
    kind: ShowKind,
    regionPage: number,
    flags: number,
  ): number {
    return this.#server.show(mapping, filePage, pageCount, SHOW_KIND[kind], regionPage, flags);
  }

  wake(mapping: number, filePage: number, pageCount: number): void {
    this.#server.wake(mapping, filePage, pageCount);
  }

  writeProtect(mapping: number, filePage: number, pageCount: number, on: boolean): void {
    this.#server.writeProtect(mapping, filePage, pageCount, on);
  }

  catchStores(
    ino: number,
    filePage: number,
    pageCount: number,
    on: boolean,
    isHuge: boolean,
  ): void {
    this.#server.catchStores(ino, filePage, pageCount, on, isHuge);
  }

  takeDirtied(ino: number): Float64Array {
    return this.#server.takeDirtied(ino);
  }

  watchPages(regionPage: number, pageCount: number): void {
    this.#server.watchPages(regionPage, pageCount);
  }

  sweep(): void {
    this.#server.sweep();
  }

  sweepPages(regionPage: number, pageCount: number, forget: boolean): void {
    this.#server.sweepPages(regionPage, pageCount, forget);
  }

  counters(): FaultCounters {
    return this.#server.counters();
  }

  close(): void {
    this.#server.close();
  }
}

/** Calls the addon; an error that carries an errno becomes an `Errno`, a bug stays what it is. */
function run<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof Error) || !('errno' in error) || !('code' in error)) throw error;
    throw new Errno(error.code as ErrnoName, error.message);
  }
}

/**
 * Where node-gyp puts what it built: the addon and the warden. Above this file: two up from lib/,
 * three from dist/lib/.
 */
export function builtFolder(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let dir = start; ; dir = dirname(dir)) {
    const folder = join(dir, 'build', 'Release');
    if (existsSync(join(folder, 'fauxdax.node'))) return folder;
    if (dir === dirname(dir)) {
      throw new Error(`fauxdax.node was not found above ${start}: run npm run build:native`);
    }
  }
}

/** Loads the addon that node-gyp built. Throws when it was not built. */
export function loadNative(): Native {
  const addon = createRequire(import.meta.url)(join(builtFolder(), 'fauxdax.node')) as Addon;
  return {
    openRegion: (path, pageCount, options) =>
      new MappedRegion(addon, path, pageCount, options.readOnly),
    openSession(options) {
      const { region } = options;
      if (region !== null && !(region instanceof MappedRegion)) {
        throw new TypeError('region is not a mapped region');
      }
      const mapped = region?.mapped ?? null;
      const recorder = options.recorder && addonRecorder(options.recorder);
      const frameVersion = FRAME_VERSION;
      return run(() => new addon.Session({ ...options, region: mapped, recorder, frameVersion }));
    },
    openRecorder: (path, { outputs }) => new FileRecorder(addon, path, outputs),
    openFaultServer: (options) => new NativeFaultServer(addon, options),
    mountFuse: (dir, source, flags, data) => run(() => addon.mountFuse(dir, source, flags, data)),
    unmount: (dir, lazy) => run(() => addon.unmount(dir, lazy)),
    receiveDescriptor: (fd) => run(() => addon.receiveDescriptor(fd)),
    socketPair: () => run(() => addon.socketPair()),
    lockFile: (fd) => run(() => addon.lockFile(fd)),
    allocateFile: (fd, lengthBytes) => run(() => addon.allocateFile(fd, lengthBytes)),
    closeDescriptor: (fd) => run(() => addon.closeDescriptor(fd)),
    probeUserfault: () => run(() => addon.probeUserfault()),
    decodeName: (bytes) => addon.decodeName(bytes),
    encodeName: (name) => run(() => addon.encodeName(name)),
  };
}

export type { Keep };
