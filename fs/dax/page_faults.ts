/**
 * Faults of mapped pages: from the event to the thread that goes on, or meets SIGBUS. What the page
 * then shows is the engine's doing. In a recording a store that faults is a call of its process.
 */
import type { DaxEngine } from '../../lib/dax/engine.js';
import type { BusError } from '../../lib/dax/mmu.js';
import { Errno } from '../../lib/errno.js';
import type { FaultServer, FaultServerEvent } from '../../lib/addon/fault_server.js';
import { PAGE_BYTES } from '../../lib/units.js';
import type { Filesystem } from '../filesystem.js';
import type { BusPages } from './bus_pages.js';
import type { Clients } from './clients.js';
import type { LiveMmu } from './live_mmu.js';
import type { LiveScheduler } from './scheduler.js';
import type { ShimCalls } from './shim_calls.js';

/** What a recording says of a fault that came to no page. */
const NO_PAGE = new Errno('EIO', 'no page').errno;

interface Served {
  server: FaultServer;
  mmu: LiveMmu;
  engine: DaxEngine;
}

interface Parts {
  scheduler: LiveScheduler;
  clients: Clients;
  calls: ShimCalls;
  busPages: BusPages;
  failed(error: unknown): void;
}

export class PageFaults {
  readonly #fs: Filesystem;
  readonly #parts: Parts;

  constructor(fs: Filesystem, parts: Parts) {
    this.#fs = fs;
    this.#parts = parts;
  }

  /** Lets the thread go on when the engine is done. Nothing happens when the mapping is gone. */
  serve({ server, mmu, engine }: Served, event: FaultServerEvent & { type: 'fault' }): void {
    const { scheduler, clients, calls, busPages, failed } = this.#parts;
    const mapping = clients.mapping(event.mapping);
    if (mapping === undefined) return;
    const { filePage, isWrite } = event;
    const wake = (): void => server.wake(mapping.id, filePage, 1);
    const bus = (why: BusError): void => {
      const shown = mmu.showBus(mapping, { filePage, pageCount: 1 });
      shown.whenReady(wake);
      if (why !== 'beyond-end') busPages.add(mapping, filePage);
    };
    const inode = this.#fs.metadata.inode(mapping.ino);
    // Times of stores that are only noted are kept for shared files.
    if (isWrite && inode !== undefined) this.#fs.sharing.share(inode);
    const kind = event.isProtected ? 'protected' : 'missing';
    const start = (recorded: (error: number) => void): void =>
      scheduler.start(mapping.ino, engine.fault(mapping, filePage, kind, isWrite, event.tid), {
        done: (why) => {
          recorded(why === undefined ? 0 : NO_PAGE);
          if (why === undefined) wake();
          else bus(why);
        },
        failed: (error) => {
          if (!(error instanceof Errno)) return failed(error);
          // The commit that MAP_SYNC needs met a full host disk.
          recorded(error.errno);
          bus('no-space');
        },
      });
    // A load changes nothing.
    if (!isWrite) {
      start(() => {});
      return;
    }
    const place = { ino: mapping.ino, offset: filePage * PAGE_BYTES, lengthBytes: PAGE_BYTES };
    calls.recorded(
      event.client,
      { operation: 'DAX_FAULT', tid: event.tid, flags: 1, ...place },
      start,
    );
  }
}
