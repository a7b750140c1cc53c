/**
 * A tool for tests to watch and to kill: goes into its namespace and runs a check on an empty image
 * for as long as the check takes. Arguments: a directory to work in, and the check. Prints `ready`,
 * then what the check printed; ends with its status.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Explorer } from '../../dist/fs/explorer/explorer.js';
import { Warden } from '../../dist/fs/explorer/warden.js';
import { makeImage, openImage } from '../../dist/lib/image.js';
import { MemoryRegion } from '../../dist/lib/memory_region.js';
import { loadNative } from '../../dist/lib/native.js';
import { PAGE_BYTES } from '../../dist/lib/units.js';
import { inNamespace } from '../../dist/tools/namespace.js';

const PAGE_COUNT = 64;

async function main() {
  const [root, command] = process.argv.slice(2);
  const [imageDir, mountDir, dir] = ['image', 'mount', 'dir'].map((name) => join(root, name));
  mkdirSync(mountDir);
  mkdirSync(dir);
  makeImage(imageDir, { sizeBytes: PAGE_COUNT * PAGE_BYTES });
  const region = new MemoryRegion(PAGE_COUNT);
  region.storeFlushed(0, readFileSync(join(imageDir, 'region')).subarray(0, PAGE_BYTES));
  const image = openImage(imageDir, { openRegion: () => region });
  const explorer = new Explorer(loadNative(), mountDir, (reason) => console.error(reason));
  const warden = new Warden();
  const slot = explorer.open(image);
  console.log('ready');
  const outcome = await warden.run({ command, dir, bind: slot.path, hide: mountDir });
  process.stdout.write(outcome.stdout);
  process.stderr.write(outcome.stderr);
  await warden.close();
  explorer.close();
  return outcome.exitStatus ?? 128;
}

process.exitCode = (await inNamespace()) ?? (await main());
