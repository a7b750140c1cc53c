/**
 * The systems that rows compare, each mounted from nothing in a directory of its own.
 *
 * `noop` answers from memory, `passthrough` from a directory below; `fauxdax` is the command line
 * of this project on a fresh image; `fauxdax-recorded` the same, appending to a trace beside it.
 * `fauxdax-run` has its image in memory and its clients under `fauxdax run`, `fauxdax-memory` the same
 * image and ordinary clients, `tmpfs` is the kernel's, `region` the region file of the other side. A mounted system knows the process that serves
 * it, which is where placement and CPU time are read and set.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type * as Package from '../fs/index.js';
import { writeBase } from '../lib/trace/base.js';
import type { TraceInfo } from '../lib/trace/source.js';
import { isAlive, killQuietly, onEnd, runChild, startDaemon, waitUntil } from './children.js';
import { cpuOf, favour, type Placement } from './host.js';

const mountMsMax = 20_000;
// A commit to a disk that others keep busy.
const umountMsMax = 60_000;
const noopMib = 256;

const root = resolve(import.meta.dirname, '../..');
export const built = join(root, 'build/bench');
const command = process.env['FAUXDAX_COMMAND'] ?? join(root, 'dist/tools/fauxdax.js');

export const systemNames = [
  'fauxdax',
  'fauxdax-native',
  'fauxdax-host',
  'fauxdax-recorded',
  'fauxdax-run',
  'fauxdax-memory',
  'tmpfs',
  'region',
  'noop',
  'noop-uncached',
  'passthrough',
  'passthrough-mt',
] as const;
export type SystemName = (typeof systemNames)[number];

/** A system that serves `directory`; `daemonPid` is the process to charge and to kill. */
export interface Mounted {
  name: SystemName;
  directory: string;
  image: string;
  /** 0 when the kernel serves it. */
  daemonPid: number;
  /** Words before the command line of a client. */
  launch: readonly string[];
  stop(): Promise<void>;
}

/** Mount options of the command line for each variant of fauxdax. */
const mountWords: Partial<Record<SystemName, readonly string[]>> = {
  fauxdax: [],
  'fauxdax-native': ['--transport', 'fuse-native'],
  'fauxdax-host': ['-o', 'durable=host'],
  'fauxdax-run': [],
  'fauxdax-memory': [],
};

/** Systems whose image lies in memory, with its size; files of 1 GiB fit. */
const inMemory = new Set<SystemName>(['fauxdax-run', 'fauxdax-memory']);
const memoryImageSize = '1536M';
const memoryFolder = '/dev/shm';

const traceInfo: TraceInfo = {
  dir: '',
  workload: '',
  setup: null,
  startedAt: '',
  fauxdaxVersion: '',
  mountOptions: '',
};

/** Why a system cannot be measured here, or undefined. */
export function missing(name: SystemName): string | undefined {
  const isOurs = mountWords[name] !== undefined || name === 'fauxdax-recorded';
  if (isOurs && !existsSync(command)) return `${command} is not built`;
  return undefined;
}

/** Mounts a fresh system under `workDirectory`, which is emptied by the caller at the end. */
export async function start(
  name: SystemName,
  workDirectory: string,
  placement: Placement,
): Promise<Mounted> {
  const directory = join(workDirectory, `${name}.mount`);
  const below = join(workDirectory, `${name}.below`);
  mkdirSync(directory, { recursive: true });
  const forget = onEnd(() => detach(directory));
  const mounted = await startSystem(name, directory, below);
  if (mounted.daemonPid !== 0) place(mounted.daemonPid, placement);
  return {
    ...mounted,
    async stop() {
      await mounted.stop();
      forget();
    },
  };
}

function startSystem(name: SystemName, directory: string, below: string): Promise<Mounted> {
  if (name === 'fauxdax-recorded') return startRecorded(directory, below);
  if (name === 'tmpfs') return startTmpfs(directory);
  if (inMemory.has(name)) return startInMemory(name, directory);
  if (mountWords[name] !== undefined) return startFauxdax(name, directory, below);
  return startPeer(name, directory, below);
}

async function startPeer(name: SystemName, directory: string, below: string): Promise<Mounted> {
  let words: string[];
  if (name === 'noop' || name === 'noop-uncached') {
    const attributeSeconds = name === 'noop' ? '1' : '0';
    words = [join(built, 'noop'), directory, String(noopMib), attributeSeconds];
  } else {
    mkdirSync(below);
    words = [join(built, 'passthrough'), directory, below, name === 'passthrough' ? '1' : '4'];
  }
  const child = startDaemon(words);
  const daemonPid = child.pid ?? 0;
  const forget = onEnd(() => killQuietly(daemonPid));
  await waitUntil(`${name} mounting`, mountMsMax, () => {
    if (child.exitCode !== null) throw new Error(`${name} ended with status ${child.exitCode}`);
    return isMounted(directory);
  });
  return {
    name,
    directory,
    image: below,
    daemonPid,
    launch: [],
    async stop() {
      child.kill('SIGTERM');
      await waitUntil(`${name} ending`, umountMsMax, () => !isAlive(daemonPid));
      forget();
    },
  };
}

/**
 * The subject's region file, mapped as any file on tmpfs: its clients use the very pages that the
 * subject's do. Nothing of it is to be stopped.
 */
export function regionOf(subject: Mounted): Mounted {
  if (!inMemory.has(subject.name)) throw new Error(`the region of ${subject.name} is no peer`);
  return { ...subject, name: 'region', daemonPid: 0, launch: [], stop: async () => {} };
}

/** Where a file of a mount lies in its region, as options for the client; it is one extent. */
export async function placeInRegion(mounted: Mounted, file: string): Promise<string[]> {
  const map = await fauxdax(['map', join(mounted.directory, file), '--json'], mountMsMax);
  const { extents } = JSON.parse(map) as { extents: { regionPage: number }[] };
  const [extent, more] = extents;
  if (extent === undefined || more !== undefined) throw new Error(`${file} is not one extent`);
  return ['--region', join(mounted.image, 'region'), '--offset', String(extent.regionPage * 4096)];
}

async function startTmpfs(directory: string): Promise<Mounted> {
  await runChild(['mount', '-t', 'tmpfs', '-o', 'size=4G', 'bench', directory], mountMsMax);
  return {
    name: 'tmpfs',
    directory,
    image: '',
    daemonPid: 0,
    launch: [],
    async stop() {
      await runChild(['umount', directory], umountMsMax);
    },
  };
}

async function startInMemory(name: SystemName, directory: string): Promise<Mounted> {
  const folder = mkdtempSync(join(memoryFolder, 'fauxdax-bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const forget = onEnd(remove);
  const image = join(folder, 'image');
  await fauxdax(['mkfs', image, '--size', memoryImageSize], mountMsMax);
  const mounted = await mountFauxdax(name, directory, image);
  return {
    ...mounted,
    async stop() {
      await mounted.stop();
      remove();
      forget();
    },
  };
}

async function startFauxdax(name: SystemName, directory: string, image: string): Promise<Mounted> {
  await fauxdax(['mkfs', image, '--size', '1G'], mountMsMax);
  return mountFauxdax(name, directory, image);
}

/** With two outputs to look at before each call, as a workload has them. */
async function startRecorded(directory: string, image: string): Promise<Mounted> {
  await fauxdax(['mkfs', image, '--size', '1G'], mountMsMax);
  const { mount } = (await import(join(dirname(command), '../fs/index.js'))) as typeof Package;
  const trace = join(image, 'trace');
  writeBase(image, trace, traceInfo);
  const outputs = (['stdout', 'mark'] as const).map((stream) => {
    const path = join(image, stream);
    spawnSync('mkfifo', [path]);
    return { path, stream };
  });
  const mounted = await mount(image, directory, {}, { record: { trace, outputs } });
  const forget = onEnd(() => killQuietly(mounted.pid));
  return {
    name: 'fauxdax-recorded',
    directory,
    image,
    daemonPid: mounted.pid,
    launch: [],
    async stop() {
      await mounted.unmount();
      rmSync(trace);
      forget();
    },
  };
}

/** Mounts an image that exists. The daemon's number is asked of the mount itself. */
export async function mountFauxdax(
  name: SystemName,
  directory: string,
  image: string,
): Promise<Mounted> {
  await fauxdax(['mount', image, directory, ...(mountWords[name] ?? [])], mountMsMax);
  const info = JSON.parse(await fauxdax(['info', directory, '--json'], mountMsMax));
  const daemonPid: unknown = info.daemon?.pid;
  if (typeof daemonPid !== 'number') throw new Error('fauxdax info --json tells no daemon.pid');
  const forget = onEnd(() => killQuietly(daemonPid));
  return {
    name,
    directory,
    image,
    daemonPid,
    launch: name === 'fauxdax-run' ? [process.execPath, command, 'run', directory, '--'] : [],
    async stop() {
      await fauxdax(['umount', directory], umountMsMax);
      await waitUntil(`${name} ending`, umountMsMax, () => !isAlive(daemonPid));
      forget();
    },
  };
}

function fauxdax(words: readonly string[], waitMsMax: number): Promise<string> {
  return runChild([process.execPath, command, ...words], waitMsMax);
}

/** Whether something is mounted on exactly this directory; asks the mount table, not the mount. */
function isMounted(directory: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === directory);
}

/** Takes a mount away from the tree whatever state its daemon is in. */
export function detach(directory: string): void {
  if (isMounted(directory)) spawnSync('umount', ['-l', directory], { timeout: 10_000 });
}

/** Puts every thread of the daemon ahead of neighbours, on the CPU that the placement gives it. */
function place(daemonPid: number, placement: Placement): void {
  favour(daemonPid);
  const cpu = cpuOf('daemon', placement);
  if (cpu === undefined) return;
  const result = spawnSync('taskset', ['-a', '-c', '-p', String(cpu), String(daemonPid)]);
  if (result.status !== 0) throw new Error(`taskset: ${result.stderr}`);
}

/** CPU time of all threads of a process so far, nanoseconds; of process 0 none. */
export function cpuNs(pid: number): number {
  let total = 0;
  if (pid === 0) return total;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return total;
}
