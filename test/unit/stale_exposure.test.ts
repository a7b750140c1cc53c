/**
 * Random changes, crashes and reopenings: no file ever shows bytes that were not its own, and what
 * a commit promised is there. Free pages hold canaries; each file writes only its own byte value.
 * The oracle is itself tested: with each bug switch on it must find something in the same runs.
 */
import assert from 'node:assert/strict';
import t, { type Test } from 'tap';
import { DATA_BUG_NAMES, type BugSwitches, NO_BUGS, parseBugs } from '../../lib/dax/bugs.js';
import { Errno } from '../../lib/errno.js';
import { type Inode, ROOT_INO } from '../../lib/metadata/inode.js';
import { Random } from '../../lib/random.js';
import type { Keep } from '../../lib/region.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { TestImage } from './image_fixture.js';

const MODE = 0o100644;
const ROUNDS = 40;

/** Byte values of files lie above all letters of the canary. */
const tagOf = (ino: number) => 100 + (ino % 150);

class CrashRun {
  private readonly image: TestImage;
  private readonly random: Random;
  /** Contents at the last commit of files that nothing changed since. */
  private promised = new Map<string, Buffer>();

  constructor(t: Test, seed: number, bugs: Readonly<BugSwitches>) {
    this.random = new Random(seed);
    this.image = new TestImage(t, { pageCount: 120, bugs });
    for (const { page, pageCount } of this.image.open.allocator.freeRuns()) {
      this.image.region.fillCanary(page, pageCount, 0);
    }
    this.image.region.trackUndecided();
    this.fillReleased();
  }

  /** @returns what was wrong after one of the crashes; undefined when nothing was */
  run(): string | undefined {
    for (let round = 0; round < ROUNDS; round++) {
      for (let count = this.random.below(25); count > 0; count--) this.step();
      const problem = this.crash();
      if (problem !== undefined) return `round ${round}: ${problem}`;
    }
    return undefined;
  }

  private step(): void {
    try {
      this.change();
    } catch (error) {
      assert(error instanceof Errno && error.code === 'ENOSPC');
    }
  }

  private change(): void {
    const { metadata, fileData } = this.image.open;
    const { random } = this;
    const name = `file ${random.below(6)}`;
    const ino = metadata.lookup(ROOT_INO, name);
    if (random.oneIn(8)) {
      this.image.region.fence();
      metadata.commit();
      this.promiseAll();
      return;
    }
    this.promised.delete(name);
    if (ino === undefined) {
      const made = metadata.createInode({ mode: MODE, nlink: 1 });
      metadata.addName(ROOT_INO, name, made.ino);
      return;
    }
    const inode = metadata.existingInode(ino);
    const offset = random.below(12 * PAGE_BYTES);
    const length = 1 + random.below(random.oneIn(3) ? 12 * PAGE_BYTES : 500);
    const keepSize = random.oneIn(2);
    switch (random.below(9)) {
      case 0:
        metadata.removeName(ROOT_INO, name);
        metadata.removeInode(inode);
        break;
      case 1:
        fileData.setSize(inode, offset);
        break;
      case 2:
        fileData.punch(inode, offset, length);
        break;
      case 3:
        fileData.zeroRange(inode, offset, length, { keepSize });
        break;
      case 4:
        fileData.allocate(inode, offset, length, { keepSize });
        break;
      case 5:
        this.image.region.fence();
        break;
      default:
        fileData.write(inode, offset, Buffer.alloc(length, tagOf(ino)));
    }
  }

  private crash(): string | undefined {
    const keeps: Keep[] = [
      { keep: 'none' },
      { keep: 'all' },
      { keep: 'seed', seed: this.random.next() },
    ];
    const keep = keeps[this.random.below(3)]!;
    this.image.open.metadata.close();
    this.image.region.crash(keep);
    this.image.kill();
    this.fillReleased();
    const problem = this.foreignBytes() ?? this.brokenPromise();
    this.promiseAll();
    return problem && `keep ${keep.keep}: ${problem}`;
  }

  private fillReleased(): void {
    this.image.open.metadata.afterCommit.push((released) => {
      for (const { page, pageCount, ownerIno } of released) {
        this.image.region.fillCanary(page, pageCount, ownerIno);
      }
    });
  }

  private foreignBytes(): string | undefined {
    for (const { name, inode, bytes } of this.files()) {
      const tag = tagOf(inode.ino);
      const at = bytes.findIndex((byte) => byte !== 0 && byte !== tag);
      if (at >= 0) {
        const line = bytes.subarray(Math.floor(at / 64) * 64, Math.floor(at / 64) * 64 + 64);
        const isCanary = line.includes('FDXSTALE');
        return `${name} shows ${isCanary ? 'a canary' : `byte ${bytes[at]}`} at ${at}`;
      }
    }
    return undefined;
  }

  private brokenPromise(): string | undefined {
    const found = new Map(this.files().map(({ name, bytes }) => [name, bytes]));
    for (const [name, bytes] of this.promised) {
      if (found.get(name)?.equals(bytes) !== true) return `${name} lost committed bytes`;
    }
    return undefined;
  }

  private promiseAll(): void {
    this.promised = new Map(this.files().map(({ name, bytes }) => [name, bytes]));
  }

  private files(): { name: string; inode: Inode; bytes: Buffer }[] {
    const { metadata, fileData } = this.image.open;
    return metadata.list(ROOT_INO, 0, 100).map(({ name, ino }) => {
      const inode = metadata.existingInode(ino);
      const bytes = Buffer.alloc(inode.sizeBytes);
      assert.equal(fileData.read(inode, 0, bytes), bytes.length);
      return { name, inode, bytes };
    });
  }
}

const SEEDS = 8;

t.test('without bugs no crash exposes or loses anything', async (t) => {
  const first = Number(process.env['SEED'] ?? Date.now());
  for (let seed = first; seed < first + SEEDS; seed++) {
    t.equal(new CrashRun(t, seed, NO_BUGS).run(), undefined, `SEED=${seed}`);
  }
});

for (const name of DATA_BUG_NAMES) {
  t.test(`${name} is caught`, async (t) => {
    const problems: string[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const problem = new CrashRun(t, seed, parseBugs([name])).run();
      if (problem !== undefined) problems.push(`seed ${seed}: ${problem}`);
      t.equal(new CrashRun(t, seed, NO_BUGS).run(), undefined, 'the same run without it is clean');
    }
    t.comment(problems.join('\n'));
    t.ok(problems.length > 0);
  });
}
