/**
 * `fauxdax info`: geometry, free space, counts, and, of a mount, its daemon. An image that is not
 * mounted is read, never written.
 */
import { Command } from 'commander';
import { type ImageInfo, imageGeometry } from '../../fs/info.js';
import { openImage } from '../../lib/image.js';
import { loadNative } from '../../lib/native.js';
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
    return imageGeometry(image);
  } finally {
    image.close();
  }
}

function describe(found: ImageInfo): string {
  const { geometry, free } = found;
  const parts = [
    section('image', [
      ['directory', found.imageDir],
      ['uuid', geometry.uuid],
      ['size', `${formatSize(geometry.sizeBytes)}, ${geometry.pages} pages`],
      ['free', `${formatSize(free.bytes)}, ${free.pages} pages (${free.busyPages} busy)`],
      ['inodes', found.inodes],
      ['names', found.names],
      ['extents', found.extents],
    ]),
  ];
  if (found.daemon === undefined) parts.push('not mounted\n');
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
