/** The package's interface: make an image, mount it, cut its power. */
import { makeImage } from '../lib/image.js';
import { loadNative } from '../lib/native.js';

export { Errno } from '../lib/errno.js';
export type { Keep } from '../lib/region.js';
export type { FaultAction, FaultRule, FaultState } from './faults.js';
export { type CrashReport, type FileMap, type ImageInfo, Mount, mount } from './mount.js';
export type { MountOptions } from './options.js';

/** An image on disk: a directory with a region and its metadata. */
export const Image = {
  /**
   * Makes an image.
   * @param dir directory to make
   * @param options.sizeBytes size of the region, a multiple of 4096
   * @param options.force overwrite an image that is there
   */
  make(dir: string, options: { sizeBytes: number; force?: boolean; uuid?: string }): void {
    const { sizeBytes, force = false, uuid } = options;
    const allocate = loadNative().allocateFile;
    makeImage(dir, { sizeBytes, force, allocate, ...(uuid === undefined ? {} : { uuid }) });
  },
};
