/**
 * The live side of true DAX mappings: processes under `fauxdax run` and their mappings, from the
 * fault server's events (lib/addon/fault_server.ts) to the engine (lib/dax/engine.ts) and back. There
 * is one for each mount whose files can be mapped directly; the fault server starts with the first run.
 *
 * Events are told apart here. Which processes and mappings there are, a power cut and the end of the
 * mount are dealt with here, too; faults in page_faults.ts, calls in shim_calls.ts.
 *
 * All on the filesystem's thread. Requests on files that are mapped come through change(); see
 * requests.ts.
 */
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { DaxEngine } from '../../lib/dax/engine.js';
import type { Mapping, PageRange } from '../../lib/dax/mmu.js';
import { Errno } from '../../lib/errno.js';
import type { Log } from '../../lib/log.js';
import { type Inode, isRegular } from '../../lib/metadata/inode.js';
import type {
  FaultServer,
  FaultServerEvent,
  FaultServerOptions,
} from '../../lib/addon/fault_server.js';
import type { Recorder } from '../../lib/addon/recorder.js';
import type { NativeRegion } from '../../lib/addon/region.js';
import type { Session } from '../../lib/addon/session.js';
import type { Native } from '../../lib/native.js';
import { FILE_BYTES_MAX, PAGE_BYTES } from '../../lib/units.js';
import { touchStored } from '../attributes.js';
import type { PowerSwitch } from '../crash.js';
import type { Filesystem } from '../filesystem.js';
import { FS_DAX_FL } from '../inode_flags.js';
import { BusPages } from './bus_pages.js';
import { Clients } from './clients.js';
import { type CollisionCounts, Collisions } from './collisions.js';
import { LiveMmu } from './live_mmu.js';
import { PageFaults } from './page_faults.js';
import { ALL_PAGES } from './plans.js';
import { LiveScheduler } from './scheduler.js';
import { NOT_DAX, ShimCalls } from './shim_calls.js';
import { WatchedRegion } from './watched_region.js';
import { WIRE_MAP_OWN, WIRE_MAP_SHARED, WIRE_MAP_SYNC, WIRE_VERSION } from './wire.js';

const SOCKET_NAME = 'dax';

/** A process that does not do what it is told within this is killed when the mount ends. */
const END_MS_MAX = 2000;

/** 128 KiB: zeroed in the time that a fault takes that it saves. */
const AHEAD_PAGES_MAX = 32;

/** Of commands to a process that ended before it carried them out. */
const GONE = new Errno('ESRCH', 'the process has ended').errno;

/** Why a client is gone that did nothing wrong. */
const ENDED = 'it ended';

export interface DaxParts {
  native: Native;
  session: Session;
  recorder: Recorder | undefined;
  log: Log;
  power: PowerSwitch;
}

/** What `fauxdax run` needs to start a program. */
export interface RunTicket {
  socketPath: string;
  /** WIRE_VERSION of the daemon. */
  wireVersion: number;
  /** Whose processes may attach. */
  uid: number;
}

/** What `fauxdax info` shows. Gauges, and counts since the first run. */
export interface DaxInfo {
  /** Runs under way. */
  runs: number;
  /** Processes that may map files, those that outlived their run too. */
  clients: number;
  mappings: number;
  /** Files that are mapped, or hold stores that were not written back. */
  files: number;
  /** Faults and requests that wait for a process. */
  waiting: number;
  faults: number;
  caughtStores: number;
  /** Calls of msync that came here and needed no JavaScript. */
  settledSyncs: number;
  /** Calls of msync that no thread of the shim passed on. */
  rungSyncs: number;
  commands: number;
  /** Of processes, without the kernel; stored. */
  queuedWrites: number;
  /** All zero, but for a bug. */
  collisions: CollisionCounts;
}

/** What exists from the first run on. */
interface Serving {
  server: FaultServer;
  mmu: LiveMmu;
  engine: DaxEngine;
  socketPath: string;
}

export class Dax {
  readonly scheduler: LiveScheduler;
  readonly #fs: Filesystem;
  readonly #parts: DaxParts;
  readonly #clients = new Clients();
  readonly #collisions: Collisions;
  readonly #calls: ShimCalls;
  readonly #faults: PageFaults;
  readonly #busPages = new BusPages((mapping, range) => this.#trap(mapping, range));
  #serving: Serving | undefined;
  #runCount = 0;
  #isEnding = false;

  constructor(fs: Filesystem, parts: DaxParts) {
    this.#fs = fs;
    this.#parts = parts;
    const { faults, nodes } = fs;
    this.scheduler = new LiveScheduler(parts.recorder, (point, ino) =>
      faults.watchesPoints ? faults.matchPoint(point, nodes.path(ino)) : undefined,
    );
    const clients = this.#clients;
    const { scheduler } = this;
    this.#collisions = new Collisions(parts.log, clients);
    this.#calls = new ShimCalls(fs, parts, { scheduler, clients });
    this.#faults = new PageFaults(fs, {
      scheduler,
      clients,
      calls: this.#calls,
      busPages: this.#busPages,
      failed: (error) => parts.power.failed(error),
    });
  }

  /** Whether any run has begun. */
  get isServing(): boolean {
    return this.#serving !== undefined;
  }

  /**
   * Whether a file that nobody has open is DAX once it is opened now: always, by chattr +x, or while
   * anybody is there who could map it. Stays so until its last close.
   */
  opensAsDax(inode: Inode): boolean {
    if (!isRegular(inode)) return false;
    if (this.#fs.options.dax === 'always' || (inode.flags & FS_DAX_FL) !== 0) return true;
    return this.#runCount > 0 || this.#clients.count > 0;
  }

  /**
   * Whether a process maps the file directly, or did and stored what is not written back: then
   * requests on it go by plans.ts.
   */
  isMapped(ino: number): boolean {
    return this.#serving?.engine.isMapped(ino) ?? false;
  }

  /** Whether a mapping shows any of the pages, be it as zeroes or SIGBUS, or did. */
  isShown(ino: number, range: PageRange): boolean {
    return this.#serving?.engine.isShown(ino, range) ?? false;
  }

  /**
   * A run begins; programs find the daemon by the path that is returned.
   * @throws {Errno} those of bind(2)
   */
  beginRun(): RunTicket {
    const { socketPath } = this.#serve();
    this.#runCount += 1;
    return { socketPath, wireVersion: WIRE_VERSION, uid: process.getuid?.() ?? 0 };
  }

  endRun(): void {
    this.#runCount -= 1;
  }

  #serve(): Serving {
    if (this.#serving !== undefined) return this.#serving;
    const { image, options } = this.#fs;
    const { native, session, recorder } = this.#parts;
    const socketPath = join(image.dir, SOCKET_NAME);
    const region = image.region as NativeRegion;
    const serverOptions: FaultServerOptions = {
      socketPath,
      region,
      session,
      onEvents: () => this.#guarded(() => this.#takeEvents()),
      ...(recorder === undefined ? {} : { recorder }),
    };
    const server = native.openFaultServer(serverOptions);
    // Shared anew when they are used again, they are published too.
    this.#fs.sharing.collectTimes();
    this.#fs.sharing.dropAll();
    const watchesStores = options.crashable || recorder !== undefined;
    const extents = (ino: number, { filePage, pageCount }: PageRange) => {
      const inode = this.#fs.metadata.inode(ino);
      if (inode === undefined) return [];
      return this.#fs.metadata.extents(inode).slice(filePage, filePage + pageCount);
    };
    const keepsTimes = (ino: number): boolean => this.#fs.sharing.has(ino);
    const mmu = new LiveMmu({ server, extents, watchesStores, keepsTimes });
    const engine = new DaxEngine({
      region: watchesStores ? new WatchedRegion(region, server, () => mmu.isSettled) : region,
      metadata: image.metadata,
      allocator: image.allocator,
      fileData: image.fileData,
      mmu,
      bugs: options.bugs,
      aheadPagesMax: watchesStores ? 1 : AHEAD_PAGES_MAX,
      force: () => void this.#fs.commit('fsync'),
      endOperation: () => this.#fs.endOperation(),
      collided: (...what) => this.#collisions.collided(...what),
      touched: (inode) => touchStored(this.#fs, inode),
    });
    this.#serving = { server, mmu, engine, socketPath };
    return this.#serving;
  }

  /** The metadata has something to be committed: to be said before whoever changed it knows. */
  unsettle(): void {
    this.#serving?.engine.unsettle();
  }

  /** Outside of any request. What goes wrong here has nobody to be told to. */
  #guarded(run: () => void): void {
    try {
      run();
      this.scheduler.drain();
    } catch (error) {
      this.#parts.power.failed(error);
    }
  }

  #takeEvents(): void {
    const { server } = this.#serving as Serving;
    const events = server.take();
    // Who faults may know of what a file has grown.
    this.#fs.sharing.collectGrowth();
    // Tasks that begin here may answer at once: nothing waits for the end of the batch.
    for (const event of events) this.#handle(this.#serving as Serving, event);
  }

  #handle(serving: Serving, event: FaultServerEvent): void {
    switch (event.type) {
      case 'attached':
        this.#clients.attached(event.client, event.pid);
        return;
      case 'gone':
        this.#gone(serving, event.client, event.reason);
        return;
      case 'map':
        serving.server.map(event.call, ...this.#map(serving, event));
        return;
      case 'unmapped':
        this.#unmapped(serving, event.mapping, event);
        return;
      case 'sync':
        this.#calls.sync(serving, event);
        return;
      case 'fallocate':
        this.#calls.fallocate(serving, event);
        return;
      case 'fault':
        this.#faults.serve(serving, event);
        return;
      case 'protected':
        serving.mmu.protected(event.number);
        return;
      case 'done':
        serving.mmu.done(event.client, event.number);
        this.#collisions.found(event.client, event.collisions);
        if (event.error !== 0 && event.error !== GONE) this.#disobeyed(event.client, event.error);
        return;
    }
  }

  /** @returns the mapping's number, and an errno when there is none */
  #map(
    { engine }: Serving,
    event: FaultServerEvent & { type: 'map' },
  ): [mapping: number, error: number] {
    const inode = this.#fs.metadata.inode(event.ino);
    const node = this.#fs.nodes.get(event.ino);
    if (inode === undefined || node === undefined) return [0, errnoOf('ESTALE')];
    if (!node.isDax || node.opens === 0 || this.#isEnding) return [0, NOT_DAX];
    const { address, lengthBytes, offset } = event;
    const isWhole = [address, lengthBytes, offset].every((bytes) => bytes % PAGE_BYTES === 0);
    if (!isWhole || lengthBytes === 0 || offset + lengthBytes > FILE_BYTES_MAX) {
      return [0, errnoOf('EINVAL')];
    }
    const mapping = this.#clients.map(event.client, {
      ino: event.ino,
      filePage: offset / PAGE_BYTES,
      pageCount: lengthBytes / PAGE_BYTES,
      addressPage: address / PAGE_BYTES,
      isShared: (event.flags & WIRE_MAP_SHARED) !== 0,
      isSync: (event.flags & WIRE_MAP_SYNC) !== 0,
    });
    if (mapping === undefined) return [0, errnoOf('ESTALE')];
    this.#fs.sharing.share(inode);
    engine.attach(mapping, (event.flags & WIRE_MAP_OWN) !== 0);
    // What is queued is stored here, before the mapping shows anything.
    this.#fs.sharing.refresh(inode);
    // It may have cached times from before the file was DAX, for ever; see Call.attributes().
    this.#parts.session.invalidateInode(event.ino, -1, 0);
    return [mapping.id, 0];
  }

  #unmapped({ engine }: Serving, id: number, range: PageRange): void {
    const mapping = this.#clients.mapping(id);
    if (mapping === undefined) return;
    engine.detach(mapping, range);
    this.#clients.unmap(mapping, range.pageCount);
    this.#detached(engine, mapping.ino);
  }

  /** Of a file that nobody maps any more, and nobody stored to, writes may be queued. */
  #detached(engine: DaxEngine, ino: number): void {
    const inode = this.#fs.metadata.inode(ino);
    if (inode !== undefined && !engine.isMapped(ino)) this.#fs.sharing.refresh(inode);
  }

  #gone({ mmu, engine }: Serving, client: number, reason: string): void {
    const pid = this.#clients.pid(client);
    const mappings = this.#clients.gone(client);
    const what = { client, pid, mappings: mappings.length };
    if (reason === ENDED) this.#parts.log.debug(what, 'process detached');
    else this.#parts.log.error(what, `process ${pid} is not served any more: ${reason}`);
    for (const mapping of mappings) engine.detach(mapping, mapping);
    for (const ino of new Set(mappings.map((mapping) => mapping.ino))) this.#detached(engine, ino);
    mmu.gone(client);
  }

  /** Its address space is not what we believe: what it shows cannot be trusted to be taken back. */
  #disobeyed(client: number, error: number): void {
    const pid = this.#clients.pid(client);
    const code = getSystemErrorName(-error);
    this.#parts.log.error(
      { client, pid, code },
      `process ${pid} could not change what its mappings show (${code}), so it could have gone on with ` +
        "pages that are another file's, and was killed: ENOMEM is too many areas or too little " +
        'memory (raise sysctl vm.max_map_count, RLIMIT_AS or the memory limit of its group)',
    );
    if (pid !== undefined) kill(pid);
  }

  #trap(mapping: Mapping, range: PageRange): void {
    if (this.#clients.mapping(mapping.id) !== mapping) return;
    this.#serving?.mmu.zap(mapping, range, false);
  }

  /** The engine, for requests on files that are mapped: there is one then. */
  get engine(): DaxEngine {
    return (this.#serving as Serving).engine;
  }

  /**
   * Runs `remove`, which takes the file's pages away for good, as soon as nobody is shown them. A
   * process may be ending whose memory is gone, but of whose end we have not heard.
   */
  whenNotShown(ino: number, remove: () => void): void {
    this.scheduler.start(ino, this.engine.change(ino, ALL_PAGES, true, remove), {
      done: () => {},
      failed: (error) => this.#parts.power.failed(error),
    });
  }

  /**
   * Runs `apply` while nobody is shown the pages, then `done`, perhaps before it returns; `abandoned`
   * when the power is cut before.
   */
  whileNotShown(
    ino: number,
    pages: PageRange,
    apply: () => void,
    { done, abandoned }: { done: () => void; abandoned: () => void },
  ): void {
    this.scheduler.start(ino, this.engine.change(ino, pages, false, apply), {
      done,
      failed: (error) => this.#parts.power.failed(error),
      abandoned,
    });
  }

  /**
   * The power is about to be cut: no store of a mapping reaches the region from here on; those made
   * so far the cut finds itself. Who waits for a request learns of the cut.
   *
   * @returns what follows the cut: once it has resolved, every access through a mapping sees what
   * the cut left
   */
  beforeCut(): () => Promise<void> {
    const serving = this.#serving;
    if (serving === undefined) return () => Promise.resolve();
    this.scheduler.abandonAll();
    this.#busPages.clear();
    const reset = serving.engine.reset();
    serving.mmu.protectNow();
    return async () => {
      await new Promise<void>((resolve, reject) => {
        this.scheduler.start(0, reset, { done: resolve, failed: reject, abandoned: resolve });
        this.scheduler.drain();
      });
      // Faults of tasks that were abandoned.
      for (const { id, filePage, pageCount } of this.#clients.mappings()) {
        serving.server.wake(id, filePage, pageCount);
      }
    };
  }

  /**
   * Every store to a page that was not stored to since its last writeback comes to the engine: where
   * files are not shared with the session, nobody else keeps their times.
   */
  catchNoStores(): void {
    const serving = this.#serving;
    for (const ino of serving?.engine.inos ?? [])
      serving?.mmu.catchStores(ino, ALL_PAGES, false, false);
  }

  /** At once, and nobody is told: for a mount that is stopped because of a bug. */
  close(): void {
    this.#serving?.server.close();
    this.#serving = undefined;
  }

  info(): DaxInfo | null {
    const serving = this.#serving;
    if (serving === undefined) return null;
    return {
      runs: this.#runCount,
      files: serving.engine.inos.length,
      waiting: this.scheduler.waitingCount,
      collisions: this.#collisions.counts,
      ...serving.server.counters(),
    };
  }

  /**
   * The mount ends with processes that still map its files: each of their accesses is SIGBUS from
   * here on, and what they stored is flushed. One that does not comply is killed.
   */
  async end(): Promise<void> {
    const serving = this.#serving;
    if (serving === undefined || this.#isEnding) return;
    this.#isEnding = true;
    this.scheduler.holdNone();
    this.#busPages.clear();
    const { mmu, engine } = serving;
    const mappings = [...this.#clients.mappings()];
    const shown = mappings.map((mapping) => ({
      mapping,
      protection: mmu.protect(mapping, mapping),
      shown: mmu.showBus(mapping, mapping),
    }));
    const all = Promise.all(
      shown
        .flatMap(({ protection, shown }) => [protection, shown])
        .map((each) => new Promise<void>((resolve) => each.whenReady(resolve))),
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, END_MS_MAX);
    });
    await Promise.race([all, late]);
    clearTimeout(timer);
    for (const {
      mapping,
      shown: { isReady },
    } of shown) {
      const pid = this.#clients.pid(mapping.client);
      if (!isReady && pid !== undefined) kill(pid);
    }
    for (const ino of engine.inos) {
      const writeback = engine.writeback(ino, ALL_PAGES);
      this.scheduler.start(ino, writeback, { done: () => {}, failed: () => {} });
    }
    this.scheduler.drain();
    this.close();
  }
}

function errnoOf(code: 'ESTALE' | 'EINVAL'): number {
  return new Errno(code, '').errno;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
