/**
 * What a trace is made of: everything that happened to an image while it was recorded, in one total
 * order. A position counts events: position n is the moment after the first n of them. SPEC.md has
 * the bytes; lib/trace/codec.ts reads and writes them.
 *
 * Offsets and lengths are bytes of the region. `callId` names the request of a program that caused
 * an event; 0 is the filesystem itself (its timer, its recovery). It is unique inside a trace.
 */
import type { MetadataRecord } from '../metadata/records.js';

/** A request of a program, before anything of it happens. `time` is since the recording began. */
export interface CallEvent {
  type: 'call';
  callId: number;
  timeNs: number;
  /** FUSE's word for it: WRITE, FSYNC, RENAME2, ...; of a DAX mapping DAX_STORE, DAX_FLUSH, ... */
  operation: string;
  /** 0 when the kernel acts for nobody in particular, as in the writeback of a mapping. */
  pid: number;
  ino: number;
  /**
   * What of these the operation has. `ino2` is the second directory of a rename, link's inode, the
   * file a copy goes to: its `offset` is there.
   */
  name?: string;
  name2?: string;
  ino2?: number;
  offset?: number;
  lengthBytes?: number;
  /**
   * open flags, fallocate mode, setattr's valid mask, rename flags, ioctl: as linux/fuse.h.
   * DAX_FAULT: 1 for a store.
   */
  flags?: number;
  /** Of a DAX mapping: the calling thread (gettid); 0: it is not known whose it was. */
  thread?: number;
  /** WRITE: from the kernel's page cache: a mapping's pages, or buffered for nobody. */
  isWriteback?: boolean;
}

/** The call is answered: whatever its caller does next comes after this. */
export interface ReturnEvent {
  type: 'return';
  callId: number;
  /** 0, or the positive errno. */
  error: number;
}

/** Bytes changed. Valid until the next event is asked for, unless copied. */
export interface StoreEvent {
  type: 'store';
  callId: number;
  offset: number;
  bytes: Uint8Array;
  /** The filesystem flushed its lines in the same step: its next fence makes them durable. */
  isFlushed: boolean;
}

/** The filesystem's own flushes and fences; those of a program name its thread (gettid). */
export const FILESYSTEM_THREAD = 0;

export interface FlushEvent {
  type: 'flush';
  callId: number;
  offset: number;
  lengthBytes: number;
  thread: number;
}

/** What this thread flushed before is durable, at the value it had when it was flushed. */
export interface FenceEvent {
  type: 'fence';
  callId: number;
  thread: number;
}

/** Free pages got the canary of their last owner; it counts as durable at once. */
export interface CanaryEvent {
  type: 'canary';
  page: number;
  pageCount: number;
  ownerIno: number;
}

/** One logical change of the metadata; an `end-operation` record ends an atomic group. */
export interface MetadataEvent {
  type: 'metadata';
  callId: number;
  record: MetadataRecord;
}

export type CommitReason = 'fsync' | 'timer' | 'limit' | 'space';

/** The running transaction became durable, with all records before this event. */
export interface CommitEvent {
  type: 'commit';
  callId: number;
  reason: CommitReason;
}

export type ForceKind = 'fsync' | 'fdatasync' | 'fsyncdir' | 'syncfs' | 'osync' | 'odsync';

/**
 * What a program asked to be durable is: fsync and its kin, also msync, which the kernel turns into
 * fsync. Comes after the fence and the commit that did it.
 */
export interface ForceEvent {
  type: 'force';
  callId: number;
  kind: ForceKind;
  /** The file or directory that was named; 0 for all. */
  ino: number;
}

/** Whole lines a program printed (its acknowledgements), or marks; without their line ends. */
export interface OutputEvent {
  type: 'output';
  timeNs: number;
  stream: 'stdout' | 'mark';
  lines: string[];
}

/** From here on `pid` is this command; said before its first call, and again after an exec. */
export interface ProcessEvent {
  type: 'process';
  pid: number;
  parentPid: number;
  /** Arguments joined by blanks. */
  command: string;
}

/** The workload ended, or was ended. Writeback of what mappings left dirty may follow. */
export interface WorkloadEndEvent {
  type: 'workload-end';
  timeNs: number;
  exitStatus: number | null;
  signal: string | null;
}

export type TraceEvent =
  | CallEvent
  | ReturnEvent
  | StoreEvent
  | FlushEvent
  | FenceEvent
  | CanaryEvent
  | MetadataEvent
  | CommitEvent
  | ForceEvent
  | OutputEvent
  | ProcessEvent
  | WorkloadEndEvent;
