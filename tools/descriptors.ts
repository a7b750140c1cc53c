/**
 * The descriptors above 2 that a command was given by who started it, as a shell's `3>file` does.
 * Node marks most of them close-on-exec when it starts, as it does its own, so a program gets them
 * only when it is told to pass them on.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import type { StdioOptions } from 'node:child_process';

const FOLDER = '/proc/self/fd';
/** Higher ones are passed on only where Node did not mark them. */
const DESCRIPTOR_MAX = 1023;

/**
 * To be called before the command opens anything itself. What is Node's own is left out: event polls
 * and event counters, and pipes that have both ends here, so that a caller's own such pipe is too.
 */
export function inheritedDescriptors(): number[] {
  const targets = new Map<number, string>();
  for (const name of readdirSync(FOLDER)) {
    const fd = Number(name);
    const target = targetOf(name);
    if (fd > 2 && fd <= DESCRIPTOR_MAX && target !== undefined) targets.set(fd, target);
  }
  const all = [...targets.values()];
  const isNodes = (target: string): boolean =>
    target.startsWith('anon_inode:') ||
    (target.startsWith('pipe:') && all.filter((other) => other === target).length > 1);
  return [...targets.keys()].filter((fd) => !isNodes(targets.get(fd) ?? '')).sort((a, b) => a - b);
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
function targetOf(name: string): string | undefined {
  try {
    return readlinkSync(`${FOLDER}/${name}`);
  } catch {
    return undefined;
  }
}
