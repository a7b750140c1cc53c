/**
 * A mount whose files can be mapped directly, for one test, and processes (mapper.c) that map them:
 * under `fauxdax run`, or without it as any other process. The test process is only a client.
 */
import {
  type ChildProcessWithoutNullStreams,
  execFileSync,
  spawn,
  spawnSync,
} from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Mount, MountOptions } from '../../fs/index.js';
import { Image, mounted, type Place } from '../fs/image.js';

const root = join(import.meta.dirname, '..', '..');
export const program = join(root, 'dist', 'tools', 'fauxdax.js');
const MEMORY = '/dev/shm';
const stepMsMax = 30_000;

export interface DaxPlace extends Place {
  mount: Mount;
}

/** An image in memory, mounted for the test. */
export async function daxMount(
  t: Test,
  options: Partial<MountOptions> & { sizeBytes?: number } = {},
): Promise<DaxPlace> {
  const { sizeBytes = 32 << 20, ...words } = options;
  const base = mkdtempSync(join(MEMORY, 'fauxdax-dax-'));
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  const place = { imageDir: join(base, 'image'), dir: join(base, 'mnt') };
  mkdirSync(place.dir);
  Image.make(place.imageDir, { sizeBytes });
  return { ...place, mount: await mounted(t, place, words) };
}

/** Why direct mappings cannot be tested here, for the options of a test; false when they can. */
export const cannotMap: string | false = probe();

function probe(): string | false {
  // The command checks the machine before it looks at the mount.
  const done = fauxdax('run', '/nowhere', '--', 'true');
  return /userfaultfd|this is Linux/.test(done.text) ? done.text.trim() : false;
}

/** Runs the command line; returns its exit status and what it said. */
export function fauxdax(...args: string[]): { status: number | null; text: string } {
  const how = { encoding: 'utf8', timeout: stepMsMax, killSignal: 'SIGKILL' } as const;
  const done = spawnSync(process.execPath, [program, ...args], how);
  return { status: done.status, text: done.stdout + done.stderr };
}

/** Compiles a C program, named from this folder, when its source is newer. @returns its path */
export function compiled(name: string, ...flags: string[]): string {
  const source = join(import.meta.dirname, `${name}.c`);
  const out = join(root, 'build', 'test');
  const binary = join(out, `${basename(name)}${flags.join('')}`);
  const builtMs = statSync(binary, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (builtMs > statSync(source).mtimeMs) return binary;
  mkdirSync(out, { recursive: true });
  const made = `${binary}.${process.pid}`;
  const options = ['-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', ...flags];
  execFileSync('gcc', [...options, '-o', made, source, '-pthread'], { stdio: 'inherit' });
  renameSync(made, binary);
  return binary;
}

/** A process of mapper.c that works in a directory. */
export class Mapper {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #exited: Promise<number | null>;
  #said = '';

  private constructor(t: Test, words: string[]) {
    const [executable = '', ...args] = words;
    this.#child = spawn(executable, args);
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.on('data', (text: Buffer) => {
      this.#said += String(text);
      t.comment(String(text));
    });
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    t.teardown(async () => {
      if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
      await this.#exited;
    });
  }

  /** Under `fauxdax run`. */
  static direct(t: Test, dir: string): Mapper {
    return new Mapper(t, [process.execPath, program, 'run', dir, '--', compiled('mapper'), dir]);
  }

  /** As any process. */
  static plain(t: Test, dir: string): Mapper {
    return new Mapper(t, [compiled('mapper'), dir]);
  }

  async call(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`no answer to: ${line}`)), stepMsMax).unref();
    });
    const next = await Promise.race([this.#answers.next(), late]);
    if (next.done === true) throw new Error(`mapper has ended: ${line}`);
    return next.value;
  }

  /** Makes the calls of a table and checks each answer. */
  async check(t: Test, rows: readonly (readonly [call: string, answer: string])[]): Promise<void> {
    for (const [line, answer] of rows) t.equal(await this.call(line), answer, line);
  }

  /** On its stderr. */
  get said(): string {
    return this.#said;
  }

  /** Ends in order; the exit status. */
  async end(): Promise<number | null> {
    this.#child.stdin.end();
    return await this.#exited;
  }
}

/** Pids of processes that run mapper.c in `dir`. */
export function mapperPids(dir: string): number[] {
  const found = spawnSync('pgrep', ['-f', '-x', `${compiled('mapper')} ${dir}`], {
    encoding: 'utf8',
  });
  return found.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

/** Stops a process. The signal takes a while to come to all of its threads; then none runs. */
export async function stop(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const tasks = `/proc/${pid}/task`;
  const isStopped = (tid: string) => /\) T/.test(readFileSync(`${tasks}/${tid}/stat`, 'utf8'));
  while (!readdirSync(tasks).every(isStopped)) await sleep(1);
}
