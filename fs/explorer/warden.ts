/**
 * The client of native/warden.c: runs shell commands in mount and pid namespaces of their own, a
 * directory bound over the path they work in, and leaves no process and no mount of them. The
 * process that starts a warden must hold CAP_SYS_ADMIN in a private mount namespace, which
 * tools/namespace.ts arranges. A warden dies with the process that started it.
 *
 * One command at a time; whoever wants several at once starts several wardens.
 */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { builtFolder } from '../../lib/native.js';

/** Sizes and numbers of native/warden.c. */
const RUN = 1;
const STOP = 2;
const REQUEST_HEADER_BYTES = 16;
const REQUEST_BYTES_MAX = 1 << 20;
const ENVIRONMENT_MAX = 1024;
const ANSWER_HEADER_BYTES = 32;
const TIMED_OUT = 1;
const STOPPED = 2;
const NOT_STARTED = 4;

interface WardenRequest {
  /** A line for /bin/sh. */
  command: string;
  /** Absolute; where the command runs. It exists. */
  dir: string;
  /** Absolute; bound over `dir`, for the command alone. */
  bind?: string;
  /** Absolute; a mount that is taken away, for the command alone. */
  hide?: string;
  /** Beside those of this process. */
  environment?: Record<string, string>;
  /** Files or FIFOs that the output is appended to; without: it is kept, 64 KiB each at most. */
  stdoutPath?: string;
  stderrPath?: string;
  /** Then all of it is killed. */
  timeoutMs?: number;
}

export interface WardenOutcome {
  exitStatus: number | null;
  /** SIGKILL also for a command that was stopped or whose time was up. */
  signal: string | null;
  timedOut: boolean;
  stopped: boolean;
  stdout: Buffer;
  stderr: Buffer;
  durationMs: number;
}

/** The command was not started, or the warden is gone: nothing that the command did. */
export class WardenError extends Error {
  override readonly name = 'WardenError';
}

interface Waiting {
  resolve(outcome: WardenOutcome): void;
  reject(error: Error): void;
}

export class Warden {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;
  #waiting: Waiting | undefined;
  #isOpen = true;
  #received: Buffer = Buffer.alloc(0);

  constructor() {
    this.#child = spawn(join(builtFolder(), 'warden'), [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout.on('data', (bytes: Buffer) => this.#take(bytes));
    // Said by 'exit' too; without a listener it would be thrown.
    this.#child.stdin.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      const ended = (how: string): void => {
        this.#isOpen = false;
        this.#finish()?.reject(new WardenError(`the warden ended: ${how}`));
        resolve();
      };
      this.#child.once('error', (error) => ended(error.message));
      this.#child.once('close', (status, signal) => ended(signal ?? `exit status ${status}`));
    });
  }

  /** The warden's process. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /**
   * Resolves when the command and all it started are gone.
   * @throws {WardenError} it could not be started
   */
  run(request: WardenRequest): Promise<WardenOutcome> {
    assert(this.#waiting === undefined, 'a warden runs one command at a time');
    if (!this.#isOpen) return Promise.reject(new WardenError('the warden has ended'));
    const message = encodeRequest(request);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#child.stdin.write(message);
    });
  }

  /** Kills the command that runs, if one does; its run() resolves as `stopped`. */
  stop(): void {
    if (this.#waiting === undefined || !this.#isOpen) return;
    const header = Buffer.alloc(REQUEST_HEADER_BYTES);
    header.writeUInt32LE(STOP, 0);
    this.#child.stdin.write(header);
  }

  /** Kills what runs; resolves when the warden is gone. May be called twice. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  #take(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    if (this.#received.length < ANSWER_HEADER_BYTES) return;
    const stdoutBytes = this.#received.readUInt32LE(12);
    const stderrBytes = this.#received.readUInt32LE(16);
    const end = ANSWER_HEADER_BYTES + stdoutBytes + stderrBytes;
    if (this.#received.length < end) return;
    const answer = this.#received.subarray(0, end);
    this.#received = this.#received.subarray(end);
    const waiting = this.#finish();
    assert(waiting !== undefined, 'the warden answers what it was asked');
    settle(answer, stdoutBytes, waiting);
  }

  #finish(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}

function encodeRequest(request: WardenRequest): Buffer {
  const {
    command,
    dir,
    bind = '',
    hide = '',
    stdoutPath = '',
    stderrPath = '',
    timeoutMs = 0,
  } = request;
  const environment = Object.entries(request.environment ?? {});
  assert(environment.length <= ENVIRONMENT_MAX);
  const pairs = environment.map(([name, value]) => `${name}=${value}`);
  const fields = [bind, dir, hide, stdoutPath, stderrPath, command, ...pairs];
  if (fields.some((field) => field.includes('\0'))) throw new WardenError('a command has no NUL');
  const bytes = Buffer.from(`${fields.join('\0')}\0`);
  if (bytes.length > REQUEST_BYTES_MAX) throw new WardenError('the command is too long');
  const header = Buffer.alloc(REQUEST_HEADER_BYTES);
  header.writeUInt32LE(RUN, 0);
  header.writeUInt32LE(bytes.length, 4);
  header.writeUInt32LE(Math.ceil(timeoutMs), 8);
  return Buffer.concat([header, bytes]);
}

function settle(answer: Buffer, stdoutBytes: number, waiting: Waiting): void {
  const flags = answer.readUInt32LE(0);
  const exitStatus = answer.readInt32LE(4);
  const stdoutEnd = ANSWER_HEADER_BYTES + stdoutBytes;
  const stderr = answer.subarray(stdoutEnd);
  if ((flags & NOT_STARTED) !== 0) {
    const reason = `${stderr.toString()}: ${errnoName(exitStatus)}`;
    waiting.reject(new WardenError(`the command was not started: ${reason}`));
    return;
  }
  const signal = answer.readInt32LE(8);
  waiting.resolve({
    exitStatus: exitStatus < 0 ? null : exitStatus,
    signal: signal === 0 ? null : signalName(signal),
    timedOut: (flags & TIMED_OUT) !== 0,
    stopped: (flags & STOPPED) !== 0,
    stdout: answer.subarray(ANSWER_HEADER_BYTES, stdoutEnd),
    stderr,
    durationMs: Number(answer.readBigUInt64LE(24)) / 1000,
  });
}

const nameOf = (names: object, value: number): string =>
  Object.entries(names).find(([, number]) => number === value)?.[0] ?? String(value);
const signalName = (signal: number): string => nameOf(constants.signals, signal);
const errnoName = (errno: number): string => nameOf(constants.errno, errno);
