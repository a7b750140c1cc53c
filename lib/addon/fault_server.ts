/**
 * Who serves the faults of processes that map files directly: typed as fs/dax sees it, over the
 * addon's object, which native/fault_server.h describes. Pages are of 4096 bytes; numbers of mappings
 * are fs/dax's. Everything runs on the JavaScript thread that calls it, and waits for no process.
 */
import { run } from './errno.js';
import { type AddonRecorder, addonRecorder, type Recorder } from './recorder.js';
import { type AddonRegion, addonRegion, type NativeRegion } from './region.js';
import type { Session } from './session.js';

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
  /**
   * Commands up to `number` of this client are done. `collisions`: of them, how many with WIRE_HUGE met
   * pages that the process has of its own, and kept them.
   */
  | { type: 'done'; client: number; number: number; error: number; collisions: number }
  /** Changes by writeProtect() up to `number` are made; after isProtected() was false. */
  | { type: 'protected'; number: number };

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
  /** Told to JavaScript. */
  faults: number;
  /** Besides those: of stores that were only noted, natively. */
  caughtStores: number;
  /** Stores that had to wait for a command under way; then they are tried again. */
  heldStores: number;
  /** Calls of msync that were carried out without JavaScript. */
  settledSyncs: number;
  rungSyncs: number;
  commands: number;
  /** Of processes, without the kernel; stored. */
  queuedWrites: number;
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
   * @param flags WIRE_DROP_OWN, WIRE_STORABLE, WIRE_POPULATE, WIRE_HUGE
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
  /**
   * The next store to each page faults (`on`), or stores go through and waiting ones are woken; soon,
   * and in the order of these calls.
   * @returns its number; 0 when there is nothing to wait for
   */
  writeProtect(mapping: number, filePage: number, pageCount: number, on: boolean): number;
  /**
   * Whether that change is made: nearly always within the moment for which this waits. When not, a
   * `protected` event follows.
   */
  isProtected(number: number): boolean;
  /** All changes so far are made, or within that time the processes that hold them up are killed. */
  protectOrKill(waitMsMax: number): void;

  /** Mmu.catchStores() and Mmu.takeDirtied(): the latter as pairs filePage, pageCount. */
  catchStores(ino: number, filePage: number, pageCount: number, on: boolean, isHuge: boolean): void;
  takeDirtied(ino: number): Float64Array;
  /** Mmu.settled() and Mmu.unsettled(). */
  settled(ino: number): void;
  unsettled(): void;

  /**
   * Recorded or crashable: from now on stores to these region pages by mappings are found by
   * comparing. Caught stores do this by themselves.
   */
  watchPages(regionPage: number, pageCount: number): void;
  /** Records what changed since the last look, line by line; `forget`: and looks no more. */
  sweepPages(regionPage: number, pageCount: number, forget: boolean): void;

  counters(): FaultCounters;
  /** Clients lose their daemon: their next fault or call fails. May be called twice. */
  close(): void;
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

export type FaultServerConstructor = new (
  options: Omit<FaultServerOptions, 'region' | 'recorder'> & {
    region: AddonRegion;
    recorder?: AddonRecorder | undefined;
  },
) => AddonFaultServer;

/** wire_command_kind of native/wire.h. */
const SHOW_KIND = { trap: 1, zero: 2, region: 3, bus: 4 } as const;

export class NativeFaultServer implements FaultServer {
  readonly #server: AddonFaultServer;

  constructor(addonServer: FaultServerConstructor, options: FaultServerOptions) {
    const region = addonRegion(options.region);
    const recorder = options.recorder && addonRecorder(options.recorder);
    this.#server = run(() => new addonServer({ ...options, region, recorder }));
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

  writeProtect(mapping: number, filePage: number, pageCount: number, on: boolean): number {
    return this.#server.writeProtect(mapping, filePage, pageCount, on);
  }

  isProtected(number: number): boolean {
    return this.#server.isProtected(number);
  }

  protectOrKill(waitMsMax: number): void {
    this.#server.protectOrKill(waitMsMax);
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

  settled(ino: number): void {
    this.#server.settled(ino);
  }

  unsettled(): void {
    this.#server.unsettled();
  }

  watchPages(regionPage: number, pageCount: number): void {
    this.#server.watchPages(regionPage, pageCount);
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
