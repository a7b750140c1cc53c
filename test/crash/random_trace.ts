/**
 * Short random traces of the real FileData and Metadata.
 */
import { NO_BUGS, type BugSwitches } from '../../lib/dax/bugs.js';
import { isDirectory } from '../../lib/metadata/inode.js';
import { Random } from '../../lib/random.js';
import { FILESYSTEM_THREAD } from '../../lib/trace/event.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { emptyBase, findInode, RecordedImage } from './recorded_image.js';

/** Who flushes and fences: the filesystem, and two threads of programs. */
const THREADS = [FILESYSTEM_THREAD, 11, 12];
const FLAT = ['a', 'b', 'c'];
const DEEP = ['a', 'b', 'd/a', 'd/e/a', 'd', 'e', 'd/e', 'e/d'];

export function randomTrace(
  seed: number,
  operationCount: number,
  options: { bugs?: Readonly<BugSwitches>; hasDirectories?: boolean; hasCalls?: boolean } = {},
): RecordedImage {
  const random = new Random(seed);
  const image = new RecordedImage(emptyBase(24), options.bugs ?? NO_BUGS);
  image.hasCalls = options.hasCalls === true;
  const names = options.hasDirectories === true ? DEEP : FLAT;
  for (let count = 0; count < operationCount; count++) step(image, random, names);
  image.record({ type: 'workload-end', timeNs: 0, exitStatus: 0, signal: null });
  return image;
}

function step(image: RecordedImage, random: Random, names: readonly string[]): void {
  const name = names[random.below(names.length)]!;
  const inode = findInode(image.metadata, name);
  if (inode === undefined) {
    const parent = findInode(image.metadata, name.split('/').slice(0, -1).join('/'));
    if (parent === undefined || !isDirectory(parent)) return;
    if (/[de]$/.test(name)) image.mkdir(name);
    else image.create(name);
    return;
  }
  if (isDirectory(inode)) {
    stepDirectory(image, random, name, names[random.below(names.length)]!);
    return;
  }
  const offset = [0, 10, 60, 64, 130, PAGE_BYTES - 5][random.below(6)]!;
  const fill = String.fromCharCode(97 + random.below(26));
  switch (random.below(13)) {
    case 0:
    case 1:
    case 2:
    case 3:
      image.write(name, offset, fill.repeat(1 + random.below(80)));
      return;
    case 4:
      if (inode.sizeBytes > 0) mappedStore(image, name, fill, random);
      return;
    case 5:
      image.truncate(name, [0, 20, 200, PAGE_BYTES][random.below(4)]!);
      return;
    case 6: {
      const other = names[random.below(names.length)]!;
      if (mayRename(image, name, other)) image.rename(name, other);
      return;
    }
    case 7:
      image.unlink(name);
      return;
    case 8:
      image.punch(name, offset, 100 + random.below(2) * 2 * PAGE_BYTES);
      return;
    case 9:
      image.print(`${image.position}`);
      return;
    case 10:
      image.force(random.oneIn(2) ? 'fsync' : 'fdatasync', name);
      return;
    case 11:
      fence(image, random);
      return;
    case 12:
      if (random.oneIn(3)) image.force('syncfs');
      else fence(image, random);
  }
}

function fence(image: RecordedImage, random: Random): void {
  const thread = THREADS[random.below(THREADS.length)]!;
  image.record({ type: 'fence', callId: 0, thread });
}

function stepDirectory(image: RecordedImage, random: Random, name: string, other: string): void {
  const { metadata } = image;
  const kind = random.below(5);
  if (kind === 0) image.force('fsyncdir', random.oneIn(2) ? name : '');
  else if (kind === 1 && !metadata.hasNames(image.lookup(name).ino)) image.unlink(name);
  else if (kind < 4 && mayRename(image, name, other)) image.rename(name, other);
}

function mayRename(image: RecordedImage, from: string, to: string): boolean {
  const parent = findInode(image.metadata, to.split('/').slice(0, -1).join('/'));
  if (parent === undefined || !isDirectory(parent) || `${to}/`.startsWith(`${from}/`)) return false;
  const target = findInode(image.metadata, to);
  if (target === undefined) return true;
  if (isDirectory(target) !== isDirectory(image.lookup(from))) return false;
  return !image.metadata.hasNames(target.ino);
}

/** What a program does through a mapping: plain stores, flushed or not. */
function mappedStore(image: RecordedImage, name: string, fill: string, random: Random): void {
  const extent = image.metadata.extents(image.lookup(name)).find(0);
  if (extent === undefined) return;
  const offset = extent.regionPage * PAGE_BYTES + random.below(3) * 40;
  image.nextCall();
  image.region.store(offset, Buffer.from(fill.repeat(8)));
  if (!random.oneIn(2)) return;
  const thread = THREADS[random.below(THREADS.length)]!;
  image.record({ type: 'flush', callId: 0, offset, lengthBytes: 8, thread });
}
