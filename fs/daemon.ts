/**
 * The daemon of one mount: a process of its own that owns the image, serves the kernel and the
 * control socket, commits on its timer, and ends when the kernel unmounts it. Started by
 * fs/mount.ts with a job as its only argument; it answers one line on descriptor 3: ready, or why
 * not. It never touches its own mount, and what it is asked to unmount a child process unmounts.
 */
import { closeSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Errno } from '../lib/errno.js';
import { type OpenImage, openImage } from '../lib/image.js';
import { isRegular } from '../lib/metadata/inode.js';
import { type Log, makeLog } from '../lib/log.js';
import type { NativeRegion } from '../lib/addon/region.js';
import type { Session } from '../lib/addon/session.js';
import { loadNative } from '../lib/native.js';
import { endAttached } from './attached.js';
import { type Calls, type Connection, ControlServer } from './control.js';
import { Power, type PowerSwitch } from './crash.js';
import { whyNotDax } from './dax/ability.js';
import { Dax, type RunTicket } from './dax/dax.js';
import { Dispatch } from './dispatch.js';
import type { FaultRule } from './faults.js';
import { Filesystem } from './filesystem.js';
import { checkKeep } from './keep.js';
import { startFuseNative } from './fuse_native.js';
import { imageGeometry, type ImageInfo } from './info.js';
import type { Job } from './job.js';
import { mountKernel, unmountKernel } from './kernel_mount.js';
import { Recording, RECORDING_FAILED_STATUS } from './recording.js';

const READY_FD = 3;
/** What serves the mount: the native session, or fuse-native. */
interface Transport {
  unmount(lazy: boolean): Promise<void>;
  close(): void;
  session?: Session;
}

class Daemon {
  readonly #job: Job;
  readonly #log: Log;
  readonly #fs: Filesystem;
  readonly #power: Power;
  readonly #image: OpenImage;
  readonly #recording: Recording | undefined;
  readonly #startedMs = Date.now();
  /** What keeps files from being mapped directly. */
  readonly #whyNotDax: string | undefined;
  #transport: Transport | undefined;
  #control: ControlServer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;
  #ended = false;
  /** The log has how it ended. */
  #endIsTold = false;
  #recordingFailed = false;

  constructor(job: Job, log: Log) {
    this.#job = job;
    this.#log = log;
    const native = loadNative();
    const { options } = job;
    this.#recording = job.record && new Recording(native, job.record, options);
    this.#image = openImage(job.imageDir, {
      readOnly: options.readOnly,
      durable: options.durable,
      bugs: options.bugs,
      openRegion: this.#recording?.openRegion ?? native.openRegion,
      lockFile: native.lockFile,
    });
    this.#recording?.attach(this.#image.metadata);
    this.#fs = new Filesystem(this.#image, options, this.#recording);
    this.#power = new Power(this.#fs);
    this.#whyNotDax = whyNotDax(options, (this.#image.region as NativeRegion).path);
  }

  async start(): Promise<void> {
    const { imageDir, dir, options } = this.#job;
    // A signal that came while the mount was being made ends it when it stands: never half made.
    let early: string | undefined;
    let isMounted = false;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (isMounted) void this.stop(`signal ${signal}`, true);
        else early ??= `signal ${signal}`;
      });
    }
    if (ControlServer.isLeft(imageDir)) {
      this.#log.warn('the daemon before ended without unmounting');
    }
    try {
      const { path } = this.#image.region as NativeRegion;
      if (!options.readOnly) await endAttached(path, loadNative(), this.#log);
      this.#control = await ControlServer.listen(imageDir, this.#calls());
      this.#transport =
        options.transport === 'kernel' ? await this.#startKernel() : await this.#startFuseNative();
    } catch (error) {
      this.#control?.close();
      this.#image.close();
      throw error;
    }
    // A trace has its commits where programs ask for them; that one may have happened anywhere else
    // is for whoever reads it to try.
    if (!options.readOnly && this.#recording === undefined) {
      this.#timer = setInterval(() => this.#tick(), options.commitSeconds * 1000);
    }
    this.#recording?.start((error) => this.#stopRecording(error));
    process.on('uncaughtException', (error) => this.#failed(error));
    process.on('unhandledRejection', (error) => this.#failed(error));
    process.on('exit', (status) => {
      if (!this.#endIsTold) this.#log.fatal({ status }, 'ending without having unmounted');
    });
    this.#log.info({ imageDir, dir, options }, 'mounted');
    isMounted = true;
    if (early !== undefined) void this.stop(early, true);
  }

  async #startKernel(): Promise<Transport> {
    const { imageDir, dir, options } = this.#job;
    const native = loadNative();
    const fd = await mountKernel(native, imageDir, dir, options);
    try {
      return this.#serve(fd);
    } catch (error) {
      native.closeDescriptor(fd);
      await unmountKernel(dir, true);
      throw error;
    }
  }

  #serve(fd: number): Transport {
    const { dir, options } = this.#job;
    const native = loadNative();
    const power: PowerSwitch = {
      crash: (keep) => this.#crash(keep),
      failed: (error) => this.#failed(error),
    };
    const dispatch = new Dispatch(this.#fs, power);
    const session = native.openSession({
      fd,
      region: this.#image.region as NativeRegion,
      request: dispatch.request,
      reply: dispatch.reply,
      handler: (opcode, name, name2) => dispatch.handle(opcode, name, name2),
      onEnd: (reason) => (reason === undefined ? this.#end() : this.#failed(new Error(reason))),
      readOnly: options.readOnly,
      // A shared mapping by the page cache beside a direct one would undo its stores.
      directMappings: this.#whyNotDax !== undefined,
      ...(this.#recording === undefined ? {} : { recorder: this.#recording.recorder }),
    });
    dispatch.attach(session);
    this.#power.attach(session);
    this.#fs.attach(session, dispatch.reply);
    if (this.#whyNotDax === undefined) {
      this.#fs.dax = new Dax(this.#fs, {
        native,
        session,
        recorder: this.#recording?.recorder,
        log: this.#log,
        power,
      });
    }
    return {
      session,
      unmount: (lazy) => unmountKernel(dir, lazy),
      close: () => session.close(),
    };
  }

  async #startFuseNative(): Promise<Transport> {
    const { imageDir, dir } = this.#job;
    const transport = await startFuseNative(this.#fs, { imageDir, dir, onEnd: () => this.#end() });
    this.#log.warn(
      { cannot: transport.cannot },
      'fuse-native transport: refuses what it cannot do',
    );
    return transport;
  }

  #tick(): void {
    try {
      this.#fs.commit('timer');
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      this.#log.warn({ error: error.message }, 'commit failed; it will be tried again');
    }
  }

  #crash(keep: unknown): ReturnType<Power['crash']> {
    checkKeep(keep);
    this.#log.info({ keep }, 'power cut');
    return this.#power.crash(keep);
  }

  #calls(): Calls {
    const fs = this.#fs;
    return {
      info: () => this.#info(),
      map: ({ ino }) => this.#map(Number(ino)),
      crash: ({ keep }) => this.#crash(keep),
      'fault-add': ({ rule }) => {
        const wish = rule as FaultRule;
        if (wish.action?.do === 'crash' && !fs.options.crashable) {
          throw new Errno('EOPNOTSUPP', 'mounted without -o crashable');
        }
        return fs.faults.add(wish);
      },
      'fault-list': () => fs.faults.list(),
      'fault-clear': ({ ruleId }) => {
        const count = fs.faults.clear(ruleId === undefined ? undefined : Number(ruleId));
        fs.dax?.scheduler.release();
        return count;
      },
      commit: () => {
        if (!fs.options.readOnly) fs.commit('fsync');
        fs.forced('syncfs', 0);
      },
      'record-end': ({ exitStatus, signal }) => this.#endWorkload(exitStatus, signal),
      'run-begin': (_, connection) => this.#beginRun(connection),
      stop: ({ lazy }) => this.stop('control', lazy === true),
    };
  }

  /** The run lasts as long as the connection. */
  #beginRun(connection: Connection): RunTicket {
    const { dax } = this.#fs;
    if (dax === undefined) throw new Errno('EOPNOTSUPP', this.#whyNotDax ?? '');
    const ticket = dax.beginRun();
    connection.onClose(() => dax.endRun());
    return ticket;
  }

  #endWorkload(exitStatus: unknown, signal: unknown): void {
    if (this.#recording === undefined) throw new Errno('EINVAL', 'the mount is not recorded');
    const status = typeof exitStatus === 'number' ? exitStatus : null;
    this.#recording.endWorkload(status, typeof signal === 'string' ? signal : null);
  }

  /** The trace cannot be written. It stays without its end, and what follows is not recorded. */
  #stopRecording(error: Errno): void {
    this.#recordingFailed = true;
    this.#log.error(`${error.message}; the recording is cut, and the mount stops`);
    void this.stop('the recording failed', true);
  }

  #map(ino: number): { size: number; extents: unknown[] } {
    const inode = this.#fs.metadata.inode(ino);
    if (inode === undefined || !isRegular(inode)) throw new Errno('EINVAL', 'not a regular file');
    const extents = this.#fs.metadata.extents(inode).slice(0, Number.MAX_SAFE_INTEGER);
    return {
      size: inode.sizeBytes,
      extents: extents.map(({ filePage, regionPage, pageCount, state }) => {
        return { filePage, regionPage, pageCount, state: state === 1 ? 'written' : 'unwritten' };
      }),
    };
  }

  #info(): ImageInfo {
    const { options, nodes, commits, faults } = this.#fs;
    const region = this.#image.region as NativeRegion;
    return {
      ...imageGeometry(this.#image),
      daemon: {
        pid: process.pid,
        dir: this.#job.dir,
        options,
        uptimeSec: Math.round((Date.now() - this.#startedMs) / 1000),
        flushInstruction: region.flushInstruction,
        nodes: nodes.count,
        undecidedLines: options.crashable ? region.undecidedLineCount() : 0,
        poisonedPages: region.poisonedPages().length,
        faultRules: faults.list().length,
        commits,
        counters: this.#transport?.session?.counters() ?? null,
        dax: this.#fs.dax?.info() ?? null,
      },
    };
  }

  /** Unmounts; the end follows from the kernel. `lazy`: open files do not hold it up. */
  async stop(why: string, lazy: boolean): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#log.info({ why }, 'unmounting');
    try {
      await this.#transport?.unmount(false);
    } catch (error) {
      this.#stopping = false;
      if (!lazy) throw error;
      this.#log.warn({ reason: (error as Error).message }, 'busy: detaching, open files are lost');
      await this.#fs.dax?.end();
      await this.#transport?.unmount(true).catch(() => undefined);
      this.#end();
    }
  }

  /** The mount is gone: everything done so far is committed, then the process ends. */
  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    const { dax } = this.#fs;
    if (dax?.isServing !== true) {
      this.#finish();
      return;
    }
    // After a forced unmount there may be processes that still map files.
    dax.end().then(
      () => this.#finish(),
      (error: unknown) => this.#failed(error),
    );
  }

  #finish(): void {
    let status = 0;
    try {
      if (!this.#job.options.readOnly) this.#fs.finish();
    } catch (error) {
      this.#log.error({ error: (error as Error).message }, 'last commit failed');
      status = 1;
    }
    this.#transport?.close();
    this.#control?.close();
    this.#image.close();
    if (this.#recording !== undefined && status === 0) status = this.#finishRecording();
    this.#log.info('unmounted');
    this.#endIsTold = true;
    process.exit(status);
  }

  /** @returns the exit status of the daemon */
  #finishRecording(): number {
    if (this.#recordingFailed) return RECORDING_FAILED_STATUS;
    try {
      this.#recording?.finish();
      return 0;
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      this.#log.error(`${error.message}; the recording is cut`);
      return RECORDING_FAILED_STATUS;
    }
  }

  /**
   * A bug. What the running transaction holds is not to be trusted: it is dropped, as in a power
   * cut, and the mount goes away rather than serve wrong answers.
   */
  #failed(error: unknown): void {
    this.#log.fatal({ err: error }, 'stopping the mount: nothing further is committed');
    this.#endIsTold = true;
    this.#fs.dax?.close();
    this.#transport?.close();
    this.#control?.close();
    const exit = (): never => process.exit(70);
    unmountKernel(this.#job.dir, true).then(exit, exit);
  }
}

async function main(): Promise<void> {
  const job = JSON.parse(process.argv[2] ?? '') as Job;
  process.title = `fauxdax ${job.imageDir} ${job.dir}`;
  process.chdir('/');
  const log = makeLog();
  let daemon: Daemon | undefined;
  let line: string;
  try {
    loadNative().sayLastWords();
    daemon = new Daemon(job, log);
    await daemon.start();
    line = JSON.stringify({ pid: process.pid });
  } catch (error) {
    const { name, message, code } = error as Error & { code?: string };
    log.error({ err: error }, 'not mounted');
    line = JSON.stringify({ error: { name, message, code } });
    process.exitCode = 1;
  }
  try {
    writeSync(READY_FD, `${line}\n`);
    closeSync(READY_FD);
  } catch {
    // Nobody was told that it stands, so nobody would unmount it.
    if (process.exitCode !== 1) void daemon?.stop('whoever started it has gone', true);
  }
  if (process.exitCode === 1) process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
