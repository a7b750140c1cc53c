/**
 * The descriptors above 2 that a command was given by who started it, as a shell's `3>file` does.
 * Node marks most of them close-on-exec when it starts, as it does its own, so a program gets them
 * only when it is told to pass them on.
 */
import { constants, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { StdioOptions } from 'node:child_process';

const FOLDER = '/proc/self/fd';
const INFO = '/proc/self/fdinfo';
/** Higher ones are passed on only where Node did not mark them. */
const DESCRIPTOR_MAX = 1023;

interface Descriptor {
  target: string;
  /** Whether it was opened, or set, not to wait. */
  isNonBlocking: boolean;
}

/**
 * To be called before the command opens anything itself. What is Node's own is left out: event polls,
 * event counters and pipes of which both ends are here. A caller's own such pipe, as make's job
 * server, is told from those by how Node makes them: neither end waits, but for one pipe, made just
 * before the others, where both do.
 */
export function inheritedDescriptors(): number[] {
  const open = new Map<number, Descriptor>();
  for (const name of readdirSync(FOLDER)) {
    const fd = Number(name);
    const found = descriptorOf(name);
    if (fd > 2 && fd <= DESCRIPTOR_MAX && found !== undefined) open.set(fd, found);
  }
  const nodes = nodesPipes(open);
  return [...open]
    .filter(([fd, { target }]) => !target.startsWith('anon_inode:') && !nodes.has(fd))
    .map(([fd]) => fd)
    .sort((a, b) => a - b);
}

function nodesPipes(open: ReadonlyMap<number, Descriptor>): Set<number> {
  const ends = new Map<string, number[]>();
  for (const [fd, { target }] of open) {
    if (target.startsWith('pipe:')) ends.set(target, [...(ends.get(target) ?? []), fd]);
  }
  const pairs = [...ends.values()].filter((fds) => fds.length === 2);
  const waitingEnds = (fds: number[]) => fds.filter((fd) => !open.get(fd)?.isNonBlocking).length;
  const last = (fds: number[]) => Math.max(...fds);
  const withoutWaiting = pairs.filter((fds) => waitingEnds(fds) === 0);
  const first = Math.min(...withoutWaiting.map(last));
  const waiting = pairs
    .filter((fds) => waitingEnds(fds) === 2 && last(fds) < first)
    .sort((a, b) => last(a) - last(b));
  return new Set([...withoutWaiting.flat(), ...(waiting.at(-1) ?? [])]);
}

/** For spawn(): each descriptor under its own number, besides the standard three. */
export function stdioWith(descriptors: readonly number[]): StdioOptions {
  const stdio: (number | 'ignore')[] = [0, 1, 2];
  for (const fd of descriptors) {
    while (stdio.length < fd) stdio.push('ignore');
    stdio[fd] = fd;
  }
  return stdio;
}

/** Undefined for the descriptor with which the folder was read. */
function descriptorOf(name: string): Descriptor | undefined {
  try {
    const target = readlinkSync(`${FOLDER}/${name}`);
    const [, flags = '0'] =
      /^flags:\s*(\d+)$/m.exec(readFileSync(`${INFO}/${name}`, 'latin1')) ?? [];
    return { target, isNonBlocking: (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0 };
  } catch {
    return undefined;
  }
}
