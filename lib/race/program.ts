/**
 * The script of a thread as a task: its accesses (accesses.ts), and calls up to where the DAX engine takes
 * over, as the daemon makes them. What a call changes, the model of the files does in the same step.
 */
import { WHOLE_FILE } from '../dax/dax_file.js';
import type { Mapping, PageRange } from '../dax/mmu.js';
import type { Task } from '../dax/task.js';
import { Errno } from '../errno.js';
import { WRITTEN } from '../space/extent_list.js';
import { isWritten } from '../space/pieces.js';
import { PAGE_BYTES } from '../units.js';
import { Accesses } from './accesses.js';
import { valueText, WORD_BYTES } from './content.js';
import { fileBit, onFile, THREADS } from './footprint.js';
import { forkedName } from './mappings.js';
import { promisedText, type Promised } from './model.js';
import { type Op, opText } from './scenario.js';
import type { Thread } from './thread.js';
import { Violation } from './violation.js';
import type { LabFile, World } from './world.js';

export class Program {
  private readonly accesses: Accesses;

  /** @param start makes a forked thread run */
  constructor(
    private readonly world: World,
    private readonly start: (thread: string) => void,
  ) {
    this.accesses = new Accesses(world);
  }

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
    const { world } = this;
    switch (op.op) {
      case 'load':
        return yield* this.accesses.load(thread, op);
      case 'store':
        return yield* this.accesses.store(thread, op);
      case 'persist':
        return yield* this.accesses.persist(thread, op);
      case 'fsync':
        return yield* this.sync(thread, world.file(op.file), WHOLE_FILE);
      case 'msync': {
        const range = { filePage: op.page, pageCount: op.pageCount };
        return yield* this.msync(thread, world.fileOf(world.mapping(op.map)), range);
      }
      case 'writeback':
        return yield* this.writeback(world.file(op.file), WHOLE_FILE);
      case 'commit':
        return world.commit();
      case 'write':
        return yield* this.write(op);
      case 'read':
        return this.read(op);
      case 'truncate':
        return yield* this.truncate(world.file(op.file), op.pages);
      case 'fork':
        return this.fork(thread, op.child);
      case 'unmap':
        return this.unmap(world.mapping(op.map));
      default:
        return yield* this.changeMap(op);
    }
  }

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
    const file = world.file(op.file);
    const { page, word, value } = op;
    const bytes = Buffer.alloc(WORD_BYTES);
    bytes.writeUInt32LE(value);
    const apply = () => {
      world.footprint.writes |= fileBit(file.ino);
      const inode = world.inode(file);
      world.fileData.write(inode, page * PAGE_BYTES + word * WORD_BYTES, bytes);
      world.endOperation();
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
    const file = world.file(op.file);
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
      world.endOperation();
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
    const file = world.file(op.file);
    const { model } = file;
    const [offset, length] = [page * PAGE_BYTES, pageCount * PAGE_BYTES];
    const moves = op.op === 'collapse' || op.op === 'insert';
    const range = { filePage: page, pageCount: moves ? Infinity : pageCount };
    let endPage = Infinity;
    yield* this.change(file, range, false, () => {
      const inode = world.inode(file);
      if (op.op === 'punch') world.fileData.punch(inode, offset, length);
      else if (op.op === 'zero') world.fileData.zeroRange(inode, offset, length, KEEP_SIZE);
      else world.fileData[op.op](inode, offset, length);
      world.endOperation();
      if (!moves) return model.zero(page, pageCount);
      const operations = world.pendingOperations().length;
      model.move(page, op.op === 'collapse' ? -pageCount : pageCount, operations);
      endPage = model.pages;
    });
    // As the kernel has it: until then one's own pages beyond the new end are there.
    if (op.op === 'collapse') world.stored.drop(file.ino, endPage);
  }

  private writeback({ ino }: LabFile, range: PageRange): Task<void> {
    return onFile(this.world.footprint, ino, this.world.engine.writeback(ino, range));
  }

  private change(
    { ino }: LabFile,
    range: PageRange,
    dropOwn: boolean,
    apply: () => void,
  ): Task<void> {
    return onFile(this.world.footprint, ino, this.world.engine.change(ino, range, dropOwn, apply));
  }

  private fork(thread: Thread, child: string): void {
    const { world } = this;
    const { mmu, engine, footprint } = world;
    const { process } = world.scenario.threads.find(({ name }) => name === child)!;
    const to = world.processes.get(process)!;
    footprint.writes |= THREADS | to.bit | thread.process.bit;
    for (const [mapping, table] of thread.process.tables) {
      const copy = world.mapping(forkedName(process, world.nameOf(mapping)));
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
