/**
 * The port through which the engine changes what processes see, over the fault server. A command to
 * a process is ready when its shim has carried it out; write-protection is the daemon's own doing,
 * and waits for no more than the kernel.
 *
 * Where stores to shown pages have to be found by comparing (a crashable or recorded mount), pages
 * are handed to the watch before a store to them goes through.
 */
import assert from 'node:assert/strict';
import type { Backing, Mapping, Mmu, PageRange } from '../../lib/dax/mmu.js';
import { READY, type Waitable } from '../../lib/dax/task.js';
import type { FaultServer, ShowKind } from '../../lib/addon/fault_server.js';
import type { Extent } from '../../lib/space/extent_list.js';
import { FILE_PAGES_MAX } from '../../lib/units.js';
import { WIRE_DROP_OWN, WIRE_HUGE, WIRE_POPULATE, WIRE_STORABLE } from './wire.js';

/** A command or a write-protection under way. */
class UnderWay implements Waitable {
  isReady = false;
  readonly #waiting: (() => void)[] = [];

  constructor(readonly number: number) {}

  whenReady(resume: () => void): void {
    if (this.isReady) resume();
    else this.#waiting.push(resume);
  }

  finish(): void {
    this.isReady = true;
    for (const resume of this.#waiting.splice(0)) resume();
  }
}

/** Write-protection: nearly always made by the time that anybody asks. */
class Protection implements Waitable {
  #underWay: UnderWay | undefined;

  constructor(
    private readonly server: FaultServer,
    private readonly number: number,
    private readonly late: (protection: UnderWay) => void,
  ) {}

  get isReady(): boolean {
    if (this.#underWay === undefined && this.server.isProtected(this.number)) return true;
    return this.#late().isReady;
  }

  whenReady(resume: () => void): void {
    if (this.isReady) resume();
    else this.#late().whenReady(resume);
  }

  #late(): UnderWay {
    if (this.#underWay === undefined) {
      this.#underWay = new UnderWay(this.number);
      this.late(this.#underWay);
    }
    return this.#underWay;
  }
}

/** In a power cut, for the kernel to protect the memory of a process. */
const PROTECT_MS_MAX = 2000;

export interface MmuParts {
  server: FaultServer;
  /** Written extents of a range of a file's pages. */
  extents(ino: number, range: PageRange): Extent[];
  /** Stores to mapped pages have to be found by comparing. */
  watchesStores: boolean;
  /** Whether stores that are only noted move the file's times. */
  keepsTimes(ino: number): boolean;
}

export class LiveMmu implements Mmu {
  readonly #server: FaultServer;
  readonly #parts: MmuParts;
  /** Write-protections that somebody waits for. */
  #late: UnderWay[] = [];
  /** Commands under way, by client, numbers ascending. */
  readonly #pending = new Map<number, UnderWay[]>();
  #anySettled = false;

  constructor(parts: MmuParts) {
    this.#server = parts.server;
    this.#parts = parts;
  }

  /** No process has been told anything that it has not done. */
  get isSettled(): boolean {
    return this.#pending.size === 0;
  }

  install(mapping: Mapping, backing: Backing, isStorable: boolean): Waitable {
    const { regionPage, pageCount, isHuge } = backing;
    const sizeFlag = isHuge ? WIRE_HUGE : 0;
    if (regionPage === 'zero') {
      assert(!isStorable, 'stores to zeroes are told');
      return this.#show(mapping, backing, 'zero', 0, sizeFlag);
    }
    const isWatched = isStorable && mapping.isShared && this.#parts.watchesStores;
    if (isWatched) this.#server.watchPages(regionPage, pageCount);
    const flags = (isStorable ? WIRE_STORABLE : 0) | (pageCount > 1 ? WIRE_POPULATE : 0);
    return this.#show(mapping, backing, 'region', regionPage, flags | sizeFlag);
  }

  allowStores(mapping: Mapping, range: PageRange): void {
    if (this.#parts.watchesStores) {
      for (const { regionPage, pageCount } of this.#parts.extents(mapping.ino, range)) {
        this.#server.watchPages(regionPage, pageCount);
      }
    }
    this.#server.writeProtect(mapping.id, range.filePage, range.pageCount, false);
  }

  zap(mapping: Mapping, range: PageRange, dropOwn: boolean): Waitable {
    return this.#show(mapping, range, 'trap', 0, dropOwn ? WIRE_DROP_OWN : 0);
  }

  protect(mapping: Mapping, range: PageRange): Waitable {
    const { filePage, pageCount } = range;
    const number = this.#server.writeProtect(mapping.id, filePage, pageCount, true);
    if (number === 0) return READY;
    return new Protection(this.#server, number, (late) => this.#late.push(late));
  }

  /** Write-protections up to a number are made. */
  protected(number: number): void {
    const late = this.#late;
    this.#late = late.filter((protection) => protection.number > number);
    for (const protection of late) if (protection.number <= number) protection.finish();
  }

  /** No store goes through from here on to what was to be protected. */
  protectNow(): void {
    this.#server.protectOrKill(PROTECT_MS_MAX);
  }

  catchStores(ino: number, range: PageRange, on: boolean, isHuge: boolean): void {
    if (on && !this.#parts.keepsTimes(ino)) return;
    const pageCount = Math.min(range.pageCount, FILE_PAGES_MAX - range.filePage);
    this.#server.catchStores(ino, range.filePage, pageCount, on, isHuge);
  }

  takeDirtied(ino: number): PageRange[] {
    const pairs = this.#server.takeDirtied(ino);
    const ranges: PageRange[] = [];
    for (let index = 0; index < pairs.length; index += 2) {
      ranges.push({ filePage: pairs[index] as number, pageCount: pairs[index + 1] as number });
    }
    return ranges;
  }

  settled(ino: number): void {
    this.#anySettled = true;
    this.#server.settled(ino);
  }

  unsettled(): void {
    if (!this.#anySettled) return;
    this.#anySettled = false;
    this.#server.unsettled();
  }

  /** Any access to the range is SIGBUS once it is ready. */
  showBus(mapping: Mapping, range: PageRange): Waitable {
    return this.#show(mapping, range, 'bus', 0, 0);
  }

  #show(
    mapping: Mapping,
    { filePage, pageCount }: PageRange,
    kind: ShowKind,
    regionPage: number,
    flags: number,
  ): Waitable {
    const { id, client } = mapping;
    const number = this.#server.show(id, filePage, pageCount, kind, regionPage, flags);
    if (number === 0) return READY;
    const shown = new UnderWay(number);
    const pending = this.#pending.get(client);
    if (pending === undefined) this.#pending.set(client, [shown]);
    else pending.push(shown);
    return shown;
  }

  /** Commands up to `number` of a client are done. */
  done(client: number, number: number): void {
    const pending = this.#pending.get(client);
    if (pending === undefined) return;
    const count = pending.findIndex((shown) => shown.number > number);
    for (const shown of pending.splice(0, count < 0 ? pending.length : count)) shown.finish();
    if (pending.length === 0) this.#pending.delete(client);
  }

  /** The client has ended: nothing it showed can be reached. */
  gone(client: number): void {
    this.done(client, Number.POSITIVE_INFINITY);
  }
}
