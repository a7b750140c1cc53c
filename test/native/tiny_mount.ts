/**
 * A mount with the smallest handler that is a filesystem: the root directory and one file `file`
 * (inode 2), whose pages map one to one on region pages from 1 on. The process that serves it never
 * touches it: clients are child processes.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FRAME_SLOTS, NO_REPLY, OP, Q, REPLY, REQUEST, STATFS_REPLY } from '../../lib/frame.js';
import type { Recorder } from '../../lib/addon/recorder.js';
import type { NativeRegion } from '../../lib/addon/region.js';
import type { Session } from '../../lib/addon/session.js';
import { loadNative } from '../../lib/native.js';

export const ROOT_INO = 1;
export const FILE_INO = 2;
export const FILE_PAGES = 1024;
export const FILE_BYTES = FILE_PAGES * 4096;
export const NAME = 'file';
export const SERVE_READS = 1;
export const SERVE_WRITES = 2;
export const READS_TOUCH_ATIME = 4;
export const NOTHING_TO_KILL = 8;

const ENOENT = 2;
const ENOSYS = 38;
const FOR_EVER_SEC = 1e9;

export type Handler = (
  opcode: number,
  name: string | undefined,
  name2: string | undefined,
) => number | undefined;

export interface Call {
  opcode: number;
  name: string | undefined;
  name2: string | undefined;
  request: Float64Array;
}

/** What a client process did. */
export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export class TinyMount {
  readonly dir: string;
  /** Holds the region; a place for clients to leave files outside the mount. */
  readonly imageDir: string;
  readonly session: Session;
  readonly region: NativeRegion;
  readonly request = new Float64Array(FRAME_SLOTS);
  readonly reply = new Float64Array(FRAME_SLOTS);
  /** All calls since the mount, requests copied. */
  readonly calls: Call[] = [];
  /** Resolves with the reason when the session ends by itself. */
  readonly ended: Promise<string | undefined>;
  sizeBytes = FILE_BYTES;
  openFlags = 0;
  /** Names listed in the root directory besides `.` and `..`. */
  names = [NAME];
  /** Asked before the built-in answers; undefined leaves a call to them. */
  handler: Handler = () => undefined;
  private readonly native = loadNative();
  private mounted = true;

  constructor(options: { flags?: string; recorder?: Recorder } = {}) {
    this.imageDir = mkdtempSync(join(tmpdir(), 'fauxdax-session-'));
    this.dir = mkdtempSync(join(tmpdir(), 'fauxdax-mount-'));
    const regionPath = join(this.imageDir, 'region');
    writeFileSync(regionPath, '');
    truncateSync(regionPath, (FILE_PAGES + 1) * 4096);
    this.region = this.native.openRegion(regionPath, FILE_PAGES + 1, { readOnly: false });
    if (options.recorder !== undefined) this.region.record(options.recorder);
    const data = options.flags ?? 'default_permissions,allow_other';
    const fd = this.native.mountFuse(
      this.dir,
      'tiny',
      0,
      `rootmode=40000,user_id=0,group_id=0,${data}`,
    );
    let end: (reason: string | undefined) => void = () => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.session = this.native.openSession({
      directMappings: true,
      fd,
      region: this.region,
      request: this.request,
      reply: this.reply,
      handler: (opcode, name, name2) => this.handle(opcode, name, name2),
      onEnd: (reason) => {
        // As a daemon does; who still waits for an answer gets an error instead.
        this.session.close();
        end(reason);
      },
      readOnly: false,
      ...(options.recorder === undefined ? {} : { recorder: options.recorder }),
    });
  }

  get path(): string {
    return join(this.dir, NAME);
  }

  /** Shares the file with all its pages written, on region pages 1 and up. */
  share(bits: number): void {
    this.session.shareFile(FILE_INO, this.sizeBytes);
    this.session.setMap(FILE_INO, 0, FILE_PAGES, new Float64Array([0, 1, FILE_PAGES, 1]), 1);
    this.session.setService(FILE_INO, bits);
  }

  /** Runs JavaScript in a client process: `fs`, `path` (of the file) and `dir` are defined. */
  async client(code: string): Promise<Outcome> {
    const prologue = `const fs=require('fs');const dir=${JSON.stringify(this.dir)};const path=dir+'/${NAME}';`;
    return this.command(process.execPath, ['-e', prologue + code]);
  }

  async command(file: string, args: string[]): Promise<Outcome> {
    return new Promise((resolve) => {
      execFile(file, args, { timeout: 30_000 }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ status, stdout, stderr });
      });
    });
  }

  imageHolds(name: string): boolean {
    return existsSync(join(this.imageDir, name));
  }

  callsOf(opcode: number): Call[] {
    return this.calls.filter((call) => call.opcode === opcode);
  }

  /** Says that a client has unmounted it. */
  noteUnmounted(): void {
    this.mounted = false;
  }

  close(): void {
    if (this.mounted) this.native.unmount(this.dir, true);
    this.session.close();
    this.region.close();
    rmSync(this.imageDir, { recursive: true });
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Fills the reply with the attributes of an inode. */
  attributes(ino: number): void {
    const { reply } = this;
    const directory = ino === ROOT_INO;
    reply.fill(0, 0, REPLY.ioctlResult + 1);
    reply[REPLY.nodeid] = ino;
    reply[REPLY.generation] = 1;
    reply[REPLY.entryTimeoutSec] = FOR_EVER_SEC;
    reply[REPLY.attrTimeoutSec] = 0;
    reply[REPLY.ino] = ino;
    reply[REPLY.size] = directory ? 4096 : this.sizeBytes;
    reply[REPLY.blocks] = Math.ceil((directory ? 4096 : this.sizeBytes) / 512);
    reply[REPLY.mode] = directory ? 0o40777 : 0o100666;
    reply[REPLY.nlink] = directory ? 2 : 1;
    reply[REPLY.blksize] = 4096;
    reply[REPLY.atimeSec] = -1.5e9; // before 1970
    reply[REPLY.mtimeSec] = 1_700_000_000;
    reply[REPLY.mtimeNsec] = 123_456_789;
    reply[REPLY.ctimeSec] = 1_700_000_001;
    reply[REPLY.btimeSec] = 1_600_000_000;
    reply[REPLY.btimeNsec] = 5;
  }

  private handle(opcode: number, name: string | undefined, name2: string | undefined): number {
    this.calls.push({ opcode, name, name2, request: this.request.slice(0, 64) });
    return this.handler(opcode, name, name2) ?? this.answer(opcode, name);
  }

  private answer(opcode: number, name: string | undefined): number {
    const { reply, request } = this;
    const nodeid = request[Q.nodeid] as number;
    switch (opcode) {
      case OP.FORGET:
        return NO_REPLY;
      case OP.LOOKUP:
        if (name !== NAME) return ENOENT;
        this.attributes(FILE_INO);
        return 0;
      case OP.GETATTR:
      case OP.STATX:
        this.attributes(nodeid);
        return 0;
      case OP.SETATTR:
        if ((request[REQUEST.setattr.valid] as number) & 8) {
          this.sizeBytes = request[REQUEST.setattr.size] as number;
          this.session.setSize(nodeid, this.sizeBytes);
        }
        this.attributes(nodeid);
        return 0;
      case OP.OPEN:
        reply[REPLY.fh] = 7;
        reply[REPLY.openFlags] = this.openFlags;
        return 0;
      case OP.READ: {
        const offset = request[REQUEST.read.offset] as number;
        const size = request[REQUEST.read.size] as number;
        const length = Math.max(0, Math.min(size, this.sizeBytes - offset));
        if (length > 0)
          this.region.read(4096 + offset, this.session.replyBytes.subarray(0, length));
        reply[REPLY.value] = length;
        return 0;
      }
      case OP.WRITE: {
        const offset = request[REQUEST.write.offset] as number;
        const size = request[REQUEST.write.size] as number;
        const payload = request[REQUEST.write.payload] as number;
        const bytes = this.session.requestBytes.subarray(payload, payload + size);
        this.region.storeFlushed(4096 + offset, bytes);
        reply[REPLY.value] = size;
        return 0;
      }
      case OP.READDIR:
      case OP.READDIRPLUS:
        return this.list(request[REQUEST.readdir.offset] as number);
      case OP.STATFS:
        reply.fill(0, 0, 8);
        reply[STATFS_REPLY.blocks] = FILE_PAGES;
        reply[STATFS_REPLY.bsize] = 4096;
        reply[STATFS_REPLY.frsize] = 4096;
        reply[STATFS_REPLY.namelen] = 255;
        return 0;
      case OP.RELEASE:
      case OP.FSYNC:
        return 0;
      default:
        return ENOSYS;
    }
  }

  private list(after: number): number {
    const entries = ['.', '..', ...this.names];
    for (let i = after; i < entries.length; i++) {
      const dots = i < 2;
      this.attributes(dots ? ROOT_INO : FILE_INO);
      if (dots) this.reply[REPLY.nodeid] = 0;
      if (!this.session.addEntry(entries[i] as string, i + 1)) break;
    }
    return 0;
  }
}
