/** `fauxdax map`: which pages of the region hold a file. */
import { statSync } from 'node:fs';
import { Command } from 'commander';
import { Failure } from '../failure.js';
import { mountOf } from '../mountinfo.js';
import { plural, printJson, table } from '../screen.js';
import { formatSize } from '../size.js';
import { ask } from '../target.js';

export function mapCommand(): Command {
  return new Command('map')
    .description('show the extents of a file: file pages, region pages, written or unwritten')
    .argument('<FILE>', 'a regular file in a mount')
    .option('--json', 'print {"size","extents":[{"filePage","regionPage","pageCount","state"}]}')
    .addHelpText('after', '\nExample:\n  fauxdax map /mnt/data.db --json')
    .action(map);
}

async function map(file: string, options: { json?: true }): Promise<void> {
  if (!statSync(file).isFile()) throw new Failure(`map: ${file}: not a regular file`);
  const { mount, ino } = mountOf(file);
  if (mount === undefined) throw new Failure(`map: ${file}: not in a fauxdax mount`);
  const { size, extents } = await ask('map', mount, (control) => control.map(ino));
  if (options.json === true) {
    printJson({ size, extents });
    return;
  }
  process.stdout.write(`${file}: ${formatSize(size)} in ${plural(extents.length, 'extent')}\n`);
  if (extents.length === 0) return;
  const rows = extents.map((e) => [e.filePage, e.regionPage, e.pageCount, e.state]);
  process.stdout.write(table(['file page', 'region page', 'pages', 'state'], rows));
}
