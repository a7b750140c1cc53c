/**
 * What IMAGE and DIR on the command line stand for: a mount (found by its device, so any path
 * inside it will do), or an image directory that may be mounted or not.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Control, connect } from '../fs/mount.js';
import { EXIT_FAILURE, EXIT_USAGE, Failure } from './failure.js';
import { canonical, type MountEntry, mountAt, mountOf, mountOfImage } from './mountinfo.js';

export type Target = { kind: 'mount'; mount: MountEntry } | { kind: 'image'; image: string };

/** Whether `path` looks like an image; what is wrong inside is for whoever opens it. */
function isImage(path: string): boolean {
  return existsSync(join(path, 'region')) || existsSync(join(path, 'meta.db'));
}

/**
 * A path in a mount, or an image directory. A mounted image is its mount.
 * @throws {Failure} neither
 */
export function findTarget(what: string, path: string): Target {
  const mount = findMount(what, path);
  if (mount !== undefined) return { kind: 'mount', mount };
  if (!isImage(path)) {
    throw new Failure(`${what}: ${path}: neither a fauxdax mount nor an image: make one with mkfs`);
  }
  const image = canonical(path);
  const mounted = mountOfImage(image);
  return mounted === undefined ? { kind: 'image', image } : { kind: 'mount', mount: mounted };
}

/**
 * A path that must be inside a mount.
 * @throws {Failure} it is not
 */
export function requireMount(what: string, path: string): MountEntry {
  const mount = findMount(what, path) ?? mountOfImage(path);
  if (mount !== undefined) return mount;
  const which = isImage(path) ? 'the image is not mounted' : 'not in a fauxdax mount';
  throw new Failure(`${what}: ${path}: ${which}: use fauxdax mount first`);
}

function findMount(what: string, path: string): MountEntry | undefined {
  const at = mountAt(path);
  if (at !== undefined) return at;
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    throw new Failure(`${what}: ${path}: no such file or directory`);
  }
  return mountOf(path).mount;
}

/**
 * Asks the daemon of a mount and hangs up again.
 * @throws {Failure} the daemon is gone, or said no
 */
export async function ask<T>(
  what: string,
  mount: MountEntry,
  question: (control: Control) => Promise<T>,
): Promise<T> {
  let control: Control;
  try {
    control = await connect(mount.source);
  } catch (error) {
    const reason = (error as Error).message;
    throw new Failure(`${what}: ${mount.dir}: the daemon does not answer (${reason}): umount it`);
  }
  try {
    return await question(control);
  } catch (error) {
    // The daemon's errors carry a code: an errno name, or the name of its error class.
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined) throw error;
    const exitStatus = code === 'UsageError' ? EXIT_USAGE : EXIT_FAILURE;
    throw new Failure(`${what}: ${mount.dir}: ${message}`, exitStatus);
  } finally {
    control.close();
  }
}
