/**
 * Which fauxdax mounts this process sees: /proc/self/mountinfo (proc_pid_mountinfo(5)), whose
 * fields escape space, tab, newline and backslash as three octal digits. A file belongs to a mount
 * when its st_dev is the mount's device, so bind mounts and odd names need no path arithmetic.
 */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

export interface MountEntry {
  /** `major:minor`, as st_dev of everything inside. */
  device: string;
  /** Absolute path of the mount point. */
  dir: string;
  fsType: string;
  /** Of a fauxdax mount: absolute path of its image. */
  source: string;
}

const FS_TYPE = 'fuse.fauxdax';

/** Parses the text of a mountinfo file. Lines it cannot read are left out. */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ', 2);
    const [, , device, , dir] = left?.split(' ') ?? [];
    const [fsType, source] = right?.split(' ') ?? [];
    if (device === undefined || dir === undefined) continue;
    if (fsType === undefined || source === undefined) continue;
    entries.push({ device, dir: unescapeOctal(dir), fsType, source: unescapeOctal(source) });
  }
  return entries;
}

/** The bytes of a name that is not UTF-8 are decoded as Node decodes paths: with U+FFFD. */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** All fauxdax mounts, oldest first. */
function fauxdaxMounts(): MountEntry[] {
  const entries = parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
  return entries.filter((entry) => entry.fsType === FS_TYPE);
}

/** The mount whose mount point is `dir`, the topmost when several are stacked there. */
export function mountAt(dir: string): MountEntry | undefined {
  const at = (path: string) => fauxdaxMounts().findLast((entry) => entry.dir === path);
  return at(untouched(dir)) ?? at(canonical(dir));
}

/** As canonical(), but a last name that is a mount point is not examined: its daemon may hang. */
function untouched(path: string): string {
  const absolute = resolve(path);
  try {
    return join(realpathSync.native(dirname(absolute)), basename(absolute));
  } catch {
    return absolute;
  }
}

/**
 * The mount that holds `path` (which must exist), and its inode number there.
 * @throws the system error of stat(2)
 */
export function mountOf(path: string): { mount: MountEntry | undefined; ino: number } {
  const { dev, ino } = statSync(path, { bigint: true });
  const device = formatDevice(dev);
  const mount = fauxdaxMounts().findLast((entry) => entry.device === device);
  return { mount, ino: Number(ino) };
}

/** The mount that serves the image directory `image`. */
export function mountOfImage(image: string): MountEntry | undefined {
  const path = canonical(image);
  return fauxdaxMounts().find((entry) => entry.source === path);
}

/**
 * A process in whose mount namespace the device is mounted; undefined when there is none, or none
 * that we may look at.
 */
export function processThatSees(device: string): number | undefined {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const entries = parseMountinfo(readFileSync(`/proc/${name}/mountinfo`, 'utf8'));
      if (entries.some((entry) => entry.device === device)) return Number(name);
    } catch {
      // It ended meanwhile, or is somebody else's.
    }
  }
  return undefined;
}

/** st_dev as `major:minor`: glibc's 64-bit encoding. */
export function formatDevice(dev: bigint): string {
  const major = ((dev >> 32n) & 0xfffff000n) | ((dev >> 8n) & 0xfffn);
  const minor = ((dev >> 12n) & 0xffffff00n) | (dev & 0xffn);
  return `${major}:${minor}`;
}

/**
 * Absolute path without symbolic links. The last name is kept as it is where it cannot be examined:
 * a mount point whose daemon died answers ENOTCONN.
 */
export function canonical(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync.native(absolute);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || absolute === '/') return absolute;
    try {
      return join(realpathSync.native(dirname(absolute)), basename(absolute));
    } catch {
      return absolute; // the caller's next system call names what is wrong with it
    }
  }
}
