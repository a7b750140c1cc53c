/**
 * The directory of one run, and the frame around commands that record and explore. The frame is two
 * processes: the outer one makes the directory, starts the same command again in a private mount
 * namespace (namespace.ts), and removes the directory when that has ended, however it ended; the
 * inner one does the work. ^C and SIGTERM abort the work by a signal; a second one ends it at once.
 */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
} from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MountError } from '../fs/mount.js';
import { UsageError } from '../fs/options.js';
import { EXIT_FAILURE, EXIT_USAGE, Failure, report } from './failure.js';
import { EXIT_ENVIRONMENT, inNamespace } from './namespace.js';

export const EXIT_INTERRUPTED = 130; // 128 + SIGINT, as a shell says it

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const RUN_DIRECTORY = 'FAUXDAX_RUN_DIRECTORY';
const FUSE_DEVICE = '/dev/fuse';
/** Directories outside the run's own that it made, innermost last. */
const MADE_NAME = 'made';
/** A daemon that was killed lets go of its files a moment later. */
const REMOVE_TRIES = 50;
const REMOVE_WAIT_MS = 20;

export interface Run {
  /** Absolute, without symbolic links; removed afterwards. */
  runDir: string;
  /** Aborted when the run is to end early. */
  signal: AbortSignal;
}

/**
 * Does `work` in a run directory and a mount namespace of its own. Its result, and every error, is
 * the exit status of the process: 1 only ever means that a failure was found.
 */
export async function inRunDirectory(work: (run: Run) => Promise<number>): Promise<void> {
  const inherited = process.env[RUN_DIRECTORY];
  process.exitCode = inherited === undefined ? await outside() : await inside(inherited, work);
}

async function outside(): Promise<number> {
  if (!existsSync(FUSE_DEVICE)) {
    const hint = `modprobe fuse; a container needs --device ${FUSE_DEVICE} --cap-add SYS_ADMIN`;
    throw new Failure(`${FUSE_DEVICE} is missing: ${hint}`, EXIT_ENVIRONMENT);
  }
  // From here on a signal ends the inner process, or keeps it from starting; never us alone.
  for (const signal of SIGNALS) process.on(signal, () => undefined);
  const runDir = mkdtempSync(join(realpathSync(tmpdir()), 'fauxdax-'));
  process.env[RUN_DIRECTORY] = runDir;
  // Commands find their way back: shells take OLDPWD from the environment.
  process.env['OLDPWD'] = process.cwd();
  try {
    const status = await inNamespace();
    if (status === undefined) throw new Failure('already in a namespace', EXIT_ENVIRONMENT);
    return status;
  } finally {
    delete process.env[RUN_DIRECTORY];
    await removeRun(runDir);
  }
}

async function inside(runDir: string, work: (run: Run) => Promise<number>): Promise<number> {
  await inNamespace();
  delete process.env[RUN_DIRECTORY];
  const controller = new AbortController();
  const interrupted = (): void => {
    if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, interrupted);
  let status: number;
  try {
    status = await work({ runDir, signal: controller.signal });
  } catch (error) {
    status = controller.signal.aborted ? EXIT_INTERRUPTED : statusOf(error);
  }
  // What still holds the event loop open must not hold up whoever waits for us.
  process.stdout.write('', () =>
    process.exit(controller.signal.aborted ? EXIT_INTERRUPTED : status),
  );
  return status;
}

/** Says what failed. A bug, too, is no failure of the program under test. */
function statusOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof Failure) return report(error);
  if (error instanceof MountError) return report(new Failure(error.message, EXIT_ENVIRONMENT));
  const status = report(error);
  return status === EXIT_FAILURE ? EXIT_ENVIRONMENT : Math.max(status, EXIT_USAGE);
}

/**
 * Makes a directory that the run needs outside its own, so that it goes with the run.
 * @throws {Failure} it cannot be made
 */
export function makeOutside(runDir: string, dir: string): void {
  const missing: string[] = [];
  for (let path = dir; !existsSync(path); path = dirname(path)) missing.unshift(path);
  for (const path of missing) {
    try {
      appendFileSync(join(runDir, MADE_NAME), `${JSON.stringify(path)}\n`);
      mkdirSync(path);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code;
      const what = `the workload's directory cannot be made here (${reason})`;
      throw new Failure(`${path}: ${what}`, EXIT_ENVIRONMENT);
    }
  }
}

async function removeRun(runDir: string): Promise<void> {
  const made = join(runDir, MADE_NAME);
  const paths = existsSync(made) ? readFileSync(made, 'utf8').split('\n') : [];
  for (const path of paths.filter((line) => line !== '').reverse()) {
    // Somebody else put something there: it is his now.
    await rmdir(JSON.parse(path) as string).catch(() => undefined);
  }
  for (let tries = 1; ; tries++) {
    try {
      await rm(runDir, { recursive: true, force: true });
      return;
    } catch (error) {
      if (tries === REMOVE_TRIES) {
        const reason = (error as Error).message;
        process.stderr.write(`fauxdax: left behind ${runDir}: ${reason}\n`);
        return;
      }
      await sleep(REMOVE_WAIT_MS);
    }
  }
}
