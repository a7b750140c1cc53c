/**
 * Records a workload: a fresh image, the setup on it, its state as the base of the trace, the
 * workload on the recorded mount, and the end of the trace. The order is what makes a trace whole:
 * everything of the workload is killed before its end is noted; what mappings left dirty is written
 * back after that, and still recorded; then comes the unmount.
 *
 * Runs in a private mount namespace (run_directory.ts). What programs print goes through FIFOs that
 * the daemon reads, so that each line is in the trace before the call that follows it.
 */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WIRE_RUN_NO_DATA, WIRE_RUN_OWN_FLUSHES } from '../fs/dax/wire.js';
import { Warden, type WardenOutcome } from '../fs/explorer/warden.js';
import { type Mount, mount } from '../fs/mount.js';
import type { MountOptions } from '../fs/options.js';
import { RECORDING_FAILED_STATUS } from '../fs/recording.js';
import { makeImage } from '../lib/image.js';
import { loadNative } from '../lib/native.js';
import { writeBase } from '../lib/trace/base.js';
import type { RecordWishes } from './crash_options.js';
import { assertKernel, beginRun, shimEnvironment, shimPath } from './direct.js';
import { EXIT_USAGE, Failure } from './failure.js';
import { EXIT_ENVIRONMENT } from './namespace.js';
import { visibleLines } from './report/visible.js';
import type { Run } from './run_directory.js';
import { version } from './version.js';

/** The line-buffering library of coreutils' stdbuf, by distribution. */
const STDBUF_LIBRARIES = [
  '/usr/libexec/coreutils/libstdbuf.so',
  '/usr/lib/coreutils/libstdbuf.so',
  '/usr/lib/x86_64-linux-gnu/coreutils/libstdbuf.so',
];
const STDERR_SHOWN_BYTES = 4096;
const LOG_SHOWN_BYTES = 1024;
/** Less than the recorder writes at once. */
const NO_SPACE_BYTES = 8 << 20;
/** How long a daemon whose client lost it may take to be gone. */
const DAEMON_END_MS = 1000;

/** A page that was another's is told by its canary. */
const OPTIONS: Partial<MountOptions> = { canary: true, dax: 'never' };

export interface Recording {
  trace: string;
  /** Of the workload's own first process. */
  exitStatus: number | null;
  signal: string | null;
  durationMs: number;
}

/**
 * @param trace path of the file to write
 * @throws {Failure} the setup or the workload failed, with what it said
 */
export async function record(wishes: RecordWishes, trace: string, run: Run): Promise<Recording> {
  const places = makePlaces(run.runDir);
  const { allocateFile, lockFile } = loadNative();
  mkdirSync(places.image);
  makeImage(places.image, { sizeBytes: wishes.sizeBytes, allocate: allocateFile, lockFile });
  const warden = new Warden();
  const stop = (): void => warden.stop();
  run.signal.addEventListener('abort', stop);
  try {
    if (wishes.setup !== null) await setUp(wishes.setup, places, warden, run);
    const outcome = await recordWorkload(wishes, trace, places, warden, run);
    assertWorked(wishes, outcome, places, run);
    const { exitStatus, signal, durationMs } = outcome;
    return { trace, exitStatus, signal, durationMs };
  } finally {
    run.signal.removeEventListener('abort', stop);
    await warden.close();
  }
}

/** What the trace says of the mount. */
export function recordedOptions({ isDax }: RecordWishes): string {
  return isDax ? 'canary,dax=always' : 'canary';
}

interface Places {
  image: string;
  dir: string;
  stdout: string;
  mark: string;
  stderr: string;
}

function makePlaces(runDir: string): Places {
  const place = (name: string): string => join(runDir, name);
  const places = {
    image: place('image'),
    dir: place('dir'),
    stdout: place('stdout'),
    mark: place('mark'),
    stderr: place('stderr'),
  };
  mkdirSync(places.dir);
  const { status, stderr } = spawnSync('mkfifo', ['-m', '600', places.stdout, places.mark], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Failure(`mkfifo: ${stderr.trim()}`, EXIT_ENVIRONMENT);
  return places;
}

async function setUp(command: string, places: Places, warden: Warden, run: Run): Promise<void> {
  const mounted = await mount(places.image, places.dir, OPTIONS, { diesWithUs: true });
  try {
    // What was aborted before it ran cannot be stopped any more.
    run.signal.throwIfAborted();
    const { dir, stderr } = places;
    const outcome = await warden.run({
      command,
      dir,
      environment: { FAUXDAX_DIR: dir },
      stderrPath: stderr,
    });
    run.signal.throwIfAborted();
    if (outcome.exitStatus !== 0) {
      throw new Failure(`the setup ${describeEnd(outcome)}`, EXIT_USAGE, saidOn(stderr));
    }
    await mounted.unmount();
  } catch (error) {
    await mounted.kill();
    throw error;
  }
}

async function recordWorkload(
  wishes: RecordWishes,
  trace: string,
  places: Places,
  warden: Warden,
  run: Run,
): Promise<WardenOutcome> {
  const { dir, stdout, stderr, mark } = places;
  const info = {
    dir,
    workload: wishes.workload,
    setup: wishes.setup,
    startedAt: new Date().toISOString(),
    fauxdaxVersion: version(),
    mountOptions: recordedOptions(wishes),
  };
  writeBase(places.image, trace, info, { lockFile: loadNative().lockFile });
  const options: Partial<MountOptions> = wishes.isDax ? { ...OPTIONS, dax: 'always' } : OPTIONS;
  const mounted = await mount(places.image, dir, options, {
    diesWithUs: true,
    record: {
      trace,
      outputs: [
        { path: stdout, stream: 'stdout' },
        { path: mark, stream: 'mark' },
      ],
    },
  });
  // The daemon ends when it cannot write the trace: what the workload does from then on is in none.
  void mounted.exited.then(() => warden.stop());
  try {
    run.signal.throwIfAborted();
    const environment = { ...lineBuffered(), FAUXDAX_DIR: dir, FAUXDAX_MARK: mark };
    if (wishes.isDax) Object.assign(environment, await underShim(mounted, wishes, environment));
    const outcome = await warden.run({
      command: wishes.workload,
      dir,
      environment,
      stdoutPath: stdout,
      stderrPath: stderr,
      ...(wishes.workloadSeconds === undefined ? {} : { timeoutMs: wishes.workloadSeconds * 1000 }),
    });
    // A dead daemon answers nothing.
    await Promise.race([finish(mounted, outcome), mounted.exited]);
    const status = await mounted.exited;
    if (status !== 0) throw recordingFailed(mounted, status);
    return outcome;
  } catch (error) {
    if (error instanceof Failure) throw error;
    const waitMs = run.signal.aborted ? 0 : DAEMON_END_MS;
    const status = await Promise.race([mounted.exited, sleep(waitMs, undefined, { ref: false })]);
    if (status !== undefined) throw recordingFailed(mounted, status);
    await mounted.kill();
    throw error;
  }
}

/** Has the workload's mappings served as those of `fauxdax run`. */
async function underShim(
  { control, dir }: Mount,
  { ignoresOwnFlushes }: RecordWishes,
  { LD_PRELOAD }: Record<string, string>,
): Promise<Record<string, string>> {
  const command = 'recording';
  assertKernel(command);
  const shim = shimPath(command);
  const ticket = await beginRun(command, control, dir);
  // Stores are found in mappings: those by read and write go to the daemon, which sees them.
  const flags = WIRE_RUN_NO_DATA | (ignoresOwnFlushes ? WIRE_RUN_OWN_FLUSHES : 0);
  const preloaded = LD_PRELOAD ?? process.env['LD_PRELOAD'];
  return shimEnvironment(ticket, { dir, shim, flags, preloaded });
}

/** The end in its order; the trace is whole when the daemon has ended. */
async function finish(mounted: Mount, { exitStatus, signal }: WardenOutcome): Promise<void> {
  await mounted.control.recordEnd(exitStatus, signal);
  await new Promise<void>((resolve, reject) => {
    execFile('sync', ['-f', mounted.dir], (error) => (error === null ? resolve() : reject(error)));
  });
  await mounted.unmount();
}

function recordingFailed(mounted: Mount, status: number): Failure {
  const place = dirname(mounted.imageDir);
  const { bavail, bsize } = statfsSync(place);
  if (bavail * bsize < NO_SPACE_BYTES) {
    const what = `no space left in ${dirname(place)} for the trace; TMPDIR says where it goes`;
    return new Failure(`recording: ${what}`, EXIT_ENVIRONMENT);
  }
  const what =
    status === RECORDING_FAILED_STATUS ? 'the trace could not be written' : 'the daemon failed';
  const log = readFileSync(join(mounted.imageDir, 'daemon.log')).subarray(-LOG_SHOWN_BYTES);
  return new Failure(`recording: ${what}`, EXIT_ENVIRONMENT, visibleLines(log.toString()).trim());
}

function assertWorked(
  wishes: RecordWishes,
  outcome: WardenOutcome,
  { stderr }: Places,
  run: Run,
): void {
  run.signal.throwIfAborted();
  if (outcome.exitStatus === 0) return;
  if (outcome.timedOut && wishes.workloadSeconds !== undefined) return;
  throw new Failure(`the workload ${describeEnd(outcome)}`, EXIT_USAGE, saidOn(stderr));
}

function describeEnd({ exitStatus, signal }: WardenOutcome): string {
  return signal === null ? `ended with status ${exitStatus}` : `was ended by ${signal}`;
}

/** The end of what a command said, where programs say what is wrong. */
function saidOn(stderrPath: string): string {
  if (!existsSync(stderrPath)) return '';
  const text = readFileSync(stderrPath).subarray(-STDERR_SHOWN_BYTES).toString().trim();
  return text === '' ? 'It said nothing on stderr.' : visibleLines(text);
}

/**
 * What makes programs print a line when they have it, and not when they end: an acknowledgement
 * counts from when it can be read. Node writes to FIFOs at once.
 */
function lineBuffered(): Record<string, string> {
  const library = STDBUF_LIBRARIES.find(existsSync);
  if (library === undefined) return { PYTHONUNBUFFERED: '1' };
  const earlier = process.env['LD_PRELOAD'];
  const preload = earlier === undefined ? library : `${earlier}:${library}`;
  return { PYTHONUNBUFFERED: '1', LD_PRELOAD: preload, _STDBUF_O: 'L' };
}
