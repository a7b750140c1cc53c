/**
 * Calls as a person names them: `write(conf.json.tmp, offset 0, 120 bytes)`, with the paths that
 * held at that moment and the command that made them. Fed with the events of a trace in their
 * order, it speaks of the position it has reached.
 */
import type { CallEvent, TraceEvent } from './event.js';
import { PathTracker } from './paths.js';
import { PlaceTracker } from './places.js';
import type { BaseImage } from './source.js';
import { LINE_BYTES } from '../units.js';

const FATTR = { MODE: 1, UID: 2, GID: 4, SIZE: 8, ATIME: 16, MTIME: 32 } as const;
const FDATASYNC = 1;
const RENAME_EXCHANGE = 2;
const FALLOC_PUNCH_HOLE = 2;
const FALLOC_COLLAPSE_RANGE = 8;
const FALLOC_ZERO_RANGE = 16;
const FALLOC_INSERT_RANGE = 32;
const O_TRUNC = 0o1000;

/** Operations on a name in the directory `ino`. */
const NAMED = new Set([
  ...['SYMLINK', 'MKNOD', 'MKDIR', 'UNLINK', 'RMDIR'],
  ...['RENAME', 'RENAME2', 'CREATE'],
]);
/** Words where FUSE's own are not those of a program. */
const WORDS: Record<string, string> = { RELEASE: 'close', RENAME2: 'rename' };

/** A call as a report names it. */
export interface CallText {
  callId: number;
  position: number;
  timeNs: number;
  pid: number;
  command: string;
  operation: string;
  /** Relative to the workload's directory; of the file as it was named then. */
  path: string;
  path2?: string;
  offset?: number;
  lengthBytes?: number;
  /** `write(conf.json.tmp, offset 0, 120 bytes)`. */
  text: string;
}

export class CallTexts {
  readonly paths: PathTracker;
  readonly places: PlaceTracker;
  private readonly commands = new Map<number, string>();

  constructor(base: Pick<BaseImage, 'database'>) {
    this.paths = new PathTracker(base);
    this.places = new PlaceTracker(base);
  }

  /** A call is to be asked for before what it did is observed: names are those it was made with. */
  observe(event: TraceEvent): void {
    if (event.type === 'process') this.commands.set(event.pid, event.command);
    this.paths.observe(event);
    this.places.observe(event);
  }

  /**
   * A call that names its file: stores through mappings are recorded with a place in the region
   * only. One to a page that no file has had stays as it is.
   */
  located(call: CallEvent): CallEvent {
    if (call.operation !== 'DAX_STORE' || call.ino !== 0) return call;
    const place = this.places.find(call.offset ?? 0);
    return place === undefined ? call : { ...call, ...place };
  }

  /** The command of a process, '' where it is not known. */
  command(pid: number): string {
    return this.commands.get(pid) ?? '';
  }

  /** @param position of the call's event: the number of events before it */
  of(recorded: CallEvent, position: number): CallText {
    const call = this.located(recorded);
    const { callId, timeNs, pid, operation, offset, lengthBytes } = call;
    const { path, path2 } = this.pathsOf(call);
    const text: CallText = {
      callId,
      position,
      timeNs,
      pid,
      command: this.command(pid),
      operation,
      path,
      text: describe(call, path, path2),
    };
    if (path2 !== undefined) text.path2 = path2;
    if (offset !== undefined) text.offset = offset;
    if (lengthBytes !== undefined) text.lengthBytes = lengthBytes;
    return text;
  }

  private pathsOf(call: CallEvent): { path: string; path2?: string } {
    const { paths } = this;
    const { operation, ino, ino2, name = '?', name2 = '?' } = call;
    if (operation === 'SYNCFS' || operation === 'DAX_DRAIN') return { path: '.' };
    if (operation === 'LINK') {
      return { path: paths.path(ino2 ?? 0), path2: paths.pathOf(ino, name) };
    }
    if (operation === 'RENAME' || operation === 'RENAME2') {
      return { path: paths.pathOf(ino, name), path2: paths.pathOf(ino2 ?? ino, name2) };
    }
    if (operation.startsWith('COPY_FILE_RANGE')) {
      return { path: paths.path(ino), path2: paths.path(ino2 ?? 0) };
    }
    return { path: NAMED.has(operation) ? paths.pathOf(ino, name) : paths.path(ino) };
  }
}

function describe(call: CallEvent, path: string, path2: string | undefined): string {
  const { operation, flags = 0, offset = 0, lengthBytes = 0, name = '' } = call;
  const range = `offset ${offset}, ${lengthBytes} ${lengthBytes === 1 ? 'byte' : 'bytes'}`;
  const word = WORDS[operation] ?? operation.toLowerCase();
  switch (operation) {
    case 'WRITE':
      if (call.isWriteback !== true) return `write(${path}, ${range})`;
      return `writeback of ${call.pid === 0 ? 'a mapping of ' : ''}${path} (${range})`;
    case 'READ':
      return `read(${path}, ${range})`;
    case 'SETATTR':
      return describeSetattr(flags, lengthBytes, path);
    case 'FSYNC':
      return `${(flags & FDATASYNC) === 0 ? 'fsync' : 'fdatasync'}(${path})`;
    case 'FSYNCDIR':
      return `fsync(directory ${path})`;
    case 'RENAME':
    case 'RENAME2':
      if ((flags & RENAME_EXCHANGE) !== 0) return `exchange(${path} ↔ ${path2})`;
      return `rename(${path} → ${path2})`;
    case 'LINK':
      return `link(${path} → ${path2})`;
    case 'SYMLINK':
      return `symlink(${path} → ${call.name2 ?? '?'})`;
    case 'OPEN':
      return (flags & O_TRUNC) === 0 ? `open(${path})` : `open(${path}, emptied)`;
    case 'TMPFILE':
      return `create(a file without name in ${path})`;
    case 'FALLOCATE':
      return describeFallocate(flags, path, range);
    case 'COPY_FILE_RANGE':
    case 'COPY_FILE_RANGE_64':
      return `copy_file_range(${path} → ${path2}, ${range})`;
    case 'SETXATTR':
    case 'REMOVEXATTR':
      return `${word}(${path}, ${name})`;
    case 'SYNCFS':
      return 'syncfs()';
    case 'DAX_STORE':
      if (call.ino === 0) return `store to the region (${range})`;
      return `store to a mapping of ${path} (${range}${linesText(offset, lengthBytes)})`;
    case 'DAX_FLUSH':
      return `flush of ${path} (${range}${linesText(offset, lengthBytes)})`;
    case 'DAX_DRAIN':
      return 'drain()';
    case 'DAX_MSYNC':
      return `msync(${path}, ${range})`;
    case 'DAX_FAULT':
      return `page fault of a ${(flags & 1) === 0 ? 'load' : 'store'} (${path}, ${range})`;
    case 'DAX_FALLOCATE':
      return describeFallocate(flags, path, range);
    default:
      return `${word}(${path})`;
  }
}

/** The lines of 64 bytes that a range of a file touches, counted from its start. */
function linesText(offset: number, lengthBytes: number): string {
  const first = Math.floor(offset / LINE_BYTES);
  const last = Math.floor((offset + Math.max(1, lengthBytes) - 1) / LINE_BYTES);
  return first === last ? `, line ${first}` : `, lines ${first} to ${last}`;
}

function describeFallocate(mode: number, path: string, range: string): string {
  if ((mode & FALLOC_PUNCH_HOLE) !== 0) return `punch_hole(${path}, ${range})`;
  if ((mode & FALLOC_COLLAPSE_RANGE) !== 0) return `collapse_range(${path}, ${range})`;
  if ((mode & FALLOC_ZERO_RANGE) !== 0) return `zero_range(${path}, ${range})`;
  if ((mode & FALLOC_INSERT_RANGE) !== 0) return `insert_range(${path}, ${range})`;
  return `fallocate(${path}, ${range})`;
}

function describeSetattr(valid: number, sizeBytes: number, path: string): string {
  if ((valid & FATTR.SIZE) !== 0) return `truncate(${path}, ${sizeBytes})`;
  if ((valid & FATTR.MODE) !== 0) return `chmod(${path})`;
  if ((valid & (FATTR.UID | FATTR.GID)) !== 0) return `chown(${path})`;
  if ((valid & (FATTR.ATIME | FATTR.MTIME)) !== 0) return `utimens(${path})`;
  return `setattr(${path})`;
}
