/**
 * The number that stands for an open file description (`fh`): the flags of its open that the kernel
 * leaves to us. After a buffered write the kernel sends FSYNC where O_DSYNC asks for it; after a
 * direct write, a fallocate or a copy_file_range it does not.
 */
import { HANDLE_DIRECT, HANDLE_DSYNC, HANDLE_SYNC } from '../lib/frame.js';

const O_DSYNC = 0o10000;
export const O_DIRECT = 0o40000;
/** O_SYNC without the O_DSYNC that it contains. */
const O_SYNC_ONLY = 0o4000000;

/** What must be durable before a change is answered: O_DSYNC's promise or O_SYNC's. */
export type SyncKind = 'odsync' | 'osync';

/** @param flags of open(2) */
export function handleOf(flags: number): number {
  const direct = (flags & O_DIRECT) === 0 ? 0 : HANDLE_DIRECT;
  const dsync = (flags & O_DSYNC) === 0 ? 0 : HANDLE_DSYNC;
  return direct | dsync | ((flags & O_SYNC_ONLY) === 0 ? 0 : HANDLE_SYNC);
}

export function isDirect(handle: number): boolean {
  return (handle & HANDLE_DIRECT) !== 0;
}

/** What the open asked of every change. */
export function syncOf(handle: number): SyncKind | undefined {
  if ((handle & HANDLE_SYNC) !== 0) return 'osync';
  return (handle & HANDLE_DSYNC) === 0 ? undefined : 'odsync';
}

/** The same from the flags of a WRITE, which know of pwritev2(2) and of a mount with `sync` too. */
export function syncOfFlags(flags: number): SyncKind | undefined {
  return syncOf(handleOf(flags));
}
