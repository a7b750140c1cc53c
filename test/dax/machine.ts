/**
 * A machine for tests of the engine: an image, the engine over it, processes with mappings, and
 * tasks that are stepped by hand or at random. What a program does is a task too: an access that
 * faults is served and made again.
 */
import assert from 'node:assert/strict';
import type { Test } from 'tap';
import { type BugSwitches, NO_BUGS } from '../../lib/dax/bugs.js';
import { DaxEngine } from '../../lib/dax/engine.js';
import type { BusError, Mapping, PageRange } from '../../lib/dax/mmu.js';
import type { Step, Task } from '../../lib/dax/task.js';
import type { Collision } from '../../lib/dax/view.js';
import type { OpenImage } from '../../lib/image.js';
import { type Inode, ROOT_INO } from '../../lib/metadata/inode.js';
import type { Random } from '../../lib/random.js';
import type { MemoryRegion } from '../../lib/memory_region.js';
import type { Keep } from '../../lib/region.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { TestImage } from '../unit/image_fixture.js';
import { SoftwareMmu } from './software_mmu.js';

const STEPS_MAX = 100_000;

/** A task under way. */
export class Running<T> {
  isDone = false;
  result: T | undefined;
  /** The point at which it stands; undefined when it waits or is done. */
  point: string | undefined;
  private step: Step | undefined;

  constructor(
    private readonly machine: Machine,
    readonly task: Task<T>,
  ) {}

  get canStep(): boolean {
    if (this.isDone) return false;
    return this.step === undefined || !('isReady' in this.step) || this.step.isReady;
  }

  next(): void {
    assert(this.canStep);
    const { done, value } = this.task.next();
    this.isDone = done === true;
    this.step = done === true ? undefined : value;
    if (done === true) this.result = value;
    this.point = this.step !== undefined && 'point' in this.step ? this.step.point : undefined;
  }

  /** Stops at the point; commands of processes are carried out as they are waited for. */
  until(point: string): this {
    for (let steps = 0; this.point !== point; steps++) {
      assert(!this.isDone && steps < STEPS_MAX, `never came to '${point}'`);
      this.advance();
    }
    return this;
  }

  /** As far as it gets alone. */
  untilBlocked(): this {
    for (let steps = 0; !this.isDone && steps < STEPS_MAX; steps++) {
      this.machine.runCommands();
      if (!this.canStep) return this;
      this.next();
    }
    assert(this.isDone);
    return this;
  }

  finish(): T {
    this.untilBlocked();
    assert(this.isDone, 'waits for another task');
    return this.result as T;
  }

  private advance(): void {
    this.machine.runCommands();
    assert(this.canStep, 'waits for another task');
    this.next();
  }
}

export interface MapOptions {
  filePage?: number;
  pageCount: number;
  addressPage?: number;
  client?: number;
  isShared?: boolean;
  isSync?: boolean;
}

export class Machine {
  readonly mmu: SoftwareMmu;
  readonly engine: DaxEngine;
  readonly image: TestImage;
  readonly mappings: Mapping[] = [];
  /** Mappings of which nothing is left. */
  readonly unmapped = new Set<Mapping>();
  readonly touched: number[] = [];
  /** Only with the bug switch: legal tasks never collide. */
  readonly collisions: Collision[] = [];
  forces = 0;
  private lastId = 0;

  constructor(
    t: Test,
    options: {
      pageCount?: number;
      bugs?: Readonly<BugSwitches>;
      isLazy?: boolean;
      aheadPagesMax?: number;
    } = {},
  ) {
    const bugs = options.bugs ?? NO_BUGS;
    this.image = new TestImage(t, { pageCount: options.pageCount ?? 4096, bugs });
    this.region.trackUndecided();
    this.mmu = new SoftwareMmu(this.region, options.isLazy ?? false);
    const { metadata, allocator, fileData, region } = this.open;
    this.engine = new DaxEngine({
      region,
      metadata,
      allocator,
      fileData,
      mmu: this.mmu,
      bugs,
      aheadPagesMax: options.aheadPagesMax ?? 1,
      force: () => {
        this.forces++;
        this.commit();
      },
      endOperation: () => metadata.endOperation(),
      collided: ({ id }, { filePage }, collision) => {
        this.collisions.push(collision);
        assert(bugs.pmdPteCollision, `${collision} at page ${filePage} of mapping ${id}`);
      },
      touched: (inode) => void this.touched.push(inode.ino),
    });
  }

  get open(): OpenImage {
    return this.image.open;
  }

  get region(): MemoryRegion {
    return this.image.region;
  }

  newFile(name: string, options: { pages?: number; bytes?: Buffer } = {}): number {
    const { metadata, fileData } = this.open;
    const { ino } = metadata.createInode({ mode: 0o100644, nlink: 1 });
    metadata.addName(ROOT_INO, name, ino);
    const inode = metadata.existingInode(ino);
    if (options.bytes !== undefined) fileData.write(inode, 0, options.bytes);
    if (options.pages !== undefined) fileData.setSize(inode, options.pages * PAGE_BYTES);
    this.commit();
    return ino;
  }

  inode(ino: number): Inode {
    return this.open.metadata.existingInode(ino);
  }

  map(ino: number, options: MapOptions): Mapping {
    const id = ++this.lastId;
    const filePage = options.filePage ?? 0;
    const mapping: Mapping = {
      id,
      client: options.client ?? id,
      ino,
      filePage,
      pageCount: options.pageCount,
      addressPage: options.addressPage ?? id * 2 ** 20 + filePage,
      isShared: options.isShared ?? true,
      isSync: options.isSync ?? false,
    };
    this.engine.attach(mapping);
    this.mappings.push(mapping);
    return mapping;
  }

  unmap(mapping: Mapping, range: PageRange = mapping): void {
    this.mmu.unmap(mapping, range);
    this.engine.detach(mapping, range);
    if (range === mapping) this.unmapped.add(mapping);
  }

  start<T>(task: Task<T>): Running<T> {
    return new Running(this, task);
  }

  runCommands(): void {
    for (let busy = this.mmu.busyClients(); busy.length > 0; busy = this.mmu.busyClients()) {
      for (const client of busy) this.mmu.runCommand(client);
    }
  }

  /** Steps tasks, and processes with commands, in random order until all are done. */
  runAll(random: Random, tasks: Running<unknown>[], afterStep: () => void = () => {}): void {
    for (let steps = 0; tasks.some((task) => !task.isDone); steps++) {
      assert(steps < STEPS_MAX, 'no end');
      const ready = tasks.filter((task) => task.canStep);
      const busy = this.mmu.busyClients();
      assert(ready.length + busy.length > 0, 'deadlock');
      const choice = random.below(ready.length + busy.length);
      if (choice < ready.length) ready[choice]!.next();
      else this.mmu.runCommand(busy[choice - ready.length]!);
      afterStep();
    }
  }

  /** What a program does: the byte, or what SIGBUS it got. */
  *load(mapping: Mapping, filePage: number, at = 0): Task<number | BusError> {
    for (;;) {
      const result = this.mmu.load(mapping, filePage, at);
      if (typeof result === 'number') return result;
      const error = yield* this.engine.fault(mapping, filePage, result.kind, false);
      if (error !== undefined) return error;
      yield { point: 'program: load again' };
    }
  }

  *store(mapping: Mapping, filePage: number, value: number, at = 0): Task<BusError | undefined> {
    for (;;) {
      const result = this.mmu.store(mapping, filePage, at, value);
      if (result === undefined) return undefined;
      const error = yield* this.engine.fault(mapping, filePage, result.kind, true);
      if (error !== undefined) return error;
      yield { point: 'program: store again' };
    }
  }

  *fsync(ino: number): Task<void> {
    yield* this.engine.writeback(ino, { filePage: 0, pageCount: Infinity });
    this.commit();
  }

  loadNow(mapping: Mapping, filePage: number, at = 0): number | BusError {
    return this.start(this.load(mapping, filePage, at)).finish();
  }

  storeNow(mapping: Mapping, filePage: number, value: number, at = 0): BusError | undefined {
    return this.start(this.store(mapping, filePage, value, at)).finish();
  }

  fsyncNow(ino: number): void {
    this.start(this.fsync(ino)).finish();
  }

  changeNow(ino: number, range: PageRange, apply: () => void, dropOwn = false): void {
    this.start(this.engine.change(ino, range, dropOwn, apply)).finish();
  }

  commit(): void {
    const { metadata, region } = this.open;
    metadata.endOperation();
    region.fence();
    metadata.commit();
  }

  /** Byte `at` of a page as read(2) gives it. */
  readByte(ino: number, filePage: number, at = 0): number {
    const byte = Buffer.alloc(1);
    const offset = filePage * PAGE_BYTES + at;
    assert.equal(this.open.fileData.read(this.inode(ino), offset, byte), 1);
    return byte[0]!;
  }

  /** The map as text: `0+3W 3+1U`. */
  extents(ino: number): string {
    return [...this.open.metadata.extents(this.inode(ino))]
      .map(({ filePage, pageCount, state }) => `${filePage}+${pageCount}${state === 1 ? 'W' : 'U'}`)
      .join(' ');
  }

  /** Power cut and new start: mappings are gone, the image is as recovery finds it. */
  crash(keep: Keep = { keep: 'none' }): void {
    this.open.metadata.close();
    this.region.crash(keep);
    this.image.kill();
  }
}
