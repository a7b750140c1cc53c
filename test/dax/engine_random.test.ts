/**
 * Many mappings of two files (shared, private, MAP_SYNC, of any part, at addresses that allow 2 MiB
 * and that do not), programs that load and store, and changes of the files, all interleaved by a
 * seed. Every load is compared with a model of bytes; after every step page tables, entries and map
 * are compared with each other; at the end everything is synced and the power cut.
 */
import assert from 'node:assert/strict';
import t, { type Test } from 'tap';
import { NO_BUGS, parseBugs, type BugSwitches } from '../../lib/dax/bugs.js';
import type { Mapping } from '../../lib/dax/mmu.js';
import type { Task } from '../../lib/dax/task.js';
import { Random } from '../../lib/random.js';
import { WRITTEN } from '../../lib/space/extent_list.js';
import { HUGE_BYTES, PAGE_BYTES } from '../../lib/units.js';
import { Machine, type Running } from './machine.js';

const FILE_PAGES = 1100;
/** Pages that programs touch: few, so that they meet. */
const PAGES = [0, 1, 2, 3, 5, 510, 511, 512, 513, 700, 1023, 1024, 1030];
const TASKS = 60;

class Run {
  private readonly machine: Machine;
  private readonly random: Random;
  private readonly inos: number[];
  /** First byte of each page, as shared stores and changes leave it. */
  private readonly model = new Map<number, number[]>();
  private readonly own = new Map<string, number>();
  private lastValue = 0;

  constructor(t: Test, seed: number, bugs: Readonly<BugSwitches>) {
    this.random = new Random(seed);
    this.machine = new Machine(t, { pageCount: 8 * 512, isLazy: true, bugs, aheadPagesMax: 8 });
    const whole = this.machine.newFile('a', { bytes: Buffer.alloc(HUGE_BYTES, 5) });
    const empty = this.machine.newFile('b', { pages: FILE_PAGES });
    this.inos = [whole, empty];
    this.model.set(whole, Array(512).fill(5));
    this.model.set(empty, Array(FILE_PAGES).fill(0));
  }

  run(): void {
    const { machine, random } = this;
    const mappings = this.makeMappings();
    const tasks: Running<unknown>[] = [];
    for (let count = 0; count < TASKS; count++) {
      tasks.push(machine.start(this.program(mappings[random.below(mappings.length)]!)));
      if (random.oneIn(6)) tasks.push(machine.start(this.change(this.pick(this.inos))));
      if (random.oneIn(10)) tasks.push(machine.start(machine.fsync(this.pick(this.inos))));
      if (random.oneIn(12)) {
        const gone = mappings.splice(random.below(mappings.length), 1)[0];
        if (gone !== undefined) tasks.push(machine.start(this.unmapping(gone)));
        mappings.push(this.newMapping());
      }
      if (random.oneIn(3)) machine.runAll(random, tasks.splice(0), () => this.check());
    }
    machine.runAll(random, tasks, () => this.check());
    this.finish();
  }

  private makeMappings(): Mapping[] {
    return Array.from({ length: 6 }, () => this.newMapping());
  }

  private newMapping(): Mapping {
    const { random, machine } = this;
    const filePage = random.oneIn(2) ? 0 : this.pick(PAGES);
    return machine.map(this.pick(this.inos), {
      filePage,
      pageCount: random.oneIn(2) ? FILE_PAGES : 1 + random.below(600),
      client: random.below(3),
      isShared: !random.oneIn(3),
      isSync: random.oneIn(3),
      ...(random.oneIn(2) ? {} : { addressPage: 77 }),
    });
  }

  private *unmapping(mapping: Mapping): Task<void> {
    yield { point: 'program: munmap' };
    this.machine.unmap(mapping);
  }

  /** Loads and stores; each is compared at the moment at which it goes through. */
  private *program(mapping: Mapping): Task<void> {
    const { machine, random } = this;
    for (let count = 1 + random.below(4); count > 0; count--) {
      const page = this.pick(PAGES);
      const index = page - mapping.filePage;
      if (index < 0 || index >= mapping.pageCount) continue;
      const isStore = random.oneIn(2);
      for (;;) {
        if (machine.unmapped.has(mapping)) return;
        const needed = isStore ? this.store(mapping, page) : this.load(mapping, page);
        if (needed === undefined) break;
        const error = yield* machine.engine.fault(mapping, page, needed, isStore);
        if (error !== undefined) {
          assert.equal(error, 'beyond-end');
          break;
        }
        yield { point: 'program: again' };
      }
      yield { point: 'program: next' };
    }
  }

  private load(mapping: Mapping, page: number): 'missing' | 'protected' | undefined {
    const result = this.machine.mmu.load(mapping, page, 0);
    if (typeof result !== 'number') return result.kind;
    const own = this.own.get(`${mapping.id} ${page}`);
    const isOwn = typeof this.machine.mmu.table(mapping).get(page)?.shows === 'object';
    const expected = isOwn ? own : this.model.get(mapping.ino)![page];
    assert.equal(result, expected, `mapping ${mapping.id} page ${page}`);
    return undefined;
  }

  private store(mapping: Mapping, page: number): 'missing' | 'protected' | undefined {
    this.lastValue = 1 + (this.lastValue % 255);
    const value = this.lastValue;
    const needed = this.machine.mmu.store(mapping, page, 0, value);
    if (needed !== undefined) return needed.kind;
    if (mapping.isShared) this.model.get(mapping.ino)![page] = value;
    else this.own.set(`${mapping.id} ${page}`, value);
    return undefined;
  }

  private *change(ino: number): Task<void> {
    const { machine, random } = this;
    const { fileData, metadata } = machine.open;
    const inode = () => metadata.existingInode(ino);
    const model = this.model.get(ino)!;
    const page = this.pick(PAGES);
    const count = 1 + random.below(random.oneIn(2) ? 3 : 600);
    const [offset, length] = [page * PAGE_BYTES, count * PAGE_BYTES];
    const range = { filePage: page, pageCount: count };
    const tail = { filePage: page, pageCount: Infinity };
    const fill = (value: number) => model.fill(value, page, Math.min(model.length, page + count));
    const ends = () => metadata.endOperation();
    switch (random.below(7)) {
      case 0:
        yield* machine.engine.change(ino, range, false, () => {
          fileData.punch(inode(), offset, length);
          fill(0);
          ends();
        });
        break;
      case 1:
        yield* machine.engine.change(ino, range, false, () => {
          fileData.zeroRange(inode(), offset, length, { keepSize: true });
          fill(0);
          ends();
        });
        break;
      case 2:
        yield* machine.engine.change(ino, tail, true, () => {
          fileData.setSize(inode(), offset);
          model.length = Math.min(model.length, page);
          while (model.length < page) model.push(0);
          ends();
        });
        break;
      case 3:
        yield* machine.engine.change(ino, tail, false, () => {
          if (offset + length >= inode().sizeBytes) return;
          fileData.collapse(inode(), offset, length);
          model.splice(page, count);
          ends();
        });
        break;
      case 4:
        yield* machine.engine.change(ino, tail, false, () => {
          if (offset >= inode().sizeBytes || model.length + count > FILE_PAGES) return;
          fileData.insert(inode(), offset, length);
          model.splice(page, 0, ...Array<number>(count).fill(0));
          ends();
        });
        break;
      case 5:
        yield* machine.engine.change(ino, { filePage: page, pageCount: 1 }, false, () => {
          fileData.write(inode(), offset, Buffer.alloc(PAGE_BYTES, 66));
          while (model.length <= page) model.push(0);
          model[page] = 66;
          ends();
        });
        break;
      default:
        machine.commit();
    }
  }

  /** Page tables, entries and map agree, at every step. */
  private check(): void {
    const { machine } = this;
    for (const ino of this.inos) {
      const inspection = machine.engine.inspect(ino);
      const isLocked = (page: number) =>
        inspection?.locks.some(
          (lock) => lock.filePage <= page && page < lock.filePage + lock.pageCount,
        ) ?? false;
      const list = machine.open.metadata.extents(machine.inode(ino));
      for (const mapping of machine.mappings) {
        if (mapping.ino !== ino) continue;
        const table = machine.mmu.table(mapping);
        for (const page of PAGES) {
          const entry = table.get(page);
          if (entry === undefined || typeof entry.shows === 'object') continue;
          const extent = list.find(page);
          const what = `mapping ${mapping.id} page ${page} shows ${entry.shows}`;
          if (entry.shows === 'zero') {
            assert(extent?.state !== WRITTEN || isLocked(page), what);
            continue;
          }
          const regionPage = extent && extent.regionPage + (page - extent.filePage);
          assert(extent?.state === WRITTEN && regionPage === entry.shows, what);
          const isTracked =
            !entry.isStorable ||
            !mapping.isShared ||
            isLocked(page) ||
            machine.engine.isDirty(ino, page) ||
            machine.mmu.isNoted(ino, page);
          assert(isTracked, `${what}, storable and clean`);
        }
      }
    }
    assert.deepEqual(machine.mmu.collisions, []);
  }

  /** Everything synced survives, and nothing is left of mappings that are gone. */
  private finish(): void {
    const { machine } = this;
    for (const ino of this.inos) {
      machine.fsyncNow(ino);
      for (const [page, value] of this.model.get(ino)!.entries()) {
        if (PAGES.includes(page)) assert.equal(machine.readByte(ino, page), value);
      }
    }
    for (const mapping of machine.mappings) machine.unmap(mapping);
    for (const ino of this.inos) machine.fsyncNow(ino);
    assert.equal(machine.engine.text(), '');
    machine.crash();
    for (const ino of this.inos) {
      assert.equal(machine.inode(ino).sizeBytes, this.model.get(ino)!.length * PAGE_BYTES);
      for (const [page, value] of this.model.get(ino)!.entries()) {
        assert.equal(machine.readByte(ino, page), value, `after the crash, page ${page}`);
      }
    }
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)]!;
  }
}

t.test('mappings, entries, map and bytes agree whatever the order', async (t) => {
  const first = Number(process.env['SEED'] ?? Date.now());
  const count = Number(process.env['RUNS'] ?? 12);
  for (let seed = first; seed < first + count; seed++) {
    try {
      new Run(t, seed, NO_BUGS).run();
    } catch (error) {
      t.comment(`SEED=${seed}`);
      throw error;
    }
  }
  t.pass(`SEED=${first}`);
});

for (const bug of ['hole-fault-race', 'punch-without-gate']) {
  t.test(`${bug} is found, and only with the switch on`, async (t) => {
    let found: string | undefined;
    for (let seed = 0; found === undefined && seed < 40; seed++) {
      try {
        new Run(t, seed, parseBugs([bug])).run();
      } catch (error) {
        found = `SEED=${seed}: ${(error as Error).message}`;
        new Run(t, seed, NO_BUGS).run();
      }
    }
    t.type(found, 'string');
    t.comment(found);
  });
}
