/** `fauxdax mkfs`: makes an image, a directory that holds `region` and `meta.db`. */
import { mkdirSync } from 'node:fs';
import { Command } from 'commander';
import { UsageError } from '../../fs/options.js';
import { makeImage, REGION_PAGES_MIN } from '../../lib/image.js';
import { loadNative } from '../../lib/native.js';
import { REGION_PAGES_MAX } from '../../lib/space/allocator.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { Failure } from '../failure.js';
import { canonical, mountOfImage } from '../mountinfo.js';
import { formatSize, parseSize } from '../size.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const SIZE_BYTES_MIN = REGION_PAGES_MIN * PAGE_BYTES;
const SIZE_BYTES_MAX = REGION_PAGES_MAX * PAGE_BYTES;

interface Options {
  size: string;
  force?: true;
  uuid?: string;
}

export function mkfsCommand(): Command {
  return new Command('mkfs')
    .description('make an image: a directory that holds a region and its metadata')
    .argument('<IMAGE>', 'directory to make; its parent must exist')
    .requiredOption('--size <SIZE>', 'size of the region: 512M, 1G, 1T or bytes')
    .option('--force', 'overwrite the image that is there')
    .option('--uuid <UUID>', 'identity of the image (default: a random one)')
    .addHelpText('after', '\nExample:\n  fauxdax mkfs /var/tmp/image --size 1G')
    .action(mkfs);
}

function mkfs(image: string, options: Options): void {
  const sizeBytes = parseSize(options.size);
  if (sizeBytes % PAGE_BYTES !== 0) {
    throw new UsageError(`--size ${options.size}: not a multiple of the page size ${PAGE_BYTES}`);
  }
  if (sizeBytes < SIZE_BYTES_MIN || sizeBytes > SIZE_BYTES_MAX) {
    const range = `${formatSize(SIZE_BYTES_MIN)} to ${SIZE_BYTES_MAX} bytes`;
    throw new UsageError(`--size ${options.size}: an image has ${range}`);
  }
  if (options.uuid !== undefined && !UUID.test(options.uuid)) {
    throw new UsageError(`--uuid ${options.uuid}: not a UUID`);
  }
  const mounted = mountOfImage(image);
  if (mounted !== undefined) {
    throw new Failure(`mkfs: ${image}: mounted on ${mounted.dir}: umount it first`);
  }
  makeDirectory(canonical(image));
  const { allocateFile, lockFile } = loadNative();
  makeImage(canonical(image), {
    sizeBytes,
    force: options.force === true,
    ...(options.uuid === undefined ? {} : { uuid: options.uuid.toLowerCase() }),
    allocate: allocateFile,
    lockFile,
  });
  process.stdout.write(`${image}: ${formatSize(sizeBytes)}, ${sizeBytes / PAGE_BYTES} pages\n`);
}

/** One directory, not its parents: a typing mistake in a path shall not make a tree. */
function makeDirectory(dir: string): void {
  try {
    mkdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
