/**
 * Mounting from another process: starts the daemon, waits until the directory is usable, and talks
 * to it over its control socket. Used by the command line, and by programs as
 * `import { mount } from 'fauxdax'`. The daemon outlives its starter.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, realpathSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { REGION_NAME } from '../lib/image.js';
import type { Keep } from '../lib/region.js';
import { ControlClient } from './control.js';
import type { CrashReport } from './crash.js';
import type { RunTicket } from './dax/dax.js';
import type { FaultRule, FaultState } from './faults.js';
import type { ImageInfo } from './info.js';
import { type Job, openLog, type RecordJob } from './job.js';
import { abandonKernel, unmountKernel } from './kernel_mount.js';
import { DEFAULT_OPTIONS, type MountOptions } from './options.js';

export type { CrashReport, ImageInfo };

export interface FileMap {
  /** Bytes. */
  size: number;
  extents: {
    filePage: number;
    regionPage: number;
    pageCount: number;
    state: 'written' | 'unwritten';
  }[];
}

/** A killed process that has not ended after this waits for something. */
const KILLED_MS = 1000;

const FUSE_DEVICE = '/dev/fuse';

/** The mount could not be made; the message is one line for a person. */
export class MountError extends Error {
  override readonly name = 'MountError';
}

/** The daemon of an image, over its control socket. Every call rejects with ControlError. */
export class Control {
  readonly #client: ControlClient;

  constructor(client: ControlClient) {
    this.#client = client;
  }

  info(): Promise<ImageInfo & { daemon: NonNullable<ImageInfo['daemon']> }> {
    return this.#client.call('info') as ReturnType<Control['info']>;
  }

  /** @param ino inode number as stat(2) shows it */
  map(ino: number): Promise<FileMap> {
    return this.#client.call('map', { ino }) as Promise<FileMap>;
  }

  /** Cuts the power; resolves when no process can see anything from before. */
  crash(keep: Keep): Promise<CrashReport> {
    return this.#client.call('crash', { keep }) as Promise<CrashReport>;
  }

  faultAdd(rule: FaultRule): Promise<FaultState> {
    return this.#client.call('fault-add', { rule }) as Promise<FaultState>;
  }

  faultList(): Promise<FaultState[]> {
    return this.#client.call('fault-list') as Promise<FaultState[]>;
  }

  /** Removes one rule or all; returns how many went. */
  faultClear(id?: number): Promise<number> {
    return this.#client.call('fault-clear', { ruleId: id }) as Promise<number>;
  }

  /** Commits the running transaction, as sync(2) would. */
  async commit(): Promise<void> {
    await this.#client.call('commit');
  }

  /**
   * The workload of a recorded mount ended: by exit, or by a signal. What it printed and did is in
   * the trace file when this resolves; a writeback of mappings may follow.
   */
  async recordEnd(exitStatus: number | null, signal: string | null): Promise<void> {
    await this.#client.call('record-end', { exitStatus, signal });
  }

  /**
   * Programs may map the mount's files directly from here on, until close(). Files that are open
   * already may not.
   */
  beginRun(): Promise<RunTicket> {
    return this.#client.call('run-begin') as Promise<RunTicket>;
  }

  /** Asks the daemon to unmount and end. Rejects with EBUSY unless `lazy`. */
  async stop(lazy = false): Promise<void> {
    await this.#client.call('stop', { lazy });
  }

  /** Calls once when the daemon has ended, if that is before close(). */
  onLost(run: () => void): void {
    this.#client.onLost(run);
  }

  close(): void {
    this.#client.close();
  }
}

/** @throws {Errno} ENOTCONN when no daemon serves the image */
export async function connect(imageDir: string): Promise<Control> {
  return new Control(await ControlClient.connect(realpathSync(imageDir)));
}

/** A mount made by this process. */
export class Mount {
  readonly dir: string;
  readonly imageDir: string;
  readonly pid: number;
  readonly #exited: Promise<number>;
  readonly #control: Control;
  readonly #daemon: ChildProcess;
  /** `major:minor`. Asked while the mount lives: nobody asks a dead one for anything. */
  readonly #device: string;

  constructor(job: Job, daemon: ChildProcess, exited: Promise<number>, control: Control) {
    const { dev } = statSync(job.dir);
    // makedev(3): an anonymous device, its major is 0.
    this.#device = `0:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`;
    this.dir = job.dir;
    this.imageDir = job.imageDir;
    this.pid = daemon.pid ?? 0;
    this.#exited = exited;
    this.#daemon = daemon;
    this.#control = control;
  }

  /** Resolves with the daemon's exit status when it has ended; whoever asks waits for it. */
  get exited(): Promise<number> {
    this.#daemon.ref();
    return this.#exited;
  }

  get control(): Control {
    return this.#control;
  }

  info(): ReturnType<Control['info']> {
    return this.#control.info();
  }

  /** The extents of a file of this mount, by its path. */
  map(path: string): Promise<FileMap> {
    return this.#control.map(statSync(path).ino);
  }

  crash(keep: Keep = { keep: 'none' }): Promise<CrashReport> {
    return this.#control.crash(keep);
  }

  readonly fault = {
    add: (rule: FaultRule): Promise<FaultState> => this.#control.faultAdd(rule),
    list: (): Promise<FaultState[]> => this.#control.faultList(),
    clear: (id?: number): Promise<number> => this.#control.faultClear(id),
  };

  /** Unmounts; resolves when all is committed and the daemon has ended. @throws {Errno} EBUSY */
  async unmount(): Promise<void> {
    await unmountKernel(this.dir, false);
    await this.exited;
    this.#control.close();
  }

  /** Ends the daemon as kill -9 does, and takes the dead mount away. For tests of recovery. */
  async kill(): Promise<void> {
    process.kill(this.pid, 'SIGKILL');
    // Killed while the kernel waits for it, the daemon cannot end before its connection does.
    const ended = await Promise.race([this.exited.then(() => true), sleep(KILLED_MS, false)]);
    if (ended) await unmountKernel(this.dir, true);
    else await abandonKernel(this.dir, this.#device);
    await this.exited;
    this.#control.close();
  }
}

export interface MountHow {
  /** The daemon stays attached: logs to our stderr and ends with us. */
  foreground?: boolean;
  /** The daemon is killed when this thread ends, however it ends. For mounts nobody else sees. */
  diesWithUs?: boolean;
  /**
   * Record everything that happens to the image, to the end of the mount. The trace is whole when
   * unmount() has resolved and `exited` was 0; RECORDING_FAILED_STATUS says it could not be written.
   */
  record?: RecordJob;
}

const DIE_WITH_US = ['setpriv', '--pdeathsig', 'KILL', '--'];

/**
 * Mounts an image on a directory; resolves when the directory is usable.
 * @throws {MountError} one line: what, where, what to do
 */
export async function mount(
  imageDir: string,
  dir: string,
  options: Partial<MountOptions> = {},
  how: MountHow = {},
): Promise<Mount> {
  const job: Job = {
    imageDir: existingDirectory('image', imageDir),
    dir: existingDirectory('mount point', dir),
    options: { ...DEFAULT_OPTIONS, ...options },
    ...(how.record === undefined ? {} : { record: absolute(how.record) }),
  };
  assertMountable(job);
  const program = fileURLToPath(new URL('./daemon.js', import.meta.url));
  const log = how.foreground === true ? 'inherit' : openLog(job.imageDir);
  const words = [...(how.diesWithUs === true ? DIE_WITH_US : []), process.execPath];
  const [executable = '', ...args] = [...words, program, JSON.stringify(job)];
  const child = spawn(executable, args, {
    detached: how.foreground !== true,
    stdio: ['ignore', log, log, 'pipe'],
  });
  if (typeof log === 'number') closeSync(log);
  const exited = new Promise<number>((resolve) => {
    child.once('exit', (code) => resolve(code ?? 128));
  });
  await ready(child, exited, job);
  const control = await connect(job.imageDir);
  if (how.foreground !== true) child.unref();
  return new Mount(job, child, exited, control);
}

/** The daemon works in another directory. */
function absolute({ trace, outputs }: RecordJob): RecordJob {
  return {
    trace: resolve(trace),
    outputs: outputs.map(({ path, stream }) => ({ path: resolve(path), stream })),
  };
}

/** What would otherwise fail later, with a reason that leads nowhere. */
function assertMountable({ imageDir, dir, record }: Job): void {
  if (record !== undefined && `${record.trace}/`.startsWith(`${dir}/`)) {
    throw new MountError(`mount: ${record.trace}: a trace cannot lie in the mount it records`);
  }
  if (!existsSync(join(imageDir, REGION_NAME))) {
    const what = `${imageDir} is not an image: it has no ${REGION_NAME}`;
    throw new MountError(`mount: ${what}; make one with fauxdax mkfs`);
  }
  // The daemon opens files of the image by path while it serves: it would wait for itself.
  if (dir === '/' || `${imageDir}/`.startsWith(`${dir}/`)) {
    throw new MountError(`mount: ${dir}: would hide the image ${imageDir}: mount it elsewhere`);
  }
  if (!existsSync(FUSE_DEVICE)) {
    const hint = `modprobe fuse; a container needs --device ${FUSE_DEVICE} --cap-add SYS_ADMIN`;
    throw new MountError(`mount: ${FUSE_DEVICE} is missing: ${hint}`);
  }
}

const PATH_ERRORS: Record<string, string> = {
  ENOTCONN: 'a dead mount is in the way: umount it first',
  ENOENT: 'no such directory',
  ENOTDIR: 'not a directory',
  EACCES: 'permission denied',
};

function existingDirectory(what: string, path: string): string {
  try {
    const real = realpathSync(path);
    if (!statSync(real).isDirectory())
      throw new MountError(`mount: ${path}: ${what}: not a directory`);
    return real;
  } catch (error) {
    if (error instanceof MountError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new MountError(`mount: ${path}: ${what}: ${PATH_ERRORS[code ?? ''] ?? code}`);
  }
}

async function ready(child: ChildProcess, exited: Promise<number>, job: Job): Promise<void> {
  const pipe = child.stdio[3] as NodeJS.ReadableStream;
  let said = '';
  pipe.setEncoding('utf8');
  await new Promise<void>((resolve) => {
    pipe.on('data', (text: string) => {
      said += text;
      if (said.includes('\n')) resolve();
    });
    pipe.on('end', resolve);
    void exited.then(() => sleep(50)).then(resolve);
  });
  (pipe as NodeJS.ReadableStream & { destroy(): void }).destroy();
  const answer = (said === '' ? {} : JSON.parse(said)) as {
    pid?: number;
    error?: { name: string; message: string };
  };
  if (answer.pid !== undefined) return;
  await exited;
  const reason = answer.error?.message ?? `the daemon died; see ${job.imageDir}/daemon.log`;
  throw new MountError(reason.startsWith('mount') ? reason : `mount: ${reason}`);
}
