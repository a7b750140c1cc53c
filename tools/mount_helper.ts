#!/usr/bin/env node
/**
 * The helper that mount(8) runs for `mount -t fuse.fauxdax IMAGE DIR` and for fstab lines, found as
 * /sbin/mount.fuse.fauxdax. Exit statuses are those of mount(8): 1 usage, 32 mount failure.
 */
import { mount } from '../fs/mount.js';
import { parseMountOptions, UsageError } from '../fs/options.js';
import { report } from './failure.js';
import { parseHelperArguments } from './helper_arguments.js';

const EXIT_USAGE = 1;
const EXIT_MOUNT_FAILURE = 32;

try {
  const { image, dir, lists, fake } = parseHelperArguments(process.argv.slice(2));
  const options = parseMountOptions(lists);
  if (!fake) await mount(image, dir, options);
} catch (error) {
  report(error);
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : EXIT_MOUNT_FAILURE;
}
