/**
 * What a thread's loads and stores do through the software MMU: translated, served by the DAX engine when
 * they fault, made, and compared with the model in the step that makes them. Points name the function
 * of Linux that a window belongs to.
 */
import assert from 'node:assert/strict';
import type { BusError, FaultTask, Mapping } from '../dax/mmu.js';
import type { Task } from '../dax/task.js';
import { valueText, wordOf } from './content.js';
import { fileBit, onFile, pageBit } from './footprint.js';
import { promisedText } from './model.js';
import { readFirst } from './read_first.js';
import { retry } from './retry.js';
import type { Thread } from './thread.js';
import type { Shown } from './tlb.js';
import type { World } from './world.js';

type WordOp = { map: string; page: number; word: number };

export class Accesses {
  constructor(private readonly world: World) {}

  load(thread: Thread, op: WordOp): Task<void> {
    return this.access(thread, op, false, (target) => this.take(op, target));
  }

  store(thread: Thread, op: WordOp & { value: number }): Task<void> {
    return this.access(thread, op, true, (target) => this.put(op, target));
  }

  /** Until the access is made, or ends in SIGBUS. */
  private *access(
    thread: Thread,
    op: WordOp,
    isWrite: boolean,
    make: (target: Shown) => void,
  ): Task<void> {
    const { mmu } = this.world;
    const mapping = this.world.mapping(op.map);
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
      const error = yield* onFile(
        this.world.footprint,
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

  private take(op: WordOp, target: Shown): void {
    const { world } = this;
    const mapping = this.world.mapping(op.map);
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
    if (typeof target !== 'object' && op.page >= model.pages) {
      world.fail('load', `a load of page ${op.page} beyond the end of the file went through`);
    }
    if (value === expected) return;
    world.fail(
      'load',
      `a load of ${op.map}[${op.page}] saw ${valueText(value)} (${targetText(target)}); the last store there is ${valueText(expected)}`,
    );
  }

  private put(op: WordOp & { value: number }, target: Shown): void {
    const { world } = this;
    const { map, page, word, value } = op;
    const mapping = this.world.mapping(map);
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

  /** CLWB and SFENCE by the program, which brings the page in. */
  *persist(thread: Thread, op: WordOp): Task<void> {
    const { world } = this;
    const mapping = this.world.mapping(op.map);
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
}

function targetText(target: Shown): string {
  if (target === 'zero') return 'zero page';
  return typeof target === 'object' ? 'own page' : `region page ${target}`;
}
