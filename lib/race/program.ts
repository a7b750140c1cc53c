/**
 * The script of a thread as a task: what programs do through the software MMU and what the kernel does
 * for them, up to where the DAX engine takes over. Loads are compared with the model in the step that
 * makes them. Points name the function of Linux that a window belongs to.
 */
import assert from 'node:assert/strict';
import { WHOLE_FILE } from '../dax/dax_file.js';
import type { BusError, FaultTask, Mapping, PageRange } from '../dax/mmu.js';
import type { Task } from '../dax/task.js';
import { Errno } from '../errno.js';
import { WRITTEN } from '../space/extent_list.js';
import { isWritten } from '../space/pieces.js';
import { PAGE_BYTES } from '../units.js';
import { WORD_BYTES, wordOf } from './content.js';
import { fileBit, pageBit, THREADS } from './footprint.js';
import type { Shown } from './mmu.js';
import { promisedText, type Promised } from './model.js';
import { readFirst } from './read_first.js';
import { retry } from './retry.js';
import { type Op, opText } from './scenario.js';
import type { Thread } from './thread.js';
import { Violation } from './violation.js';
import { forkedName, type LabFile, type World } from './world.js';

type WordOp = { map: string; page: number; word: number };

export class Program {
  /** @param start makes a forked thread run */
  constructor(
    private readonly world: World,
    private readonly start: (thread: string) => void,
  ) {}

  *run(thread: Thread, script: readonly Op[]): Task<void> {
    for (const [index, op] of script.entries()) {
      thread.begin(index);
      yield { point: opText(op) };
      try {
        yield* this.perform(thread, op);
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
        thread.results.push(error.code);
        this.world.journal.note(() => `fails: ${error.code}`);
      }
    }
  }

  private *perform(thread: Thread, op: Op): Task<void> {
    switch (op.op) {
      case 'load':
        return yield* this.access(thread, op, false, (target) => this.load(op, target));
      case 'store':
        return yield* this.access(thread, op, true, (target) => this.store(op, target));
      case 'persist':
        return yield* this.persist(thread, op);
      case 'fsync':
        return yield* this.sync(thread, this.file(op.file), WHOLE_FILE);
      case 'msync': {
        const range = { filePage: op.page, pageCount: op.pageCount };
        return yield* this.msync(thread, this.fileOfMap(op.map), range);
      }
      case 'writeback':
        return yield* this.writeback(this.file(op.file), WHOLE_FILE);
      case 'commit':
        return this.world.commit();
      case 'write':
        return yield* this.write(op);
      case 'read':
        return this.read(op);
      case 'truncate':
        return yield* this.truncate(this.file(op.file), op.pages);
      case 'fork':
        return this.fork(thread, op.child);
      case 'unmap':
        return this.unmap(this.mapping(op.map));
      default:
        return yield* this.changeMap(op);
    }
  }

  // Accesses through a mapping

  /** Until the access is made, or ends in SIGBUS. */
  private *access(
    thread: Thread,
    op: WordOp,
    isWrite: boolean,
    make: (target: Shown) => void,
  ): Task<void> {
    const { mmu } = this.world;
    const mapping = this.mapping(op.map);
    for (;;) {
      thread.beginAccess();
      const found = mmu.translate(thread.cpu, mapping, op.page, isWrite);
      if (found.kind === 'shown') {
        return make(found.target);
      }
      if (found.kind === 'bus') return this.bus(thread, mapping, op.page, undefined);
      if (found.kind === 'protected' && !mapping.isShared) {
        mmu.copy(mapping, op.page);
        this.world.stored.copy(mapping, op.page);
        yield { point: 'mm/memory do_wp_page: store again' };
        continue;
      }
      if (found.kind === 'protected' && mmu.catchStore(mapping, op.page)) {
        yield { point: 'fault server: store again' };
        continue;
      }
      const { kind } = found;
      yield { point: `mm/memory handle_mm_fault: page ${op.page} is ${kind}` };
      const error = yield* this.onFile(
        mapping.ino,
        this.fault(thread, mapping, op.page, { kind, isWrite }),
      );
      if (error !== undefined) return this.bus(thread, mapping, op.page, error);
      yield { point: 'mm/memory: access again' };
    }
  }

  private fault(
    thread: Thread,
    mapping: Mapping,
    page: number,
    { kind, isWrite }: { kind: 'missing' | 'protected'; isWrite: boolean },
  ): FaultTask {
    const { engine, scenario } = this.world;
    const told = { kind, isWrite, thread: thread.cpu };
    if (scenario.faults === 'read-first') return readFirst(engine, mapping, page, told);
    if (scenario.faults === 'retry') return retry(engine, mapping, page, told);
    return engine.fault(mapping, page, kind, isWrite, thread.cpu);
  }

  private load(op: WordOp, target: Shown): void {
    const { world } = this;
    const mapping = this.mapping(op.map);
    const { model } = world.fileOf(mapping);
    // What it must see depends on all that is done to the file.
    world.footprint.reads |= fileBit(mapping.ino);
    const value =
      typeof target === 'object'
        ? wordOf(target.content, op.word)
        : target === 'zero'
          ? 0
          : world.region.word(target, op.word);
    world.journal.note(() => `sees ${valueText(value)} (${targetText(target)})`);
    if (typeof target === 'object' && !world.stored.isOwn(mapping, op.page)) {
      world.fail('load', `a load of ${op.map}[${op.page}] saw an own page that a truncate took`);
    }
    const stored = world.stored.get(mapping, op.page, op.word);
    const expected = stored ?? model.current(op.page, op.word);
    if (typeof target === 'object' && stored === undefined) return;
    if (op.page >= model.pages) {
      world.fail('load', `a load of page ${op.page} beyond the end of the file went through`);
    }
    if (value === expected) return;
    world.fail(
      'load',
      `a load of ${op.map}[${op.page}] saw ${valueText(value)} (${targetText(target)}); the last store there is ${valueText(expected)}`,
    );
  }

  private store(op: WordOp & { value: number }, target: Shown): void {
    const { world } = this;
    const { map, page, word, value } = op;
    const mapping = this.mapping(map);
    if (typeof target === 'object') {
      world.mmu.setOwn(mapping, target, world.region.contents.with(target.content, word, value));
      world.stored.put(mapping, page, word, value);
      world.journal.note(() => `stores ${value} in its own page`);
      return;
    }
    assert(typeof target === 'number', 'zeroes are never storable');
    const file = world.fileOf(mapping);
    if (!mapping.isShared) {
      world.fail('content', `a store to private ${map}[${page}] went to region page ${target}`);
    }
    world.footprint.writes |= fileBit(file.ino) | pageBit(target);
    world.region.storeWord(target, word, value);
    file.model.store(page, word, value);
    world.journal.note(() => `stores ${value} in region page ${target}`);
    if (page >= file.model.pages) {
      world.fail('load', `a store to page ${page} beyond the end of the file went through`);
    }
  }

  private *persist(thread: Thread, op: WordOp): Task<void> {
    const { world } = this;
    const mapping = this.mapping(op.map);
    const { model } = world.fileOf(mapping);
    const promised = model.promiseWord(op.page, op.word);
    thread.keeps = () => promisedText(promised);
    world.footprint.reads |= fileBit(mapping.ino);
    yield* this.access(thread, op, false, (target) => {
      if (typeof target !== 'number') return;
      world.region.makeDurable(target, op.word);
      world.journal.note(() => `region page ${target} is durable`);
    });
    if (mapping.isSync) model.keep(promised);
  }

  /** SIGBUS: rightly, or not. */
  private bus(thread: Thread, mapping: Mapping, page: number, error: BusError | undefined): void {
    const { world } = this;
    const { model } = world.fileOf(mapping);
    // Whether it is right depends on the size.
    world.footprint.reads |= fileBit(mapping.ino);
    world.journal.note(() => `SIGBUS${error === undefined ? '' : ` (${error})`}`);
    thread.results.push(`SIGBUS ${error ?? ''}`);
    // What may pass is not shown: the next access asks again, as after a moment in the daemon.
    if (error === 'beyond-end') world.mmu.showBus(mapping, page);
    if (page >= model.surePages) return;
    if (error === 'media-error' && (world.scenario.poisoned ?? []).length > 0) return;
    if (error === 'no-space' && world.allocator.freePages === 0) return;
    world.fail('bus', `an access of page ${page} of ${model.pages} ended in SIGBUS`);
  }

  // Calls

  private *sync(thread: Thread, file: LabFile, range: PageRange): Task<void> {
    const { world } = this;
    const promised = file.model.promise(range.filePage, range.pageCount);
    thread.keeps = () => promisedText(promised);
    world.footprint.reads |= fileBit(file.ino);
    yield* this.writeback(file, range);
    yield { point: 'fs fsync: fence and commit' };
    world.commit();
    file.model.keep(promised);
    world.journal.note(() => `returns: ${returnsText(file, promised)}`);
  }

  /** Where nothing but stores is to be made durable, the fault server does it, in one step. */
  private *msync(thread: Thread, file: LabFile, range: PageRange): Task<void> {
    const { world } = this;
    const { mmu, metadata, region } = world;
    if (!mmu.isSettled(file.ino)) {
      yield* this.sync(thread, file, range);
      if (!metadata.dirty) world.engine.settle(file.ino);
      return;
    }
    const promised = file.model.promise(range.filePage, range.pageCount);
    world.footprint.writes |= fileBit(file.ino);
    for (const noted of mmu.takeNoted(file.ino, range)) {
      mmu.protectAll(file.ino, noted);
      const list = metadata.extents(world.inode(file));
      for (const extent of list.slice(noted.filePage, noted.filePage + noted.pageCount)) {
        if (extent.state !== WRITTEN) continue;
        region.flush(extent.regionPage * PAGE_BYTES, extent.pageCount * PAGE_BYTES);
      }
    }
    region.fence();
    file.model.keep(promised);
    world.journal.note(() => `returns without the engine: ${returnsText(file, promised)}`);
  }

  private *write(op: Extract<Op, { op: 'write' }>): Task<void> {
    const { world } = this;
    const file = this.file(op.file);
    const { page, word, value } = op;
    const bytes = Buffer.alloc(WORD_BYTES);
    bytes.writeUInt32LE(value);
    const apply = () => {
      world.footprint.writes |= fileBit(file.ino);
      const inode = world.inode(file);
      world.fileData.write(inode, page * PAGE_BYTES + word * WORD_BYTES, bytes);
      world.metadata.endOperation();
      if (page >= file.model.pages) file.model.pages = page + 1;
      file.model.store(page, word, value);
      world.journal.note(() => `writes ${value}`);
    };
    const inode = world.inode(file);
    if (page < file.model.pages && isWritten(world.metadata.extents(inode), page, page + 1)) {
      world.footprint.reads |= fileBit(file.ino);
      return apply();
    }
    yield* this.change(file, { filePage: page, pageCount: 1 }, false, apply);
    world.footprint.writes |= fileBit(file.ino);
    file.model.surePages = file.model.pages;
  }

  private read(op: Extract<Op, { op: 'read' }>): void {
    const { world } = this;
    const file = this.file(op.file);
    world.footprint.reads |= fileBit(file.ino);
    if (op.page >= file.model.pages) return;
    const bytes = Buffer.alloc(WORD_BYTES);
    world.fileData.read(world.inode(file), op.page * PAGE_BYTES + op.word * WORD_BYTES, bytes);
    const value = bytes.readUInt32LE();
    const expected = file.model.current(op.page, op.word);
    world.journal.note(() => `sees ${valueText(value)}`);
    if (value === expected) return;
    world.fail(
      'load',
      `read(2) of page ${op.page} gave ${valueText(value)}; the last store there is ${valueText(expected)}`,
    );
  }

  private *truncate(file: LabFile, pages: number): Task<void> {
    const { world } = this;
    const fromPage = Math.min(pages, file.model.pages);
    const range = { filePage: fromPage, pageCount: Infinity };
    yield* this.change(file, range, true, () => {
      world.fileData.setSize(world.inode(file), pages * PAGE_BYTES);
      world.metadata.endOperation();
      if (pages < file.model.pages) {
        file.model.zero(pages, Infinity);
        world.stored.drop(file.ino, pages);
      }
      file.model.resize(pages);
    });
  }

  private *changeMap(
    op: Extract<Op, { op: 'punch' | 'zero' | 'collapse' | 'insert' }>,
  ): Task<void> {
    const { world } = this;
    const { page, pageCount } = op;
    const file = this.file(op.file);
    const { model } = file;
    const [offset, length] = [page * PAGE_BYTES, pageCount * PAGE_BYTES];
    const moves = op.op === 'collapse' || op.op === 'insert';
    const range = { filePage: page, pageCount: moves ? Infinity : pageCount };
    yield* this.change(file, range, false, () => {
      const inode = world.inode(file);
      if (op.op === 'punch') world.fileData.punch(inode, offset, length);
      else if (op.op === 'zero') world.fileData.zeroRange(inode, offset, length, KEEP_SIZE);
      else world.fileData[op.op](inode, offset, length);
      world.metadata.endOperation();
      if (!moves) return model.zero(page, pageCount);
      const operations = world.pendingOperations().length;
      model.move(page, op.op === 'collapse' ? -pageCount : pageCount, operations);
    });
  }

  private writeback({ ino }: LabFile, range: PageRange): Task<void> {
    return this.onFile(ino, this.world.engine.writeback(ino, range));
  }

  private change(
    { ino }: LabFile,
    range: PageRange,
    dropOwn: boolean,
    apply: () => void,
  ): Task<void> {
    return this.onFile(ino, this.world.engine.change(ino, range, dropOwn, apply));
  }

  /** A task of the engine: each of its steps may look at and change all that it keeps of the file. */
  private *onFile<T>(ino: number, task: Task<T>): Task<T> {
    for (;;) {
      this.world.footprint.writes |= fileBit(ino);
      const { done, value } = task.next();
      if (done === true) return value;
      yield value;
    }
  }

  private fork(thread: Thread, child: string): void {
    const { world } = this;
    const { mmu, engine, footprint } = world;
    const { process } = world.scenario.threads.find(({ name }) => name === child)!;
    const to = world.processes.get(process)!;
    footprint.writes |= THREADS | to.bit | thread.process.bit;
    for (const [mapping, table] of thread.process.tables) {
      const copy = this.mapping(forkedName(process, world.nameOf(mapping)));
      footprint.writes |= fileBit(mapping.ino);
      mmu.addMapping(to, copy);
      engine.attach(copy, true);
      to.tables.get(copy)!.copyOwn(table);
      world.stored.fork(mapping, copy);
    }
    this.start(child);
    world.journal.note(() => `${child} runs, with its own pages and nothing else mapped`);
  }

  private unmap(mapping: Mapping): void {
    const { world } = this;
    world.footprint.writes |= fileBit(mapping.ino);
    checkCounters(world.nameOf(mapping), world.mmu.removeMapping(mapping));
    world.engine.detach(mapping, mapping);
  }

  private file(name: string): LabFile {
    const file = this.world.files.get(name);
    assert(file !== undefined, `no file ${name}`);
    return file;
  }

  private fileOfMap(name: string): LabFile {
    return this.world.fileOf(this.mapping(name));
  }

  private mapping(name: string): Mapping {
    const mapping = this.world.mappings.get(name);
    assert(mapping !== undefined, `no mapping ${name}`);
    return mapping;
  }
}

const KEEP_SIZE = { keepSize: true };

/** As check_mm() of kernel/fork.c when a process exits. */
export function checkCounters(
  name: string,
  { pageTables, residentPages }: { pageTables: number; residentPages: number },
): void {
  if (pageTables === 0 && residentPages === 0) return;
  throw new Violation(
    'page-table',
    `exit of the process that maps ${name}: Bad rss-counter state, val:${residentPages}; non-zero nr_ptes on freeing mm: ${pageTables}`,
  );
}

function returnsText({ model }: LabFile, promised: Promised): string {
  const words = [...promised.keys()].flatMap((word) => {
    const page = model.pageOf(word);
    return page === undefined
      ? []
      : [`page ${page} is ${valueText(word.values[word.floor]!)} or later`];
  });
  return words.join(', ');
}

export function valueText(value: number): string {
  return value === 0xdead ? 'the old bytes of a removed file' : String(value);
}

function targetText(target: Shown): string {
  if (target === 'zero') return 'zero page';
  return typeof target === 'object' ? 'own page' : `region page ${target}`;
}
