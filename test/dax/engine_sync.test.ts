/**
 * What a sync that returned has promised survives a power cut at any later step: mappings of all kinds
 * store ever greater values to few pages while syncs of the file and of parts of it run, and the cut
 * keeps nothing that was not durable.
 */
import assert from 'node:assert/strict';
import t, { type Test } from 'tap';
import { type BugSwitches, NO_BUGS, parseBugs } from '../../lib/dax/bugs.js';
import type { Mapping, PageRange } from '../../lib/dax/mmu.js';
import type { Task } from '../../lib/dax/task.js';
import { Random } from '../../lib/random.js';
import { HUGE_BYTES } from '../../lib/units.js';
import { Machine } from './machine.js';

const PAGES = [0, 1, 2, 511, 512, 700];
const ROUNDS = 30;

class CutOff extends Error {}

class Run {
  private readonly machine: Machine;
  private readonly random: Random;
  private readonly ino: number;
  private readonly stored = new Map<number, number>();
  private readonly promised = new Map<number, number>();

  constructor(t: Test, seed: number, bugs: Readonly<BugSwitches>) {
    this.random = new Random(seed);
    this.machine = new Machine(t, { pageCount: 6 * 512, isLazy: true, bugs });
    this.ino = this.machine.newFile('f', { bytes: Buffer.alloc(HUGE_BYTES) });
    const { fileData } = this.machine.open;
    fileData.setSize(this.machine.inode(this.ino), 2 * HUGE_BYTES);
    this.machine.commit();
  }

  run(): void {
    const { machine, random } = this;
    const mappings = [0, 1, 511, 0, 700, 0].map((filePage) =>
      machine.map(this.ino, {
        filePage,
        pageCount: 1024 - filePage,
        client: random.below(3),
        isSync: random.oneIn(3),
        ...(random.oneIn(3) ? { addressPage: 99 } : {}),
      }),
    );
    let stepsLeft = random.below(800);
    const afterStep = () => {
      if (stepsLeft-- === 0) throw new CutOff();
    };
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const tasks = Array.from({ length: 1 + random.below(4) }, () => {
          const mapping = mappings[random.below(mappings.length)]!;
          const isSync = random.oneIn(2);
          return machine.start<unknown>(isSync ? this.sync() : this.storing(mapping));
        });
        machine.runAll(random, tasks, afterStep);
      }
    } catch (error) {
      if (!(error instanceof CutOff)) throw error;
    }
    machine.crash();
    for (const [page, value] of this.promised) {
      const found = machine.readByte(this.ino, page);
      assert(found >= value, `page ${page}: ${value} was synced, ${found} is there`);
    }
  }

  private *storing(mapping: Mapping): Task<void> {
    for (let count = 3; count > 0; count--) {
      const page = PAGES[this.random.below(PAGES.length)]!;
      if (page < mapping.filePage) continue;
      for (;;) {
        const value = (this.stored.get(page) ?? 0) + 1;
        const needed = this.machine.mmu.store(mapping, page, 0, value);
        if (needed === undefined) {
          this.stored.set(page, value);
          break;
        }
        yield* this.machine.engine.fault(mapping, page, needed.kind, true);
        yield { point: 'program: again' };
      }
      yield { point: 'program: next' };
    }
  }

  private *sync(): Task<void> {
    const range: PageRange = this.random.oneIn(2)
      ? { filePage: 0, pageCount: Infinity }
      : { filePage: PAGES[this.random.below(PAGES.length)]!, pageCount: 2 };
    const before = new Map(this.stored);
    yield* this.machine.engine.writeback(this.ino, range);
    this.machine.commit();
    for (const [page, value] of before) {
      if (page < range.filePage || page >= range.filePage + range.pageCount) continue;
      this.promised.set(page, Math.max(value, this.promised.get(page) ?? 0));
    }
  }
}

t.test('what was synced survives', async (t) => {
  const first = Number(process.env['SEED'] ?? Date.now());
  const count = Number(process.env['RUNS'] ?? 15);
  for (let seed = first; seed < first + count; seed++) {
    t.doesNotThrow(() => new Run(t, seed, NO_BUGS).run(), `SEED=${seed}`);
  }
});

for (const bug of ['mkclean-one-mapping', 'fault-no-completion']) {
  t.test(`${bug}: some cut shows it, and none without the switch`, async (t) => {
    let found: string | undefined;
    for (let seed = 0; found === undefined && seed < 40; seed++) {
      try {
        new Run(t, seed, parseBugs([bug])).run();
      } catch (error) {
        found = (error as Error).message;
        new Run(t, seed, NO_BUGS).run();
      }
    }
    t.type(found, 'string');
    t.comment(found);
  });
}
