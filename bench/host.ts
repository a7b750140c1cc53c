/**
 * Facts about the machine that a reader of the table needs, and where client and daemon run.
 *
 * Placement decides more than any code here: handing a request to a process on another, idle CPU of
 * a virtual machine takes 20 times as long as answering it, and the scheduler chooses anew in every
 * run. `same` binds client and daemon to one CPU, so that a round trip costs what it computes: the
 * strictest comparison and the steadiest. `split` gives each a CPU of its own, `free` leaves it to
 * the scheduler.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, setPriority, totalmem } from 'node:os';

export const placements = ['same', 'split', 'free'] as const;
export type Placement = (typeof placements)[number];

const niceness = -20;

const fileSystems = new Map([
  [0xef53, 'ext4'],
  [0x01021994, 'tmpfs'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x794c7630, 'overlayfs'],
]);

/** CPU number for one side, or undefined to leave it to the scheduler. */
export function cpuOf(side: 'client' | 'daemon', placement: Placement): number | undefined {
  const last = availableParallelism() - 1;
  if (placement === 'free') return undefined;
  return side === 'daemon' || placement === 'same' ? last : 0;
}

/** Words before a client's command line that put it where the placement says. */
export function clientPrefix(placement: Placement): string[] {
  const cpu = cpuOf('client', placement);
  return cpu === undefined ? [] : ['taskset', '-c', String(cpu)];
}

/**
 * Puts all threads of a process that leads a session ahead of everything else on the machine: a
 * neighbour that takes its share of the CPU in one run and not in the next moves the figures more
 * than any difference worth knowing. Niceness counts within a session, the session's own niceness
 * between sessions where the kernel groups by them.
 */
export function favour(pid: number): void {
  for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), niceness);
  const group = `/proc/${pid}/autogroup`;
  if (existsSync(group)) writeFileSync(group, String(niceness));
}

export interface Host {
  kernel: string;
  cpuModel: string;
  cpuCount: number;
  memoryMib: number;
  load: number[];
  node: string;
  libfuse: string;
  scratch: string;
  scratchType: string;
}

/** Describes the machine; `scratch` is where images and the directory below lie. */
export function describeHost(scratch: string): Host {
  const type = Number(statfsSync(scratch).type);
  return {
    kernel: release(),
    cpuModel: cpus()[0]?.model ?? 'unknown',
    cpuCount: availableParallelism(),
    memoryMib: Math.round(totalmem() / 2 ** 20),
    load: loadavg(),
    node: process.version,
    libfuse: execFileSync('pkg-config', ['--modversion', 'fuse3'], { encoding: 'utf8' }).trim(),
    scratch,
    scratchType: fileSystems.get(type) ?? `0x${type.toString(16)}`,
  };
}

/** Load of the last minute, now. */
export function loadNow(): number {
  return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
}
