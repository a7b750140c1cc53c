/**
 * A fresh image mounted for one test through the package's interface (the daemon runs from dist/).
 * The test process is a client of the mount, never its server.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Mount, MountOptions } from '../../fs/index.js';

// What is tested is what is shipped; and the daemon must be plain JavaScript.
const built = '../../dist/fs/index.js';
export const { Errno, Image, mount } = (await import(built)) as typeof import('../../fs/index.js');

const NONE = { pteUnderPmd: 0, pmdOverPte: 0, found: 0 };

export interface Place {
  imageDir: string;
  dir: string;
}

/** An image and a mount point that go away with the test. */
export function makePlace(t: Test, sizeBytes = 32 << 20): Place {
  const root = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
  const place = { imageDir: join(root, 'image'), dir: join(root, 'mnt') };
  mkdirSync(place.dir);
  Image.make(place.imageDir, { sizeBytes });
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  return place;
}

/**
 * Mounts; unmounts with the test unless that happened before. Without a bug switch nothing ever
 * collides in page tables of programs, whatever a test does.
 */
export async function mounted(
  t: Test,
  place: Place,
  options: Partial<MountOptions> = {},
): Promise<Mount> {
  const made = await mount(place.imageDir, place.dir, options);
  let gone = false;
  void made.exited.then(() => {
    gone = true;
  });
  t.teardown(async () => {
    if (gone) return;
    const { collisions } = (await made.info().catch(() => undefined))?.daemon.dax ?? {};
    await made.unmount().catch(() => made.kill());
    if (!options.bugs?.pmdPteCollision) assert.deepEqual(collisions ?? NONE, NONE);
  });
  return made;
}
