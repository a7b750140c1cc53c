/**
 * A fault server on a region of its own in /dev/shm, and processes that connect to it: fault_client.c,
 * which obeys lines. Nothing is mounted. Everything goes when the test ends.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { FRAME_SLOTS } from '../../lib/frame.js';
import type { FaultServer, FaultServerEvent } from '../../lib/addon/fault_server.js';
import type { Recorder } from '../../lib/addon/recorder.js';
import type { NativeRegion } from '../../lib/addon/region.js';
import type { Session } from '../../lib/addon/session.js';
import { loadNative } from '../../lib/native.js';
import { WIRE_MAP_SHARED, WIRE_MAP_SYNC, WIRE_STORABLE } from '../../fs/dax/wire.js';
import { PAGE_BYTES } from '../../lib/units.js';

export { WIRE_MAP_SHARED as SHARED, WIRE_MAP_SYNC as SYNC, WIRE_STORABLE as STORABLE };
const REGION_PAGES = 2048;
const WAIT_MS_MAX = 20_000;

type Type = FaultServerEvent['type'];
export type EventOf<T extends Type> = Extract<FaultServerEvent, { type: T }>;

export interface PeerOptions {
  recorder?: Recorder;
  crashable?: boolean;
  silenceMsMax?: number;
}

export class FaultPeer {
  readonly folder: string;
  readonly socketPath: string;
  readonly region: NativeRegion;
  readonly session: Session;
  readonly server: FaultServer;
  /** Everything told so far that next() has not taken. */
  readonly events: FaultServerEvent[] = [];
  readonly #program: string;
  readonly #clients: FaultClient[] = [];
  #wake: () => void = () => {};

  constructor(t: Test, options: PeerOptions = {}) {
    this.folder = mkdtempSync('/dev/shm/fauxdax-faults-');
    t.teardown(() => this.close());
    this.#program = join(this.folder, 'fault_client');
    execFileSync('cc', [
      ...'-std=c17 -O1 -Wall -Wextra -Werror -pthread -I native -o'.split(' '),
      this.#program,
      join('test', 'native', 'fault_client.c'),
    ]);
    const path = join(this.folder, 'region');
    writeFileSync(path, '');
    truncateSync(path, REGION_PAGES * PAGE_BYTES);
    const native = loadNative();
    this.region = native.openRegion(path, REGION_PAGES, { readOnly: false });
    if (options.crashable) this.region.trackUndecided();
    if (options.recorder !== undefined) this.region.record(options.recorder);
    // Of no mount: it ends at once, and keeps its files.
    this.session = native.openSession({
      fd: openSync('/dev/fuse', 'r+'),
      region: this.region,
      request: new Float64Array(FRAME_SLOTS),
      reply: new Float64Array(FRAME_SLOTS),
      handler: () => 0,
      onEnd: () => {},
      readOnly: false,
      directMappings: false,
    });
    this.socketPath = join(this.folder, 'x'.repeat(100), 'shims');
    mkdirSync(dirname(this.socketPath));
    const { silenceMsMax } = options;
    this.server = native.openFaultServer({
      socketPath: this.socketPath,
      region: this.region,
      session: this.session,
      onEvents: () => {
        this.events.push(...this.server.take());
        this.#wake();
      },
      ...(silenceMsMax === undefined ? {} : { silenceMsMax }),
      ...(options.recorder === undefined ? {} : { recorder: options.recorder }),
    });
  }

  /** A process; `via` is put before its command line. */
  client(via: string[] = []): FaultClient {
    const client = new FaultClient([...via, this.#program, 'shims'], dirname(this.socketPath));
    this.#clients.push(client);
    return client;
  }

  /** A process that said HELLO, and its number. */
  async attached(): Promise<{ client: FaultClient; number: number }> {
    const client = this.client();
    await client.ask('hello');
    const { client: number } = await this.next('attached');
    return { client, number };
  }

  /** The same with pages of inode 5 mapped as mapping `number`. */
  async mapped(
    mapping: number,
    pageCount: number,
    flags: number,
  ): Promise<{ client: FaultClient; number: number }> {
    const { client, number } = await this.attached();
    client.tell(`map 5 0 ${pageCount} ${flags}`);
    const { call } = await this.next('map');
    this.server.map(call, mapping, 0);
    await client.says('map 0');
    return { client, number };
  }

  /** The next event, which is of this type. */
  async next<T extends Type>(type: T): Promise<EventOf<T>> {
    const deadline = Date.now() + WAIT_MS_MAX;
    while (this.events.length === 0) {
      if (Date.now() > deadline) throw new Error(`no event came; ${type} was waited for`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const event = this.events.shift() as FaultServerEvent;
    if (event.type !== type) throw new Error(`${JSON.stringify(event)} came, not ${type}`);
    return event as EventOf<T>;
  }

  /** Shows region pages, and waits until it is done. */
  async show(mapping: number, filePage: number, pageCount: number, page: number, flags: number) {
    const number = this.server.show(mapping, filePage, pageCount, 'region', page, flags);
    return { number, done: await this.next('done') };
  }

  /** Shows region pages for good, and lets who waits go on. */
  async install(mapping: number, filePage: number, pageCount: number, page: number, flags = 0) {
    await this.show(mapping, filePage, pageCount, page, flags);
    this.server.wake(mapping, filePage, pageCount);
  }

  /** Finds what mappings stored to any watched page. */
  sweep(): void {
    this.server.sweepPages(0, REGION_PAGES, false);
  }

  /** The next store to each page is told, from now on. */
  protect(mapping: number, filePage: number, pageCount: number): void {
    const number = this.server.writeProtect(mapping, filePage, pageCount, true);
    let isMade = number === 0;
    for (let tries = 0; !isMade && tries < 100; tries++) isMade = this.server.isProtected(number);
    if (!isMade) throw new Error('the memory of a process that waits for nobody is not protected');
  }

  number(regionPage: number): number {
    const bytes = Buffer.alloc(4);
    this.region.read(regionPage * PAGE_BYTES, bytes);
    return bytes.readInt32LE(0);
  }

  get socketMode(): number {
    return statSync(this.socketPath).mode & 0o777;
  }

  letEverybodyIn(): void {
    for (const path of [this.folder, dirname(this.socketPath), this.#program])
      chmodSync(path, 0o755);
    chmodSync(this.socketPath, 0o666);
  }

  close(): void {
    for (const client of this.#clients) client.kill();
    this.server?.close();
    this.session?.close();
    this.region?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** One process of fault_client.c. */
export class FaultClient {
  readonly child: ChildProcess;
  readonly #lines: string[] = [];
  #wake: () => void = () => {};
  #ended = false;

  constructor(words: string[], folder: string) {
    this.child = spawn(words[0] as string, words.slice(1), {
      cwd: folder,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface(this.child.stdout as NodeJS.ReadableStream).on('line', (line) => {
      this.#lines.push(line);
      this.#wake();
    });
    this.child.once('exit', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Waits for a line that begins so, whatever else comes before it. */
  async says(start: string): Promise<string> {
    const deadline = Date.now() + WAIT_MS_MAX;
    for (;;) {
      const index = this.#lines.findIndex((line) => line.startsWith(start));
      if (index >= 0) return this.#lines.splice(index, 1)[0] as string;
      if (Date.now() > deadline || this.#ended) {
        throw new Error(`it did not say '${start}' but ${JSON.stringify(this.#lines)}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Tells it something, and waits for its answer to that. */
  async ask(line: string): Promise<string> {
    this.tell(line);
    return await this.says(line.split(' ')[0] as string);
  }

  /** What it said so far and says() has not taken. */
  get said(): readonly string[] {
    return this.#lines;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}
