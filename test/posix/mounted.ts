/**
 * A place to test POSIX behaviour in: a directory on a fauxdax mount, one mount a test file, made
 * through the command line, and processes (sys.c) that make system calls in it, one per line. The
 * test process is only ever a client of the mount.
 *
 * With FAUXDAX_TEST_DIR set, the place is a new directory there instead, on whatever filesystem
 * that is: on ext4 this is how the tests themselves are tested. What needs a mount of its own is
 * skipped.
 */
import {
  type ChildProcessWithoutNullStreams,
  execFileSync,
  spawn,
  spawnSync,
} from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import tap, { type Test } from 'tap';

const root = join(import.meta.dirname, '..', '..');
const program = join(root, 'dist', 'tools', 'fauxdax.js');
const stepMsMax = 60_000;

/** Set when the tests run on a directory instead of a mount. */
export const plainDir = process.env['FAUXDAX_TEST_DIR'];

/** For t.test options: skips what only a mount of its own can show. */
export const needsMount = {
  skip: plainDir === undefined ? false : 'needs a fauxdax mount of its own',
};

/** A call and what it has to answer. */
export type Row = [call: string, answer: string | RegExp];

/** Where a test works. */
export interface Place {
  /** The directory to work in. */
  dir: string;
  /** The image behind the mount; not there on a plain directory. */
  image: string | undefined;
}

/** Compiles sys.c when its sources are newer than its program. */
function sysProgram(): string {
  const source = join(import.meta.dirname, 'sys.c');
  const flags = join(import.meta.dirname, 'sys_flags.h');
  const out = join(root, 'build', 'test');
  const binary = join(out, 'sys');
  const newest = Math.max(statSync(source).mtimeMs, statSync(flags).mtimeMs);
  if (existsSync(binary) && statSync(binary).mtimeMs > newest) return binary;
  mkdirSync(out, { recursive: true });
  const made = `${binary}.${process.pid}`;
  const options = ['-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-o', made, source];
  execFileSync('gcc', options, { stdio: 'inherit' });
  renameSync(made, binary);
  return binary;
}

/** Runs the command line; returns its exit status and what it said. */
export function fauxdax(...args: string[]): { status: number | null; text: string } {
  const how = { encoding: 'utf8', timeout: stepMsMax, killSignal: 'SIGKILL' } as const;
  const done = spawnSync(process.execPath, [program, ...args], how);
  return { status: done.status, text: done.stdout + done.stderr };
}

function must(...args: string[]): string {
  const done = fauxdax(...args);
  if (done.status !== 0) throw new Error(`fauxdax ${args.join(' ')}: ${done.status}: ${done.text}`);
  return done.text;
}

/** Mounts `image` on `dir` for the rest of the test, or until unmounted by it. */
export function mountImage(
  t: Pick<Test, 'teardown'>,
  image: string,
  dir: string,
  options: string,
): void {
  must('mount', image, dir, '-o', options);
  const info = JSON.parse(must('info', dir, '--json')) as { daemon: { pid: number } };
  t.teardown(() => {
    if (fauxdax('umount', dir).status === 0 || !existsSync(`/proc/${info.daemon.pid}`)) return;
    // Hung: end the daemon first, or the next umount waits for it.
    process.kill(info.daemon.pid, 'SIGKILL');
    spawnSync('umount', ['-l', dir]);
  });
}

/** Unmounts; throws when that fails. */
export function unmount(dir: string): void {
  must('umount', dir);
}

function makeBase(t: Pick<Test, 'teardown'>): Place {
  const base = mkdtempSync(join(plainDir ?? tmpdir(), 'fauxdax-posix-'));
  chmodSync(base, 0o755);
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  const dir = join(base, 'dir');
  mkdirSync(dir, { mode: 0o755 });
  return { dir, image: plainDir === undefined ? join(base, 'image') : undefined };
}

let shared: Place | undefined;
let placeCount = 0;

/** A directory on the mount that the tests of one file share; other users may enter it. */
export function makePlace(_t: Test): Place {
  if (shared === undefined) {
    shared = makeBase(tap);
    if (shared.image !== undefined) {
      must('mkfs', shared.image, '--size', '64M');
      mountImage(tap, shared.image, shared.dir, 'allow_other');
    }
  }
  const dir = join(shared.dir, `place-${placeCount++}`);
  mkdirSync(dir, { mode: 0o755 });
  return { dir, image: shared.image };
}

/** A fresh mount of the test's own; needs `needsMount`. */
export function makeMount(
  t: Test,
  size = '64M',
  options = 'allow_other',
): Place & { image: string } {
  const place = makeBase(t);
  const image = String(place.image);
  must('mkfs', image, '--size', size);
  mountImage(t, image, place.dir, options);
  return { dir: place.dir, image };
}

/** Makes the calls in one process in `dir`; answers in order. */
export function calls(dir: string, lines: string[]): string[] {
  const how = { input: lines.join('\n'), encoding: 'latin1', timeout: stepMsMax } as const;
  const done = spawnSync(sysProgram(), [dir], { ...how, maxBuffer: 1 << 26 });
  const answers = done.stdout.split('\n').slice(0, -1);
  if (done.status !== 0 || answers.length !== lines.length) {
    const at = lines[answers.length] ?? 'the end';
    throw new Error(`sys stopped at "${at}": ${done.signal ?? done.status} ${done.stderr}`);
  }
  return answers;
}

/** Makes the calls of a table in one process and checks each answer. */
export function checkTable(t: Test, dir: string, rows: Row[]): void {
  const answers = calls(
    dir,
    rows.map(([call]) => call),
  );
  for (const [index, [call, expected]] of rows.entries()) {
    if (typeof expected === 'string') t.equal(answers[index], expected, call);
    else t.match(answers[index], expected, call);
  }
}

/** One process that stays, for what happens between processes. */
export class Session {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  constructor(t: Test, dir: string) {
    this.#child = spawn(sysProgram(), [dir]);
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
    t.teardown(() => this.end());
  }

  /** Sends a call without waiting for its answer. */
  send(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** The next answer. */
  async answer(): Promise<string> {
    const next = await this.#answers.next();
    if (next.done === true) throw new Error('sys has ended');
    return next.value;
  }

  async call(line: string): Promise<string> {
    this.send(line);
    return await this.answer();
  }

  /** Ends the process as a crash of it would: nothing of it runs any more. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((done) => this.#child.once('exit', done));
    this.#child.kill('SIGKILL');
    await gone;
  }
}
