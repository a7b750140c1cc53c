/**
 * The only file that loads the addon. It types what the addon exports and turns native errnos into
 * `Errno`; it decides nothing. What the addon makes, regions, sessions, recorders and fault servers,
 * has a file of its name in lib/addon. Everything runs on the JavaScript thread that calls it, and
 * synchronously.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './addon/errno.js';
import {
  type FaultServer,
  type FaultServerConstructor,
  type FaultServerOptions,
  NativeFaultServer,
} from './addon/fault_server.js';
import {
  FileRecorder,
  type RecordedOutput,
  type Recorder,
  type RecorderConstructor,
} from './addon/recorder.js';
import { MappedRegion, type NativeRegion, type RegionConstructor } from './addon/region.js';
import {
  openSession,
  type Session,
  type SessionConstructor,
  type SessionOptions,
} from './addon/session.js';

export interface Native {
  /**
   * Maps the region file. A writable one gets its host blocks allocated first.
   * @throws {Errno} those of open(2), fallocate(2) and mmap(2); EINVAL when the file is shorter than
   * `pageCount` pages or neither a file nor a DAX device
   */
  openRegion(path: string, pageCount: number, options: { readOnly: boolean }): NativeRegion;
  openSession(options: SessionOptions): Session;
  /**
   * Goes on with a trace that holds its header and base, and has no end.
   * @throws {Errno} those of open(2); EBADMSG when it is no trace or damaged, EEXIST when it is
   * finished, EINVAL when an output is no FIFO
   */
  openRecorder(path: string, options: { outputs: readonly RecordedOutput[] }): Recorder;
  /**
   * Listens for shims, and serves them.
   * @throws {Errno} those of bind(2); EOPNOTSUPP when the region lies on no tmpfs
   */
  openFaultServer(options: FaultServerOptions): FaultServer;
  /**
   * mount(2) of type fuse.fauxdax; returns the /dev/fuse descriptor, close-on-exec. Needs
   * CAP_SYS_ADMIN. `flags` are MS_* of mount(2); `data` the FUSE options besides fd=.
   */
  mountFuse(dir: string, source: string, flags: number, data: string): number;
  /** umount2(2); `lazy` is MNT_DETACH. */
  unmount(dir: string, lazy: boolean): void;
  /**
   * Receives one descriptor sent by fusermount3 over the socket `fd`. Blocks.
   * @throws {Errno} ENODATA when the peer closed without sending one
   */
  receiveDescriptor(fd: number): number;
  /** A connected pair of Unix stream sockets, close-on-exec. */
  socketPair(): [number, number];
  /** flock(LOCK_EX | LOCK_NB); false when another process holds it. */
  lockFile(fd: number): boolean;
  /**
   * A process under `fauxdax run` that still has something of this region mapped; 0 when there is
   * none, -1 when it has no number in this pid namespace.
   */
  attachedProcess(fd: number): number;
  /** posix_fallocate(3): the host's blocks exist afterwards, so a store never meets a full disk. */
  allocateFile(fd: number, lengthBytes: number): void;
  closeDescriptor(fd: number): void;
  /**
   * Whether a program gets capabilities from its file, capabilities(7).
   * @throws {Errno} those of getxattr(2)
   */
  hasFileCapabilities(path: string): boolean;
  /**
   * The UFFD_FEATURE_* that direct mappings need and this kernel lacks.
   * @throws {Errno} ENOSYS: no userfaultfd; EPERM: this user may not use it
   */
  probeUserfault(): number;
  /**
   * From here on this process says on descriptor 2, in lines like those of lib/log.ts, which signal ends
   * it and where, before it ends by that. For a daemon, first of all.
   */
  sayLastWords(): void;
  /** lib/name_codec.ts, as the session does it. */
  decodeName(bytes: Uint8Array): string;
  encodeName(name: string): Uint8Array;
}

/** The addon as native/addon.cc exports it. */
interface Addon
  extends Omit<Native, 'openRegion' | 'openSession' | 'openRecorder' | 'openFaultServer'> {
  Region: RegionConstructor;
  Session: SessionConstructor;
  Recorder: RecorderConstructor;
  FaultServer: FaultServerConstructor;
}

/**
 * Where node-gyp puts what it built: the addon and the warden. Above this file: two up from lib/,
 * three from dist/lib/.
 */
export function builtFolder(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let dir = start; ; dir = dirname(dir)) {
    const folder = join(dir, 'build', 'Release');
    if (existsSync(join(folder, 'fauxdax.node'))) return folder;
    if (dir === dirname(dir)) {
      throw new Error(`fauxdax.node was not found above ${start}: run npm run build:native`);
    }
  }
}

/** Loads the addon that node-gyp built. Throws when it was not built. */
export function loadNative(): Native {
  const addon = createRequire(import.meta.url)(join(builtFolder(), 'fauxdax.node')) as Addon;
  return {
    openRegion: (path, pageCount, options) =>
      new MappedRegion(addon.Region, path, pageCount, options.readOnly),
    openSession: (options) => openSession(addon.Session, options),
    openRecorder: (path, { outputs }) => new FileRecorder(addon.Recorder, path, outputs),
    openFaultServer: (options) => new NativeFaultServer(addon.FaultServer, options),
    mountFuse: (dir, source, flags, data) => run(() => addon.mountFuse(dir, source, flags, data)),
    unmount: (dir, lazy) => run(() => addon.unmount(dir, lazy)),
    receiveDescriptor: (fd) => run(() => addon.receiveDescriptor(fd)),
    socketPair: () => run(() => addon.socketPair()),
    lockFile: (fd) => run(() => addon.lockFile(fd)),
    attachedProcess: (fd) => run(() => addon.attachedProcess(fd)),
    allocateFile: (fd, lengthBytes) => run(() => addon.allocateFile(fd, lengthBytes)),
    closeDescriptor: (fd) => run(() => addon.closeDescriptor(fd)),
    hasFileCapabilities: (path) => run(() => addon.hasFileCapabilities(path)),
    probeUserfault: () => run(() => addon.probeUserfault()),
    sayLastWords: () => addon.sayLastWords(),
    decodeName: (bytes) => addon.decodeName(bytes),
    encodeName: (name) => run(() => addon.encodeName(name)),
  };
}
