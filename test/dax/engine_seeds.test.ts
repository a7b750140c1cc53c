/**
 * The five historical bugs of DAX, each as the one interleaving that its report names: with the right
 * code the programs see what they must, with the switch on they see the wrong.
 */
import t, { type Test } from 'tap';
import { NO_BUGS, parseBugs } from '../../lib/dax/bugs.js';
import { HUGE_BYTES, PAGE_BYTES, PAGES_PER_HUGE } from '../../lib/units.js';
import { Machine } from './machine.js';

const LOCK = 'dax/fault untilDone: lock the entry';

/** Runs a scenario without the bug and with it. */
function seed(
  name: string,
  bug: string,
  scenario: (machine: Machine) => unknown,
  expected: { right: unknown; wrong: unknown },
): void {
  t.test(`${bug}: ${name}`, async (t: Test) => {
    t.same(scenario(new Machine(t, { bugs: NO_BUGS })), expected.right, 'right code');
    t.same(scenario(new Machine(t, { bugs: parseBugs([bug]) })), expected.wrong, 'with the bug');
  });
}

function holeRace(machine: Machine, pages: number): unknown {
  const ino = machine.newFile('f', { pages });
  const reader = machine.map(ino, { pageCount: pages });
  const writer = machine.map(ino, { pageCount: pages });
  const load = machine.start(machine.load(reader, 0)).until(LOCK);
  machine.storeNow(writer, 0, 7);
  load.finish();
  return machine.loadNow(reader, 0);
}

seed(
  'a hole is loaded over a page that a store allocated',
  'hole-fault-race',
  (m) => holeRace(m, 4),
  {
    right: 7,
    wrong: 0,
  },
);
seed('the same with 2 MiB', 'hole-fault-race', (m) => holeRace(m, PAGES_PER_HUGE), {
  right: 7,
  wrong: 0,
});

seed(
  'a synced store to an unwritten extent survives a crash',
  'fault-no-completion',
  (machine) => {
    const ino = machine.newFile('f', { pages: 2 });
    machine.open.fileData.allocate(machine.inode(ino), 0, 2 * PAGE_BYTES, { keepSize: true });
    machine.storeNow(machine.map(ino, { pageCount: 2 }), 1, 9);
    machine.fsyncNow(ino);
    machine.crash();
    return [machine.extents(ino), machine.readByte(ino, 1)];
  },
  { right: ['0+1U 1+1W', 9], wrong: ['0+2U', 0] },
);

for (const pages of [4, PAGES_PER_HUGE]) {
  seed(
    `a crash before the zeroing of ${pages} pages shows no old bytes`,
    'convert-before-zero',
    (machine) => {
      for (const { page, pageCount } of machine.open.allocator.freeRuns()) {
        machine.region.fillCanary(page, pageCount, 0);
      }
      machine.region.fence();
      const ino = machine.newFile('f', { pages });
      const mapping = machine.map(ino, { pageCount: pages });
      machine.start(machine.store(mapping, 0, 1)).until('dax/fault allocate: zero the new pages');
      machine.crash();
      return machine.readByte(ino, 0);
    },
    { right: 0, wrong: 'F'.charCodeAt(0) },
  );
}

seed(
  'an extent that could not be zeroed stays unwritten, and the store is SIGBUS',
  'zero-error-ignored',
  (machine) => {
    const ino = machine.newFile('f', { pages: 1 });
    machine.open.fileData.allocate(machine.inode(ino), 0, PAGE_BYTES, { keepSize: true });
    machine.region.poison([...machine.open.metadata.extents(machine.inode(ino))][0]!.regionPage);
    const error = machine.start(
      machine.engine.fault(machine.map(ino, { pageCount: 1 }), 0, 'missing', true),
    );
    return [error.finish(), machine.extents(ino)];
  },
  { right: ['media-error', '0+1U'], wrong: [undefined, '0+1W'] },
);

function hugeFile(machine: Machine): number {
  return machine.newFile('f', { bytes: Buffer.alloc(HUGE_BYTES, 5) });
}

seed(
  'a PTE fault meets a PMD that came meanwhile',
  'pmd-pte-collision',
  (machine) => {
    const mapping = machine.map(hugeFile(machine), { pageCount: PAGES_PER_HUGE, isShared: false });
    const write = machine.start(machine.store(mapping, 3, 8)).until(LOCK);
    machine.loadNow(mapping, 5);
    write.finish();
    return [machine.mmu.collisions.length, machine.collisions];
  },
  { right: [0, []], wrong: [1, ['pte-under-pmd']] },
);

seed(
  'a PMD fault meets a PTE that came meanwhile',
  'pmd-pte-collision',
  (machine) => {
    const mapping = machine.map(hugeFile(machine), { pageCount: PAGES_PER_HUGE, isShared: false });
    const read = machine.start(machine.load(mapping, 5)).until(LOCK);
    machine.storeNow(mapping, 3, 8);
    read.finish();
    return [machine.loadNow(mapping, 3), machine.mmu.collisions.length, machine.collisions];
  },
  { right: [8, 0, []], wrong: [5, 1, ['pmd-over-pte']] },
);

seed(
  'a store between invalidation and freeing does not keep a freed page',
  'punch-without-gate',
  (machine) => {
    const ino = machine.newFile('f', { bytes: Buffer.alloc(PAGE_BYTES, 1) });
    const mapping = machine.map(ino, { pageCount: 1 });
    machine.storeNow(mapping, 0, 2);
    const punch = () => machine.open.fileData.punch(machine.inode(ino), 0, PAGE_BYTES);
    const range = { filePage: 0, pageCount: 1 };
    const change = machine.start(machine.engine.change(ino, range, false, punch));
    change.until('dax/change changeMap: change the map');
    const store = machine.start(machine.store(mapping, 0, 3)).untilBlocked();
    change.finish();
    store.finish();
    machine.commit();
    const rest = machine.open.allocator.freePages;
    const other = machine.newFile('other', { bytes: Buffer.alloc(rest * PAGE_BYTES, 4) });
    machine.storeNow(mapping, 0, 6);
    const bytes = Buffer.alloc(rest * PAGE_BYTES);
    machine.open.fileData.read(machine.inode(other), 0, bytes);
    return [machine.readByte(ino, 0), bytes.findIndex((byte) => byte !== 4) >= 0];
  },
  { right: [6, false], wrong: [0, true] },
);

seed(
  'every mapping of a 2 MiB entry is write-protected by sync',
  'mkclean-one-mapping',
  (machine) => {
    const ino = hugeFile(machine);
    const whole = machine.map(ino, { pageCount: PAGES_PER_HUGE });
    const part = machine.map(ino, { filePage: 1, pageCount: 1 });
    machine.storeNow(whole, 0, 11);
    machine.storeNow(part, 1, 12);
    machine.fsyncNow(ino);
    machine.storeNow(part, 1, 13);
    machine.fsyncNow(ino);
    machine.crash();
    return [machine.readByte(ino, 0), machine.readByte(ino, 1)];
  },
  { right: [11, 13], wrong: [11, 12] },
);
