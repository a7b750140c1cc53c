/**
 * Child processes of the benchmark, and undoing what it did.
 *
 * The runner never touches a mount itself: a file system that hangs would take the runner with it.
 * Every child has a time limit in milliseconds; one that passes it is killed and given up at once,
 * because a client stuck in a request cannot die before its daemon does. What must not be left
 * behind is registered here and undone, last first, at the end, on a failure and on a signal.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { favour } from './host.js';

const outputBytesMax = 1 << 20;

/** A child that failed: what was run, how it ended, and what it said. */
export class ChildError extends Error {
  override name = 'ChildError';
}

/**
 * Runs a program to its end, in a session of its own, and returns its standard output. With `ahead`
 * it runs ahead of everything else on the machine (`favour` in host.ts).
 *
 * @throws {ChildError} when it cannot start, ends with another status than 0, or takes too long
 */
export function runChild(
  words: readonly string[],
  waitMsMax: number,
  { ahead = false } = {},
): Promise<string> {
  const [program = '', ...rest] = words;
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const pid = child.pid;
  const forget = onEnd(() => pid !== undefined && killQuietly(pid));
  if (pid !== undefined && ahead) favour(pid);
  return new Promise((resolve, reject) => {
    let output = '';
    let complaint = '';
    child.stdout.on('data', (bytes: Buffer) => {
      if (output.length < outputBytesMax) output += bytes.toString();
    });
    child.stderr.on('data', (bytes: Buffer) => {
      if (complaint.length < outputBytesMax) complaint += bytes.toString();
    });
    const fail = (how: string): void => {
      clearTimeout(timer);
      forget();
      reject(
        new ChildError(`${words.join(' ')}: ${how}${complaint ? `: ${complaint.trim()}` : ''}`),
      );
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`not done after ${waitMsMax / 1000} s`);
    }, waitMsMax);
    child.on('error', (error) => fail(error.message));
    // A daemon that the child left behind may hold its pipes open: its own end is what counts.
    child.on('exit', (code, signal) => {
      if (code !== 0) {
        setTimeout(() => fail(`ended with ${signal ?? `status ${code}`}`), 20);
        return;
      }
      clearTimeout(timer);
      forget();
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
        resolve(output);
      }, 20);
    });
  });
}

/** Starts a program that stays, in a session of its own; its complaints go to ours. */
export function startDaemon(words: readonly string[]): ChildProcess {
  const [program = '', ...rest] = words;
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  child.on('error', (error) =>
    process.stderr.write(`bench: ${words.join(' ')}: ${error.message}\n`),
  );
  return child;
}

/** Polls `holds` until it does. @throws {ChildError} naming `what` when it does not in time */
export async function waitUntil(
  what: string,
  waitMsMax: number,
  holds: () => boolean,
): Promise<void> {
  const end = performance.now() + waitMsMax;
  while (!holds()) {
    if (performance.now() > end) throw new ChildError(`${what}: not after ${waitMsMax / 1000} s`);
    await sleep(5);
  }
}

/** Whether a process exists and is not a zombie's leftover number of ours. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const undoes: (() => void)[] = [];

/**
 * Registers a step that undoes something; it must not throw and must not wait long. Returns a
 * function that takes it back, for what was undone in the ordinary way.
 */
export function onEnd(undo: () => void): () => void {
  undoes.push(undo);
  return () => {
    const index = undoes.indexOf(undo);
    if (index >= 0) undoes.splice(index, 1);
  };
}

/** Undoes everything registered, last first. */
export function undoAll(): void {
  for (let undo = undoes.pop(); undo !== undefined; undo = undoes.pop()) undo();
}

/** Kills a process that may be gone already. */
export function killQuietly(pid: number): void {
  if (isAlive(pid)) process.kill(pid, 'SIGKILL');
}
