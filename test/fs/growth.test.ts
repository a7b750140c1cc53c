// Files that grow by write(2): natively after the first writes, and nobody sees a difference.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Random } from '../../lib/random.js';
import { makePlace, mounted } from './image.js';

const program = join(import.meta.dirname, '../../dist/tools/fauxdax.js');
const APPENDS = 200;

/** Bytes of which no two neighbourhoods are alike. */
function pattern(length: number, from: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = (from + at * 7 + ((from + at) >> 8)) & 255;
  return bytes;
}

function append(fd: number, lengthBytes: number, at: number): Buffer {
  const bytes = pattern(lengthBytes, at);
  assert.equal(writeSync(fd, bytes, 0, lengthBytes, at), lengthBytes);
  return bytes;
}

/** What was appended page by page. */
function wholePages(lengthBytes: number): Buffer {
  const pages = Array.from({ length: lengthBytes / 4096 }, (_, page) => pattern(4096, page * 4096));
  return Buffer.concat(pages);
}

function isClean(imageDir: string): boolean {
  execFileSync(process.execPath, [program, 'fsck', imageDir]);
  return true;
}

t.test('most appends need no JavaScript, nor do writes that fill a hole in order', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, { commitSeconds: 3600 });
  const fd = openSync(join(place.dir, 'f'), 'w+');
  const expected: Buffer[] = [];
  let at = 0;
  const native = async () => (await fs.info()).daemon.counters?.nativeWrites ?? 0;
  const before = await native();
  for (let count = 0; count < APPENDS; count++) {
    expected.push(append(fd, 1000, at));
    at += 1000;
  }
  const appended = (await native()) - before;
  t.ok(appended > APPENDS * 0.9, `${appended} of ${APPENDS}`);
  t.match(fstatSync(fd), { size: at, blocks: Math.ceil(at / 4096) * 8 });
  ftruncateSync(fd, 500_000);
  expected.push(Buffer.alloc(Math.ceil(at / 4096) * 4096 - at));
  at = Math.ceil(at / 4096) * 4096;
  for (; at < 400_000; at += 4096) expected.push(append(fd, 4096, at));
  t.ok((await native()) - before - appended > 40, 'holes');
  t.match(fstatSync(fd), { size: 500_000, blocks: (at / 4096) * 8 });
  closeSync(fd);
  expected.push(Buffer.alloc(500_000 - at));
  t.ok(readFileSync(join(place.dir, 'f')).equals(Buffer.concat(expected)));
});

t.test(
  'what was synced is there when the daemon is killed, and no more than was written',
  async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place, { commitSeconds: 3600 });
    const path = join(place.dir, 'f');
    const fd = openSync(path, 'w');
    let at = 0;
    for (let round = 0; round < 5; round++) {
      for (let count = 0; count < 20; count++, at += 3000) append(fd, 3000, at);
      fsyncSync(fd);
    }
    const syncedBytes = at;
    for (let count = 0; count < 20; count++, at += 3000) append(fd, 3000, at);
    await fs.kill();
    closeSync(fd);
    t.ok(isClean(place.imageDir));
    await mounted(t, place);
    const found = readFileSync(path);
    t.equal(found.length, syncedBytes);
    t.ok(
      Array.from({ length: found.length / 3000 }, (_, index) => index * 3000).every((from) =>
        found.subarray(from, from + 3000).equals(pattern(3000, from)),
      ),
    );
  },
);

t.test('who appends and syncs by turns needs JavaScript for the sync alone', async (t) => {
  const place = makePlace(t, 128 << 20);
  const fs = await mounted(t, place, { commitSeconds: 3600 });
  const fd = openSync(join(place.dir, 'f'), 'w+');
  const calls = async () => (await fs.info()).daemon.counters?.scriptCalls ?? 0;
  let at = 0;
  const turn = () => {
    // As a database's log: a head and a page.
    for (const lengthBytes of [24, 4096]) {
      append(fd, lengthBytes, at);
      at += lengthBytes;
    }
    fsyncSync(fd);
  };
  for (let count = 0; count < 5; count++) turn();
  const before = await calls();
  for (let count = 0; count < APPENDS; count++) turn();
  const needed = (await calls()) - before;
  t.ok(needed >= APPENDS && needed < APPENDS * 1.1, `${needed} calls for ${APPENDS} turns`);
  closeSync(fd);
});

/** What makes all that was done before durable. */
const SYNCS = {
  fsync: ({ fd }) => fsyncSync(fd),
  fdatasync: ({ fd }) => fdatasyncSync(fd),
  'fdatasync of another file': ({ otherFd }) => fdatasyncSync(otherFd),
  'fdatasync of the folder': ({ folderFd }) => fdatasyncSync(folderFd),
} satisfies Record<string, (fds: Record<'fd' | 'otherFd' | 'folderFd', number>) => void>;

for (const [name, sync] of Object.entries(SYNCS)) {
  t.test(`what was appended after a sync is kept by the next: ${name}`, async (t) => {
    const place = makePlace(t);
    const fs = await mounted(t, place, { commitSeconds: 3600 });
    const path = join(place.dir, 'f');
    const fds = {
      fd: openSync(path, 'w'),
      otherFd: openSync(join(place.dir, 'other'), 'w'),
      folderFd: openSync(place.dir, 'r'),
    };
    append(fds.otherFd, 1, 0);
    let at = 0;
    // Mostly within a tick of the clock of times, so that there is nothing else to be committed.
    const turn = () => {
      append(fds.fd, 4096, at);
      fsyncSync(fds.fd);
      append(fds.fd, 4096, at + 4096);
      sync(fds);
      at += 2 * 4096;
    };
    for (let count = 0; count < 5; count++) turn();
    const calls = async () => (await fs.info()).daemon.counters?.scriptCalls ?? 0;
    const before = await calls();
    for (let count = 0; count < 50; count++) turn();
    const needed = (await calls()) - before;
    t.ok(needed <= 50 * 3, `${needed} calls: none for what was appended after a sync`);
    await fs.kill();
    for (const fd of Object.values(fds)) closeSync(fd);
    t.ok(isClean(place.imageDir));
    await mounted(t, place);
    t.ok(readFileSync(path).equals(wholePages(at)));
  });
}

t.test('pages that were set aside are there for others', async (t) => {
  const place = makePlace(t);
  await mounted(t, place, { commitSeconds: 3600 });
  const { bfree } = statfsSync(place.dir);
  const files = ['a', 'b', 'c', 'd'].map((name) => openSync(join(place.dir, name), 'w'));
  for (const fd of files) for (let at = 0; at < 2 * 4096; at += 4096) append(fd, 4096, at);
  t.equal(statfsSync(place.dir).bfree, bfree - 8, 'a room that is not used');
  for (const fd of files) for (let at = 2 * 4096; at < 5 * 4096; at += 4096) append(fd, 4096, at);
  const filler = openSync(join(place.dir, 'filler'), 'w');
  let pages = 0;
  t.throws(
    () => {
      for (; ; pages++) append(filler, 4096, pages * 4096);
    },
    { code: 'ENOSPC' },
  );
  t.equal(pages, bfree - 20);
  for (const fd of [...files, filler]) closeSync(fd);
});

/** One file, and what is in it. */
class Model {
  bytes = Buffer.alloc(0);
  constructor(readonly fd: number) {}

  write(at: number, bytes: Buffer): void {
    if (at + bytes.length > this.bytes.length) this.truncate(at + bytes.length, false);
    bytes.copy(this.bytes, at);
    assert.equal(writeSync(this.fd, bytes, 0, bytes.length, at), bytes.length);
  }

  truncate(sizeBytes: number, isReal = true): void {
    const before = this.bytes.subarray(0, sizeBytes);
    this.bytes = Buffer.concat([before, Buffer.alloc(sizeBytes - before.length)]);
    if (isReal) ftruncateSync(this.fd, sizeBytes);
  }

  isRight(): boolean {
    const found = Buffer.alloc(this.bytes.length + 100);
    let length = 0;
    for (let count = -1; count !== 0; length += count) {
      count = readSync(this.fd, found, length, found.length - length, length);
    }
    return found.subarray(0, length).equals(this.bytes);
  }
}

async function randomly(t: Test, seed: number): Promise<void> {
  const place = makePlace(t);
  const fs = await mounted(t, place, { commitSeconds: 3600, canary: true });
  const random = new Random(seed);
  const models = ['a', 'b'].map((name) => new Model(openSync(join(place.dir, name), 'w+')));
  for (let step = 0; step < 600; step++) {
    const model = models[random.below(2)]!;
    const sizeBytes = model.bytes.length;
    const what = random.below(40);
    const wholePages = Math.ceil(sizeBytes / 4096) * 4096;
    if (what < 32) model.write(sizeBytes, pattern(1 + random.below(6000), step));
    else if (what === 32) model.truncate(random.below(sizeBytes + 1));
    else if (what === 33) model.truncate(sizeBytes + random.below(30_000));
    else if (what === 34) model.write(sizeBytes + random.below(9000), pattern(100, step));
    else if (what === 35) model.write(random.below(sizeBytes + 1), pattern(3000, step));
    else if (what === 36) fsyncSync(model.fd);
    else if (what === 37) t.ok(model.isRight(), `step ${step}`);
    else if (what === 38) t.equal(fstatSync(model.fd).size, sizeBytes, `size at step ${step}`);
    else {
      model.truncate(wholePages + 40_960);
      for (let page = 0; page < 8; page++) {
        model.write(wholePages + page * 4096, pattern(1 + random.below(4096), step + page));
      }
    }
  }
  for (const model of models) t.ok(model.isRight());
  for (const { fd } of models) closeSync(fd);
  await fs.unmount();
  t.ok(isClean(place.imageDir));
  await mounted(t, place);
  for (const [index, name] of ['a', 'b'].entries()) {
    t.ok(readFileSync(join(place.dir, name)).equals(models[index]!.bytes), 'after a mount');
  }
}

t.test('random appends, truncations, holes and syncs', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.comment(`seed ${seed}`);
  await randomly(t, seed);
});
