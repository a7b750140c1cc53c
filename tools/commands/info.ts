/**
 * `fauxdax info`: geometry, free space, counts, and, of a mount, its daemon. An image that is not
 * mounted is read, never written.
 */
import { Command } from 'commander';
import { type ImageInfo, imageGeometry } from '../../fs/info.js';
import { mountOptionWords } from '../../fs/options.js';
import { openImage } from '../../lib/image.js';
import type { SessionCounters } from '../../lib/addon/session.js';
import { loadNative } from '../../lib/native.js';
import { plural, printJson, section } from '../screen.js';
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
  const busy = free.busyPages === 0 ? '' : `, and ${free.busyPages} after the next commit`;
  const parts = [
    section('image', [
      ['directory', found.imageDir],
      ['uuid', geometry.uuid],
      ['size', `${formatSize(geometry.sizeBytes)}, ${plural(geometry.pages, 'page')}`],
      ['free', `${formatSize(free.bytes)}, ${plural(free.pages, 'page')}${busy}`],
      ['inodes', found.inodes],
      ['names', found.names],
      ['extents', found.extents],
    ]),
  ];
  if (found.daemon === undefined) parts.push('not mounted\n');
  else parts.push(section('mount', describeDaemon(found.daemon)));
  return parts.join('\n');
}

type Daemon = NonNullable<ImageInfo['daemon']>;

/** What is not zero of the daemon, related numbers on one line. */
function describeDaemon(daemon: Daemon): [string, string | number][] {
  const { pid, dir, options, uptimeSec, flushInstruction, commits, counters, dax, ...gauges } =
    daemon;
  const rows: [string, string | number][] = [
    ['directory', dir],
    ['options', mountOptionWords(options).join(',')],
    ['daemon', `pid ${pid}, up ${formatDuration(uptimeSec)}, flushes by ${flushInstruction}`],
    ['commits', total(commits)],
  ];
  if (counters !== null) rows.push(...describeCounters(counters));
  if (dax !== null) rows.push(...describeDax(dax));
  for (const [name, count] of Object.entries(gauges)) {
    if (count !== 0) rows.push([GAUGES[name] ?? name, count]);
  }
  return rows;
}

const GAUGES: Record<string, string> = {
  nodes: 'inodes in the kernel',
  undecidedLines: 'undecided lines',
  poisonedPages: 'poisoned pages',
  faultRules: 'fault rules',
};

function describeCounters(counters: SessionCounters): [string, string | number][] {
  const { requests, scriptCalls, helperRequests, notifications } = counters;
  const data = (count: number, bytes: number): string => `${count}, ${formatSize(bytes)}`;
  const rows: [string, string | number][] = [
    ['requests', `${requests}, ${scriptCalls} of them answered in JavaScript`],
    ['helper requests', helperRequests],
    ['native reads', data(counters.nativeReads, counters.nativeReadBytes)],
    ['native writes', data(counters.nativeWrites, counters.nativeWriteBytes)],
    ['native syncs', counters.nativeSyncs],
    ['notifications', notifications],
  ];
  return rows.filter(([, value]) => value !== 0 && value !== '0, 0 B');
}

function describeDax(dax: NonNullable<Daemon['dax']>): [string, string | number][] {
  const { runs, clients, mappings, files, waiting, faults, caughtStores, commands } = dax;
  const { queuedWrites, collisions } = dax;
  const { pteUnderPmd, pmdOverPte, found } = collisions;
  const who = `${plural(runs, 'run')}, ${plural(clients, 'process', 'processes')}`;
  const all = faults + caughtStores;
  const isClean = pteUnderPmd + pmdOverPte + found === 0;
  const collided = `${pteUnderPmd} PTE under PMD, ${pmdOverPte} PMD over PTE, ${found} found by processes`;
  return [
    ['direct', `${who}, ${plural(mappings, 'mapping')}, ${plural(files, 'file')}`],
    ['faults', `${all}, ${caughtStores} of them stores only noted; ${waiting} wait`],
    ['mapping commands', commands],
    ['queued writes', queuedWrites],
    ['collisions', isClean ? 0 : `${collided}: a bug of fauxdax`],
  ];
}

/** `3 (2 fsync, 1 timer)` */
function total(counts: Record<string, number>): string | number {
  const seen = Object.entries(counts).filter(([, count]) => count !== 0);
  const sum = seen.reduce((all, [, count]) => all + count, 0);
  return sum === 0 ? sum : `${sum} (${seen.map(([name, count]) => `${count} ${name}`).join(', ')})`;
}

/** `17 s`, `5 min`, `3 h`, `2 d` */
function formatDuration(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
