/**
 * The second transport: the npm package fuse-native, which speaks by paths over libfuse 2. It needs
 * nothing of our addon's session and serves as a baseline; what it cannot carry is refused by the
 * kernel or by it (CANNOT), never faked here. Every call runs on the filesystem's thread.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { Errno } from '../lib/errno.js';
import { type Inode, isRegular, ROOT_INO, S_IFDIR, S_IFLNK } from '../lib/metadata/inode.js';
import { PAGE_BYTES } from '../lib/units.js';
import { setattr, statfs } from './attributes.js';
import * as content from './content.js';
import { readdir } from './directories.js';
import type { Caller, Filesystem } from './filesystem.js';
import { unmountKernel } from './kernel_mount.js';
import * as namespace from './namespace.js';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.js';

const CANNOT = [
  'fallocate',
  'SEEK_DATA and SEEK_HOLE',
  'ioctl',
  'rename flags',
  'O_TMPFILE',
  'copy_file_range',
  'inode numbers',
  'notifications (crash in place)',
  'ids of the caller on creation',
  'faults',
  'names that are not UTF-8',
  'shared pages between hard links',
];

type Callback = (error: number, ...values: unknown[]) => void;

interface FuseNative {
  mount(callback: (error: Error | null) => void): void;
}

interface FuseNativeStat {
  mode: number;
  uid: number;
  gid: number;
  size: number;
  dev: number;
  nlink: number;
  ino: number;
  rdev: number;
  blksize: number;
  blocks: number;
  mtime: Date;
  atime: Date;
  ctime: Date;
} // prettier-ignore

interface FuseNativeTransport {
  cannot: readonly string[];
  unmount(lazy: boolean): Promise<void>;
  close(): void;
}

const RTLD_NODELETE = 0x1000;
const POLL_MS = 200;

/** @throws {Errno} EOPNOTSUPP when the package is not installed or does not load */
function load(): new (dir: string, ops: object, options: object) => FuseNative {
  const require = createRequire(import.meta.url);
  try {
    const { lib } = require('fuse-shared-library') as { lib: string };
    const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
    try {
      // Its addon links libfuse.so by name only: have it in the process first, for good.
      process.dlopen({ exports: {} }, lib, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    } catch {
      // Node says that a plain library "did not self-register"; loaded it is all the same.
    }
    return require('fuse-native') as ReturnType<typeof load>;
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw new Errno('EOPNOTSUPP', `transport fuse-native: npm install fuse-native (${reason})`);
  }
}

/** Mounts by fuse-native; resolves when the directory is usable. */
export async function startFuseNative(
  fs: Filesystem,
  where: { imageDir: string; dir: string; onEnd: () => void },
): Promise<FuseNativeTransport> {
  if (fs.options.crashable) {
    throw new Errno('EOPNOTSUPP', 'transport fuse-native has no notifications: no -o crashable');
  }
  const FuseNative = load();
  const fuse = new FuseNative(where.dir, operations(fs), {
    fsname: where.imageDir,
    subtype: 'fauxdax',
    defaultPermissions: true,
    allowOther: fs.options.allowOther,
    timeout: false,
  });
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => (error ? reject(new Errno('EIO', error.message)) : resolve()));
  });
  // libfuse ends its loop without telling anybody: watch the mount itself.
  const field = ` ${where.dir.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`)} `;
  const watch = setInterval(() => {
    if (!readFileSync('/proc/self/mountinfo', 'utf8').includes(field)) where.onEnd();
  }, POLL_MS);
  return {
    cannot: CANNOT,
    unmount: (lazy) => unmountKernel(where.dir, lazy),
    close: () => clearInterval(watch),
  };
}

function operations(fs: Filesystem): Record<string, (...args: never[]) => void> {
  const caller: Caller = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, pid: 0 };
  const path = new Paths(fs);
  const answer =
    <A extends unknown[]>(run: (...args: A) => unknown[] | number | void) =>
    (...all: [...A, Callback]): void => {
      const callback = all.pop() as Callback;
      try {
        const result = run(...(all as unknown as A));
        if (Array.isArray(result)) callback(0, ...result);
        else callback(result ?? 0);
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
        callback(-error.errno);
      }
    };
  const create = (at: string, mode: number, extra: { rdev?: number; target?: string } = {}) => {
    const { parentIno, name } = path.place(at);
    return namespace.create(fs, caller, parentIno, name, { mode, umask: 0, ...extra });
  };
  return {
    getattr: answer((at: string) => [stat(fs, fs.inode(path.ino(at)))]),
    statfs: answer(() => [statfsNumbers(fs)]),
    readdir: answer((at: string) => {
      const names: string[] = [];
      readdir(fs, path.ino(at), 0, ({ name }) => names.push(name) > 0);
      return [names];
    }),
    readlink: answer((at: string) => [fs.inode(path.ino(at)).target ?? '']),
    open: answer((at: string, flags: number) => [path.open(at, flags)]),
    create: answer((at: string, mode: number) => {
      create(at, mode);
      return [path.open(at, 2)];
    }),
    release: answer((_: string, fd: number) => path.release(fd)),
    read: answer((_: string, fd: number, target: Buffer, size: number, offset: number) =>
      content.read(fs, fd, offset, target.subarray(0, size), 0),
    ),
    write: answer((_: string, fd: number, source: Buffer, size: number, offset: number) =>
      content.write(fs, fd, offset, source.subarray(0, size), caller.uid !== 0),
    ),
    fsync: answer((_: string, dataOnly: number, fd: number) =>
      content.fsync(fs, dataOnly !== 0 ? 'fdatasync' : 'fsync', fd),
    ),
    fsyncdir: answer((at: string) => content.fsync(fs, 'fsyncdir', path.ino(at))),
    truncate: answer((at: string, sizeBytes: number) => {
      setattr(fs, path.ino(at), { sizeBytes, mtime: 'now' });
    }),
    ftruncate: answer((_: string, fd: number, sizeBytes: number) => {
      setattr(fs, fd, { sizeBytes, mtime: 'now' });
    }),
    // It hands the modification time over as the access time: only the first can be meant.
    utimens: answer((at: string, atimeMs: number, mtimeMs: number) => {
      setattr(fs, path.ino(at), { atime: time(atimeMs), mtime: time(mtimeMs) });
    }),
    chmod: answer((at: string, mode: number) => void setattr(fs, path.ino(at), { mode })),
    chown: answer((at: string, uid: number, gid: number) => {
      const given = (id: number): boolean => id !== 0xffffffff && id !== -1;
      setattr(fs, path.ino(at), { ...(given(uid) && { uid }), ...(given(gid) && { gid }) });
    }),
    mknod: answer((at: string, mode: number, rdev: number) => void create(at, mode, { rdev })),
    mkdir: answer((at: string, mode: number) => void create(at, mode | S_IFDIR)),
    symlink: answer((target: string, at: string) => void create(at, S_IFLNK | 0o777, { target })),
    link: answer((from: string, to: string) => {
      const { parentIno, name } = path.place(to);
      namespace.link(fs, path.ino(from), parentIno, name);
    }),
    unlink: answer((at: string) => namespace.unlink(fs, ...path.parts(at))),
    rmdir: answer((at: string) => namespace.rmdir(fs, ...path.parts(at))),
    rename: answer((from: string, to: string) =>
      namespace.rename(fs, path.place(from), path.place(to), 0),
    ),
    setxattr: answer((at: string, name: string, value: Buffer, _position: number, flags: number) =>
      setxattr(fs, path.ino(at), name, value.slice(), { flags, killSetgid: false }),
    ),
    getxattr: answer((at: string, name: string) => [Buffer.from(getxattr(fs, path.ino(at), name))]),
    listxattr: answer((at: string) => [listxattr(fs, path.ino(at))]),
    removexattr: answer((at: string, name: string) => removexattr(fs, path.ino(at), name)),
  } as Record<string, (...args: never[]) => void>;
}

/** Paths to inodes, and open files by inode number (libfuse hides files unlinked while open). */
class Paths {
  readonly #fs: Filesystem;

  constructor(fs: Filesystem) {
    this.#fs = fs;
  }

  ino(path: string): number {
    let ino = ROOT_INO;
    for (const name of path.split('/')) {
      if (name === '') continue;
      const inode = namespace.lookup(this.#fs, ino, name);
      if (inode === undefined) throw new Errno('ENOENT', path);
      ino = inode.ino;
    }
    return ino;
  }

  place(path: string): namespace.Place {
    const cut = path.lastIndexOf('/');
    return { parentIno: this.ino(path.slice(0, cut)), name: path.slice(cut + 1) };
  }

  parts(path: string): [number, string] {
    const { parentIno, name } = this.place(path);
    return [parentIno, name];
  }

  /** Opens and takes the reference that keeps the inode until release. */
  open(path: string, flags: number): number {
    const { parentIno, name } = this.place(path);
    const inode = this.#fs.inode(this.ino(path));
    this.#fs.reference(inode, parentIno, name);
    try {
      content.open(this.#fs, inode.ino, flags, false);
    } catch (error) {
      this.#fs.forget(inode.ino, 1);
      throw error;
    }
    return inode.ino;
  }

  release(ino: number): void {
    content.release(this.#fs, ino);
    this.#fs.forget(ino, 1);
  }
}

function time(ms: number): { sec: number; nsec: number } {
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: Math.floor((ms - sec * 1000) * 1e6) };
}

function stat(fs: Filesystem, inode: Inode): FuseNativeStat {
  const date = (sec: number, nsec: number): Date => new Date(sec * 1000 + nsec / 1e6);
  return {
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.sizeBytes,
    dev: 0,
    nlink: inode.nlink,
    ino: inode.ino,
    rdev: inode.rdev,
    blksize: PAGE_BYTES,
    blocks: isRegular(inode) ? fs.metadata.extents(inode).pageCount * 8 : 0,
    atime: date(inode.atimeSec, inode.atimeNsec),
    mtime: date(inode.mtimeSec, inode.mtimeNsec),
    ctime: date(inode.ctimeSec, inode.ctimeNsec),
  };
}

function statfsNumbers(fs: Filesystem): Record<string, number> {
  const now = statfs(fs);
  return {
    bsize: now.pageBytes,
    frsize: now.pageBytes,
    blocks: now.pages,
    bfree: now.freePages,
    bavail: now.freePages,
    files: now.inodes,
    ffree: now.freeInodes,
    favail: now.freeInodes,
    fsid: 0,
    flag: 0,
    namemax: now.nameBytesMax,
  };
}
