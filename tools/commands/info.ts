/**
 * `fauxdax info`: geometry, free space, counts, and, of a mount, its daemon. An image that is not
 * mounted is read, never written.
 */
import { Command } from 'commander';
import type { ImageInfo } from '../../fs/mount.js';
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
    .option('--json', 'print {"geometry","free","inodes","extents","daemon"}')
    .addHelpText('after', '\nExample:\n  fauxdax info /mnt --json')
    .action(info);
}

async function info(path: string, options: { json?: true }): Promise<void> {
  const target = findTarget('info', path);
  const found =
    target.kind === 'mount'
      ? await ask('info', target.mount, (control) => control.info())
      : readImage(target.image);
  if (options.json === true) printJson(found);
  else process.stdout.write(describe(found));
}
