/**
 * The directory of one run, and the frame around commands that record and explore. The frame is two
 * processes: the outer one has the directory made (scratch.ts), starts the same command again in a
 * private mount namespace (namespace.ts), and has the directory removed when that has ended, however
 * it ended; the inner one does the work. ^C and SIGTERM abort the work by a signal; a second one ends it at once.
 */
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { MountError } from '../fs/mount.js';
import { UsageError } from '../fs/options.js';
import { EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE, Failure, report } from './failure.js';
import { EXIT_ENVIRONMENT, inNamespace } from './namespace.js';
import { Scratch } from './scratch.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const RUN_DIRECTORY = 'FAUXDAX_RUN_DIRECTORY';
const FUSE_DEVICE = '/dev/fuse';

export interface Run {
  /** Absolute, without symbolic links; removed afterwards. */
  runDir: string;
  /** Aborted when the run is to end early. */
  signal: AbortSignal;
}

/**
 * Does `work` in a run directory and a mount namespace of its own. Its result, and every error, is
 * the exit status of the process: 1 only ever means that a failure was found.
 * `inMemory`: the directory is on tmpfs, as mappings of an image in it need it
 */
export async function inRunDirectory(
  work: (run: Run) => Promise<number>,
  { inMemory = false } = {},
): Promise<void> {
  const inherited = process.env[RUN_DIRECTORY];
  process.exitCode =
    inherited === undefined ? await outside(inMemory) : await inside(inherited, work);
}

async function outside(inMemory: boolean): Promise<number> {
  if (!existsSync(FUSE_DEVICE)) {
    const hint = `modprobe fuse; a container needs --device ${FUSE_DEVICE} --cap-add SYS_ADMIN`;
    throw new Failure(`${FUSE_DEVICE} is missing: ${hint}`, EXIT_ENVIRONMENT);
  }
  // From here on a signal ends the inner process, or keeps it from starting; never us alone.
  let early: NodeJS.Signals | undefined;
  const remember = (signal: NodeJS.Signals): void => {
    early ??= signal;
  };
  for (const signal of SIGNALS) process.on(signal, remember);
  const scratch = await Scratch.make(inMemory);
  if (early !== undefined) {
    await scratch.remove();
    return 128 + constants.signals[early];
  }
  process.env[RUN_DIRECTORY] = scratch.dir;
  // Commands find their way back: shells take OLDPWD from the environment.
  process.env['OLDPWD'] = process.cwd();
  try {
    const status = await inNamespace();
    if (status === undefined) throw new Failure('already in a namespace', EXIT_ENVIRONMENT);
    return status;
  } finally {
    delete process.env[RUN_DIRECTORY];
    await scratch.remove();
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
