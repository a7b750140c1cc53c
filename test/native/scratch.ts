/** Region files for the tests of test/native, in a folder that goes when the test ends. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { NativeRegion } from '../../lib/addon/region.js';
import { loadNative } from '../../lib/native.js';
import { PAGE_BYTES } from '../../lib/units.js';

/** A folder of the test's own. */
export function scratchFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'fauxdax-native-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Path of a zero-filled region file of `pageCount` pages. */
export function scratchFile(t: Test, pageCount: number): string {
  const path = join(scratchFolder(t), 'region');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, pageCount * PAGE_BYTES);
  closeSync(fd);
  return path;
}

/** An open region of zeroes, closed when the test ends. */
export function scratchRegion(t: Test, pageCount: number): NativeRegion {
  const region = loadNative().openRegion(scratchFile(t, pageCount), pageCount, { readOnly: false });
  t.teardown(() => region.close());
  return region;
}

/** All bytes of a region without poisoned pages. */
export function bytesOf(region: NativeRegion): Buffer {
  const bytes = Buffer.alloc(region.pageCount * PAGE_BYTES);
  region.read(0, bytes);
  return bytes;
}
