/**
 * The process that serves an image, found by what it cannot hide: its region file is open. Asking
 * the daemon itself will not do for the one that was killed while the kernel wrote back dirty pages
 * on its behalf. Its main thread is a zombie, its helper waits for an answer that nobody will give
 * any more, and until the connection is aborted it keeps the region, its lock and the socket.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

export interface Holder {
  pid: number;
  /** Clock ticks since boot; with the pid it names one process for ever. */
  birth: string;
  /** Killed, and not gone. */
  isDying: boolean;
}

const COMMAND = 'fauxdax';

/** @param imageDir without symbolic links. @returns undefined also when we may not look */
export function holderOf(imageDir: string): Holder | undefined {
  const region = join(imageDir, 'region');
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const pid = Number(name);
    const stat = statOf(pid);
    if (stat === undefined || !stat.command.startsWith(COMMAND)) continue;
    if (hasOpen(pid, region)) return { pid, birth: stat.birth, isDying: stat.isDying };
  }
  return undefined;
}

/** Whether that very process is still there; a zombie without living threads is not. */
export function isThere(holder: Holder): boolean {
  const stat = statOf(holder.pid);
  if (stat === undefined || stat.birth !== holder.birth) return false;
  return !stat.isDying || threadsOf(holder.pid).length > 1;
}

function statOf(pid: number): { command: string; birth: string; isDying: boolean } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name, in parentheses, may hold anything: fields count from behind it.
    const end = stat.lastIndexOf(')');
    const fields = stat.slice(end + 2).split(' ');
    const command = stat.slice(stat.indexOf('(') + 1, end);
    return { command, birth: fields[19] ?? '', isDying: /[ZX]/.test(fields[0] ?? '') };
  } catch {
    return undefined; // no such process
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** A zombie's own descriptors are gone; those that its threads hold are seen through them. */
function hasOpen(pid: number, path: string): boolean {
  for (const thread of threadsOf(pid)) {
    const dir = `/proc/${pid}/task/${thread}/fd`;
    try {
      if (readdirSync(dir).some((fd) => readlinkSync(join(dir, fd)) === path)) return true;
    } catch {
      // The thread or a descriptor went meanwhile, or it is somebody else's process.
    }
  }
  return false;
}
