/**
 * The request under way, as numbers in the frame it shares with the native session (lib/frame.ts):
 * what was asked, and the shapes of the answers. One object for all requests; they come one by one.
 */
import { Errno } from '../lib/errno.js';
import { FRAME_SLOTS, Q, REPLY, REQUEST } from '../lib/frame.js';
import { type Inode, isDirectory, isRegular } from '../lib/metadata/inode.js';
import type { Session } from '../lib/addon/session.js';
import { PAGE_BYTES } from '../lib/units.js';
import type { Caller, Filesystem } from './filesystem.js';
import { handleOf, O_DIRECT } from './handles.js';

/** An operation on inode `ino` and the names of the request; returns what lib/frame.ts says. */
export type Operation = (ino: number, name: string, name2: string) => number;

/** The kernel may keep attributes and names: only we change them, and we say so when we do. */
export const FOREVER_SEC = 1e9;

const FOPEN_DIRECT_IO = 1 << 0;
const FOPEN_KEEP_CACHE = 1 << 1;
const FOPEN_NOFLUSH = 1 << 5;
const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

/** The numbers of requests and answers, which a session and whoever handles its requests share. */
export interface Frame {
  readonly request: Float64Array;
  readonly reply: Float64Array;
}

export const newFrame = (): Frame => ({
  request: new Float64Array(FRAME_SLOTS),
  reply: new Float64Array(FRAME_SLOTS),
});

/** What operations ask of the session: all of it, or a view in which inodes are named otherwise. */
export type Wire = Pick<
  Session,
  | 'requestBytes'
  | 'replyBytes'
  | 'addEntry'
  | 'resume'
  | 'answer'
  | 'invalidateInode'
  | 'notificationsDone'
>;

export class Call {
  readonly request: Float64Array;
  readonly reply: Float64Array;
  readonly #fs: Filesystem;
  #session: Wire | undefined;

  constructor(fs: Filesystem, { request, reply }: Frame) {
    this.#fs = fs;
    this.request = request;
    this.reply = reply;
  }

  attach(session: Wire): void {
    this.#session = session;
  }

  get wire(): Wire {
    if (this.#session === undefined) throw new Error('a request before the session was attached');
    return this.#session;
  }

  in(slot: number): number {
    return this.request[slot] as number;
  }

  caller(): Caller {
    return { uid: this.in(Q.uid), gid: this.in(Q.gid), pid: this.in(Q.pid) };
  }

  /** Bytes that came with the request. */
  payload(start: number, lengthBytes: number): Uint8Array {
    return this.wire.requestBytes.subarray(start, start + lengthBytes);
  }

  attributes(inode: Inode): number {
    const { reply } = this;
    const { dax, nodes, sharing } = this.#fs;
    sharing.look(inode.ino);
    // Stores through direct mappings move the times, and the kernel does not see them.
    const isDax = dax !== undefined && nodes.get(inode.ino)?.isDax === true;
    reply[REPLY.attrTimeoutSec] = isDax ? 0 : FOREVER_SEC;
    reply[REPLY.ino] = inode.ino;
    reply[REPLY.size] = isDirectory(inode) ? PAGE_BYTES : inode.sizeBytes;
    reply[REPLY.blocks] = isRegular(inode) ? this.#fs.metadata.extents(inode).pageCount * 8 : 0;
    reply[REPLY.mode] = inode.mode;
    reply[REPLY.nlink] = inode.nlink;
    reply[REPLY.uid] = inode.uid;
    reply[REPLY.gid] = inode.gid;
    reply[REPLY.rdev] = inode.rdev;
    reply[REPLY.blksize] = PAGE_BYTES;
    reply[REPLY.atimeSec] = inode.atimeSec;
    reply[REPLY.atimeNsec] = inode.atimeNsec;
    reply[REPLY.mtimeSec] = inode.mtimeSec;
    reply[REPLY.mtimeNsec] = inode.mtimeNsec;
    reply[REPLY.ctimeSec] = inode.ctimeSec;
    reply[REPLY.ctimeNsec] = inode.ctimeNsec;
    reply[REPLY.btimeSec] = inode.btimeSec;
    reply[REPLY.btimeNsec] = inode.btimeNsec;
    return 0;
  }

  /** An entry reply: the kernel now holds one more reference to the inode. */
  entry(inode: Inode, parentIno: number, name: string): number {
    this.#fs.reference(inode, parentIno, name);
    return this.entryNumbers(inode);
  }

  entryNumbers(inode: Inode): number {
    this.reply[REPLY.nodeid] = inode.ino;
    this.reply[REPLY.generation] = 1;
    this.reply[REPLY.entryTimeoutSec] = FOREVER_SEC;
    return this.attributes(inode);
  }

  /** Names that are not there may be remembered too. */
  noEntry(): number {
    this.reply[REPLY.nodeid] = 0;
    this.reply[REPLY.entryTimeoutSec] = FOREVER_SEC;
    return 0;
  }

  /**
   * O_DIRECT passes every read and write on, in parallel, and so does an open of a DAX file, whose
   * bytes change by stores that the kernel does not see. Other files use the page cache, which
   * stays valid over opens because nobody changes a file behind the kernel's back.
   *
   * @param ino of the file or directory; its open has been counted
   */
  openReply(flags: number, ino: number): number {
    const node = this.#fs.nodes.get(ino);
    const isDax = node?.isDax === true;
    const isDirect = isDax || (flags & O_DIRECT) !== 0;
    const keep = node?.hasOldPages === true ? 0 : FOPEN_KEEP_CACHE;
    if (node !== undefined && (isDax || !isDirect)) node.hasOldPages = isDax;
    this.reply[REPLY.fh] = handleOf(isDirect ? flags | O_DIRECT : flags);
    this.reply[REPLY.openFlags] = isDirect
      ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH
      : keep | FOPEN_NOFLUSH;
    return 0;
  }

  value(value: number): number {
    this.reply[REPLY.value] = value;
    return 0;
  }

  bytes(bytes: Uint8Array): number {
    this.wire.replyBytes.set(bytes);
    return this.value(bytes.length);
  }

  /** GETXATTR and LISTXATTR: size 0 asks how much there is. */
  sized(bytes: Uint8Array): number {
    const room = this.in(REQUEST.getxattr.size);
    this.reply[REPLY.isSize] = room === 0 ? 1 : 0;
    if (room === 0) return this.value(bytes.length);
    if (bytes.length > room) throw new Errno('ERANGE', `${bytes.length} bytes`);
    return this.bytes(bytes);
  }
}

/** Runs an operation; the one place where an Errno becomes a FUSE error. Bugs go through. */
export function statusOf(run: () => number): number {
  try {
    return run();
  } catch (error) {
    if (error instanceof Errno) return error.errno;
    throw error;
  }
}
