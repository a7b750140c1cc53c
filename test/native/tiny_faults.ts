/**
 * The smallest policy for the fault server, over a TinyMount: page p of the file is region page
 * p + 1, and is a hole until somebody stores to it. What programs may ask for beside:
 * FALLOC_FL_COLLAPSE_RANGE ends the file at `offset` for mappings (what lies behind is SIGBUS, own
 * pages go), FALLOC_FL_INSERT_RANGE at 0 undoes that, and has all pages fault again; at another offset it
 * shows `length` from there in private mappings, as if by one entry of 2 MiB.
 */
import { join } from 'node:path';
import type { FaultServer, FaultServerEvent, ShowKind } from '../../lib/addon/fault_server.js';
import {
  WIRE_DROP_OWN,
  WIRE_HUGE,
  WIRE_MAP_SHARED,
  WIRE_POPULATE,
  WIRE_STORABLE,
} from '../../fs/dax/wire.js';
import { loadNative } from '../../lib/native.js';
import { FILE_INO, FILE_PAGES, type TinyMount } from './tiny_mount.js';

const ESTALE = 116;
const COLLAPSE = 8;
const INSERT = 0x20;

interface Mapping {
  number: number;
  client: number;
  filePage: number;
  pageCount: number;
  isShared: boolean;
}

export class TinyFaults {
  readonly server: FaultServer;
  readonly socketPath: string;
  /** As they came. */
  readonly events: FaultServerEvent[] = [];
  /** File pages that are no holes. */
  readonly written = new Set<number>();
  /** Stores to protected pages that were no holes. */
  caughtStores = 0;
  /** Pages from here on are SIGBUS. */
  endPage = FILE_PAGES;
  /** MAP calls get this errno. */
  refusal = 0;
  readonly #mappings = new Map<number, Mapping>();
  readonly #waiting: { client: number; number: number; then: () => void }[] = [];
  #lastMapping = 0;

  constructor(private readonly mount: TinyMount) {
    this.socketPath = join(mount.imageDir, 'socket');
    const { region, session } = mount;
    this.server = loadNative().openFaultServer({
      socketPath: this.socketPath,
      region,
      session,
      onEvents: () => this.#serve(),
    });
  }

  close(): void {
    this.server.close();
  }

  /** A file of holes again, for the next program. */
  forget(): void {
    this.events.length = 0;
    this.caughtStores = 0;
    this.written.clear();
    this.endPage = FILE_PAGES;
    this.refusal = 0;
    const zeroes = Buffer.alloc(4096);
    for (let page = 0; page < FILE_PAGES; page++) {
      this.mount.region.storeFlushed((page + 1) * 4096, zeroes);
    }
  }

  /** Entries of 2 MiB that met pages of a process's own. */
  get collisions(): number {
    return this.events.reduce((sum, event) => {
      return event.type === 'done' ? sum + event.collisions : sum;
    }, 0);
  }

  countOf(type: FaultServerEvent['type']): number {
    return this.events.filter((event) => event.type === type).length;
  }

  #serve(): void {
    for (const event of this.server.take()) {
      this.events.push(event);
      this.#take(event);
    }
  }

  #take(event: FaultServerEvent): void {
    switch (event.type) {
      case 'map':
        this.#map(event);
        break;
      case 'gone':
        for (const mapping of [...this.#mappings.values()]) {
          if (mapping.client === event.client) this.#mappings.delete(mapping.number);
        }
        break;
      case 'fault':
        this.#fault(event);
        break;
      case 'sync':
        for (const part of event.parts) {
          const number = this.server.writeProtect(
            part.mapping,
            part.filePage,
            part.pageCount,
            true,
          );
          while (number > 0 && !this.server.isProtected(number));
        }
        this.server.reply(event.call, 0);
        break;
      case 'fallocate':
        this.#allocate(event);
        break;
      case 'done':
        for (const wait of this.#waiting.splice(0)) {
          const isDone = wait.client === event.client && wait.number <= event.number;
          if (isDone) wait.then();
          else this.#waiting.push(wait);
        }
        break;
    }
  }

  #map(event: FaultServerEvent & { type: 'map' }): void {
    const refusal = event.ino === FILE_INO ? this.refusal : ESTALE;
    if (refusal !== 0) {
      this.server.map(event.call, 0, refusal);
      return;
    }
    const number = ++this.#lastMapping;
    this.#mappings.set(number, {
      number,
      client: event.client,
      filePage: event.offset / 4096,
      pageCount: event.lengthBytes / 4096,
      isShared: (event.flags & WIRE_MAP_SHARED) !== 0,
    });
    this.server.map(event.call, number, 0);
  }

  #fault(event: FaultServerEvent & { type: 'fault' }): void {
    const mapping = this.#mappings.get(event.mapping);
    if (mapping === undefined) return;
    const page = event.filePage;
    const wake = () => this.server.wake(mapping.number, page, 1);
    if (page >= this.endPage) {
      this.#show(mapping, page, 1, 'bus', 0, wake);
      return;
    }
    const isStore = event.isWrite && mapping.isShared;
    if (isStore && event.isProtected && this.written.has(page)) {
      this.caughtStores++;
      this.server.writeProtect(mapping.number, page, 1, false);
      return;
    }
    if (!isStore) {
      const kind = this.written.has(page) ? 'region' : 'zero';
      this.#show(mapping, page, 1, kind, WIRE_POPULATE, wake);
      return;
    }
    const wasHole = !this.written.has(page);
    this.written.add(page);
    const others = wasHole ? [...this.#mappings.values()].filter((it) => it !== mapping) : [];
    this.#showAll(others, page, 1, 'trap', 0, () => {
      this.#show(mapping, page, 1, 'region', WIRE_STORABLE, wake);
    });
  }

  #allocate(event: FaultServerEvent & { type: 'fallocate' }): void {
    const first = event.offset / 4096;
    let count = event.lengthBytes / 4096;
    let flags = 0;
    if (event.mode & INSERT && first > 0) {
      const reply = () => this.server.reply(event.call, 0);
      const shown = [...this.#mappings.values()].filter(({ isShared }) => !isShared);
      this.#showAll(shown, first, count, 'region', WIRE_HUGE, reply);
      return;
    }
    if (event.mode & (COLLAPSE | INSERT)) {
      this.endPage = event.mode & COLLAPSE ? first : FILE_PAGES;
      count = FILE_PAGES - first;
      flags = event.mode & COLLAPSE ? WIRE_DROP_OWN : 0;
    } else {
      for (let page = first; page < first + count; page++) this.written.delete(page);
    }
    this.#showAll([...this.#mappings.values()], first, count, 'trap', flags, () => {
      const isPunch = (event.mode & (COLLAPSE | INSERT)) === 0;
      for (let page = first; isPunch && page < first + count; page++) {
        this.mount.region.storeFlushed((page + 1) * 4096, Buffer.alloc(4096));
      }
      this.server.reply(event.call, 0);
    });
  }

  /** Has all these mappings show something at their pages of a range; then goes on. */
  #showAll(
    mappings: Mapping[],
    first: number,
    count: number,
    kind: ShowKind,
    flags: number,
    then: () => void,
  ): void {
    let left = 1;
    const next = () => {
      if (--left === 0) then();
    };
    for (const mapping of mappings) {
      const start = Math.max(first, mapping.filePage);
      const end = Math.min(first + count, mapping.filePage + mapping.pageCount);
      if (start >= end) continue;
      left++;
      this.#show(mapping, start, end - start, kind, flags, next);
    }
    next();
  }

  #show(
    mapping: Mapping,
    page: number,
    count: number,
    kind: ShowKind,
    flags: number,
    then: () => void,
  ): void {
    const { server } = this;
    const number = server.show(mapping.number, page, count, kind, page + 1, flags);
    if (number === 0) then();
    else this.#waiting.push({ client: mapping.client, number, then });
  }
}
