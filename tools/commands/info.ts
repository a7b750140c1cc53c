/**
 * `fauxdax info`: geometry, free space, counts, and, of a mount, its daemon. An image that is not
 * mounted is read, never written.
 */
import { Command } from 'commander';
import { openImage } from '../../lib/image.js';
import { loadNative } from '../../lib/native.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { printJson, section } from '../screen.js';
import { formatSize } from '../size.js';
import { ask, findTarget } from '../target.js';

export function infoCommand(): Command {
  return new Command('info')
    .description('show geometry, free space, inodes and extents, and the counters of the daemon')
    .argument('<IMAGE|DIR>', 'image directory, or any path in a mount')
    .option('--json', 'print {"geometry","free","inodes","names","extents","daemon"}')
    .addHelpText('after', '\nExample:\n  fauxdax info /mnt --json')
    .action(info);
}

export interface ImageInfo {
  geometry: { image: string; uuid: string; pageBytes: number; pageCount: number; bytes: number };
  /** Busy pages become free with the next commit. */
  free: { pages: number; bytes: number; busyPages: number };
  inodes: number;
  names: number;
  extents: number;
  /** Null of an image that is not mounted. */
  daemon: Record<string, unknown> | null;
}

async function info(path: string, options: { json?: true }): Promise<void> {
  const target = findTarget('info', path);
  const found: ImageInfo =
    target.kind === 'mount'
      ? await ask('info', target.mount, (control) => control.info())
      : readImage(target.image);
  if (options.json === true) printJson(found);
  else process.stdout.write(describe(found));
}

function readImage(dir: string): ImageInfo {
  const { openRegion, lockFile } = loadNative();
  const image = openImage(dir, { readOnly: true, openRegion, lockFile });
  try {
    const { pageCount } = image.region;
    const { freePages, busyPages } = image.allocator;
    const { inodes, names, extents } = image.metadata.counts();
    return {
      geometry: {
        image: dir,
        uuid: image.uuid,
        pageBytes: PAGE_BYTES,
        pageCount,
        bytes: pageCount * PAGE_BYTES,
      },
      free: { pages: freePages, bytes: freePages * PAGE_BYTES, busyPages },
      inodes,
      names,
      extents,
      daemon: null,
    };
  } finally {
    image.close();
  }
}

function describe(found: ImageInfo): string {
  const { geometry, free } = found;
  const parts = [
    section('image', [
      ['directory', geometry.image],
      ['uuid', geometry.uuid],
      ['size', `${formatSize(geometry.bytes)}, ${geometry.pageCount} pages`],
      ['free', `${formatSize(free.bytes)}, ${free.pages} pages (${free.busyPages} busy)`],
      ['inodes', found.inodes],
      ['names', found.names],
      ['extents', found.extents],
    ]),
  ];
  if (found.daemon === null) parts.push('not mounted\n');
  else parts.push(section('daemon', flatten(found.daemon)));
  return parts.join('\n');
}

/** `{counters: {requests: 3}}` as `counters.requests 3`, so that what the daemon adds is shown. */
function flatten(object: object, prefix = ''): [string, string | number][] {
  return Object.entries(object).flatMap(([name, value]): [string, string | number][] => {
    const path = `${prefix}${name}`;
    if (Array.isArray(value)) return [[path, value.join(', ')]];
    if (typeof value === 'object' && value !== null) return flatten(value, `${path}.`);
    return [[path, typeof value === 'number' ? value : String(value)]];
  });
}
