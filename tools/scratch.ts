/**
 * The directory in which a run keeps what is gone afterwards, and directories that it had to make
 * elsewhere. A small process of the shell makes it, holds the other end of a pipe to us, and removes
 * all of it when that closes: because we said so, or because we are no more, kill -9 included. It is
 * of a session of its own, so that what a terminal or a shell sends to our group spares it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { TMPFS_MAGIC } from '../fs/dax/ability.js';
import { Failure } from './failure.js';
import { EXIT_ENVIRONMENT } from './namespace.js';

/** Directories outside the run's own that it made, innermost first, each ended by a zero byte. */
const MADE_NAME = 'made';

/** Where a tmpfs is on every Linux. */
const MEMORY_DIR = '/dev/shm';

/**
 * A daemon that was killed lets go of its files a moment later: removing is tried for a second. A
 * directory made elsewhere that is not empty is somebody else's by then, and stays.
 */
const KEEPER = `
dir=$(mktemp -d "$1/fauxdax-XXXXXX") || exit
echo "$dir"
exec >&-
cat >/dev/null
[ ! -e "$dir/${MADE_NAME}" ] || xargs -0 rmdir -- <"$dir/${MADE_NAME}" 2>/dev/null
tries=1
until rm -rf -- "$dir" 2>/dev/null; do
  [ $tries -lt 50 ] || exec rm -rf -- "$dir"
  tries=$((tries + 1))
  sleep 0.02
done`;

export class Scratch {
  private constructor(
    /** Absolute, without symbolic links. */
    readonly dir: string,
    private readonly keeper: Keeper,
  ) {}

  /**
   * @param inMemory on tmpfs, wherever TMPDIR is
   * @throws {Failure} there is no place for it
   */
  static async make(inMemory: boolean): Promise<Scratch> {
    const parent = inMemory && !isMemory(tmpdir()) ? MEMORY_DIR : tmpdir();
    if (!existsSync(parent)) {
      throw new Failure(`${parent}: no such directory: set TMPDIR`, EXIT_ENVIRONMENT);
    }
    const keeper = new Keeper(realpathSync(parent));
    const dir = await keeper.printed;
    if (dir !== '') return new Scratch(dir, keeper);
    const { said } = await keeper.ended;
    throw new Failure(`no directory can be made in ${parent}: ${said}`, EXIT_ENVIRONMENT);
  }

  /** Resolves when all of it is gone; says on stderr what is not. */
  async remove(): Promise<void> {
    this.keeper.release();
    const { status, said } = await this.keeper.ended;
    if (status !== 0) process.stderr.write(`fauxdax: left behind ${this.dir}: ${said}\n`);
  }
}

function isMemory(dir: string): boolean {
  return existsSync(dir) && statfsSync(dir).type === TMPFS_MAGIC;
}

class Keeper {
  /** The directory; empty when none was made. */
  readonly printed: Promise<string>;
  readonly ended: Promise<{ status: number | null; said: string }>;
  private readonly child: ChildProcess;

  constructor(parent: string) {
    const stdio = ['pipe', 'pipe', 'pipe'] as const;
    const child = spawn('/bin/sh', ['-c', KEEPER, 'sh', parent], {
      stdio: [...stdio],
      detached: true,
    });
    this.child = child;
    this.printed = textOf(child.stdout);
    const said = textOf(child.stderr);
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status) => void said.then((text) => resolve({ status, said: text })));
    });
  }

  release(): void {
    this.child.stdin?.end();
  }
}

/** All that comes, without the newline at its end. */
async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const part of stream) text += String(part);
  return text.replace(/\n$/, '');
}

/**
 * Makes a directory that the run needs outside its own, so that it goes with the run. Once a run.
 * @throws {Failure} it cannot be made
 */
export function makeOutside(runDir: string, dir: string): void {
  const missing: string[] = [];
  for (let path = dir; !existsSync(path); path = dirname(path)) missing.push(path);
  // Known to whoever removes them before they are there.
  writeFileSync(join(runDir, MADE_NAME), missing.map((path) => `${path}\0`).join(''));
  try {
    mkdirSync(dir, { recursive: true });
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code;
    const what = `the workload's directory cannot be made here (${reason})`;
    throw new Failure(`${dir}: ${what}`, EXIT_ENVIRONMENT);
  }
}
