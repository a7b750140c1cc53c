/** Times of writes that need no JavaScript: what a look at them, and one that sets them, does. */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { makePlace, mounted, type Place } from './image.js';

/** The longest tick of any kernel's coarse clock. */
const TICK_MS_MAX = 10;
const LOOKS = 50;

interface File extends Place {
  path: string;
  fd: number;
  kill(): Promise<void>;
}

/** A file of one page, open for writing. */
async function opened(t: Test): Promise<File> {
  const place = makePlace(t);
  const fs = await mounted(t, place, { commitSeconds: 3600 });
  const path = join(place.dir, 'file');
  const fd = openSync(path, 'w+');
  let isOpen = true;
  const close = (): void => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  t.teardown(close);
  const kill = async (): Promise<void> => {
    await fs.kill();
    close();
  };
  const file = { ...place, path, fd, kill };
  write(file);
  return file;
}

function write({ fd }: File): void {
  writeSync(fd, Buffer.alloc(4096, 'x'), 0, 4096, 0);
}

function times({ fd }: File): { mtimeNs: bigint; ctimeNs: bigint } {
  const { mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return { mtimeNs, ctimeNs };
}

t.test('a write after a look at the times is later, in the same tick too', async (t) => {
  const file = await opened(t);
  let last = times(file);
  let isLater = true;
  for (let i = 0; i < LOOKS; i += 1) {
    for (let writes = 0; writes <= i % 3; writes += 1) write(file);
    const now = times(file);
    isLater &&= now.mtimeNs > last.mtimeNs && now.ctimeNs === now.mtimeNs;
    t.same(times(file), now, 'and a look changes nothing');
    last = now;
  }
  t.ok(isLater);
});

t.test('a write that nobody looks at has a time of its tick', async (t) => {
  const file = await opened(t);
  for (let i = 0; i < 5; i += 1) {
    for (let writes = 0; writes < 10; writes += 1) write(file);
    await sleep(2 * TICK_MS_MAX);
    const start = Date.now();
    write(file);
    const end = Date.now() + 1;
    const mtimeMs = Number(times(file).mtimeNs) / 1e6;
    t.ok(mtimeMs >= start - TICK_MS_MAX && mtimeMs <= end);
  }
});

t.test('where the power can be cut, every write has its own time', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place, { crashable: true, commitSeconds: 3600 });
  const files = ['a', 'b'].map((name) => openSync(join(place.dir, name), 'w+'));
  const nativeWrites = async () => (await fs.info()).daemon.counters?.nativeWrites ?? 0;
  const page = Buffer.alloc(4096, 'x');
  const mtimes: bigint[] = [];
  for (const fd of files) writeSync(fd, page, 0, 4096, 0);
  const before = await nativeWrites();
  for (let look = 0; look < LOOKS; look += 1) {
    // Only the first since a look would have its own in any case.
    for (const fd of [...files, ...files]) writeSync(fd, page, 0, 4096, 0);
    for (const fd of files) mtimes.push(fstatSync(fd, { bigint: true }).mtimeNs);
  }
  t.equal((await nativeWrites()) - before, LOOKS * 4);
  t.ok(mtimes.every((mtimeNs, index) => index === 0 || mtimeNs > mtimes[index - 1]!));
  for (const fd of files) closeSync(fd);
});

t.test('a time that was set stays until the next write, which has its own', async (t) => {
  const file = await opened(t);
  for (let i = 0; i < 10; i += 1) {
    write(file);
    const { ctimeNs } = times(file);
    const sec = [1000, 4_000_000_000][i % 2] as number;
    futimesSync(file.fd, sec, sec);
    t.equal(times(file).mtimeNs, BigInt(sec) * 1_000_000_000n);
    t.ok(times(file).ctimeNs > ctimeNs);
    const start = Date.now();
    write(file);
    const now = times(file);
    t.ok(Math.abs(Number(now.mtimeNs) / 1e6 - start) < 60_000, 'that of the write');
    t.equal(now.mtimeNs, now.ctimeNs);
  }
});

t.test('what was shown after an fsync is there after kill -9', async (t) => {
  const file = await opened(t);
  for (let i = 0; i < LOOKS; i += 1) {
    write(file);
    if (i % 3 === 0) times(file);
    fsyncSync(file.fd);
  }
  const shown = times(file);
  await file.kill();
  await mounted(t, file);
  const { mtimeNs, ctimeNs } = statSync(file.path, { bigint: true });
  t.same({ mtimeNs, ctimeNs }, shown);
});
