/**
 * The file that a command stands for, as execvp(3) finds it, and whether a preloaded library reaches
 * the program in it: the dynamic loader of the C library that the preload was built for has to run
 * it. ELF-64: elf(5).
 */
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { basename, resolve } from 'node:path';
import { loadNative } from '../lib/native.js';
import { Failure } from './failure.js';

/** Exit statuses of env(1) and of shells. */
const EXIT_NOT_EXECUTABLE = 126;
const EXIT_NOT_FOUND = 127;

const SCRIPT_DEPTH_MAX = 4;
const HEAD_BYTES = 4096;
const LOADER = 'ld-linux-x86-64.so.2';

const EM_X86_64 = 62;
const PT_INTERP = 3;
const SH_ENTRY_BYTES = 64;
const SECTIONS_MAX = 4096;
const NAMES_BYTES_MAX = 1 << 20;

/**
 * The file of a command: by its path when it has a slash, otherwise through PATH.
 * @throws {Failure} 127 not there, 126 may not be executed
 */
export function findExecutable(what: string, command: string): string {
  const folders = command.includes('/') ? [''] : (process.env['PATH'] ?? '').split(':');
  let reason = '';
  for (const folder of folders) {
    const path = command.includes('/') ? command : resolve(folder, command);
    const kind = kindOf(path);
    if (kind?.isFile() !== true) {
      if (kind !== undefined && path === command)
        reason = 'not a program but a directory or device';
      continue;
    }
    reason = 'it may not be executed: chmod +x it, or start it by its interpreter';
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // As execvp(3): one further on may do.
    }
  }
  if (reason !== '') throw new Failure(`${what}: ${command}: ${reason}`, EXIT_NOT_EXECUTABLE);
  throw new Failure(`${what}: ${command}: no such command`, EXIT_NOT_FOUND);
}

/** Undefined for what is not there, or in a folder that may not be searched. */
function kindOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/**
 * Why a preloaded library does not get into the program; undefined when it does. A script is as its
 * interpreter.
 * @throws {Failure} the interpreter is not there
 */
export function whyNotPreloaded(what: string, path: string, depth = 0): string | undefined {
  const fd = openSync(path, 'r');
  try {
    const head = readAt(fd, 0, HEAD_BYTES);
    if (head.subarray(0, 2).toString('latin1') === '#!') {
      const line = head.subarray(2).toString('latin1').split('\n', 1)[0] ?? '';
      if (depth >= SCRIPT_DEPTH_MAX) return `${path} has an interpreter of an interpreter`;
      for (const interpreter of interpretersOf(line)) {
        const why = whyNotPreloaded(what, findExecutable(what, interpreter), depth + 1);
        if (why !== undefined) return why;
      }
      return undefined;
    }
    const privilege = privilegeOf(path);
    if (privilege !== undefined) {
      return `${path} ${privilege}, for which the loader ignores preloads: run a copy made by cp`;
    }
    // What has no format that the kernel knows is a shell script to execvp(3).
    if (head.subarray(0, 4).toString('latin1') !== '\x7fELF') return undefined;
    return whyNotElf(path, fd, head);
  } finally {
    closeSync(fd);
  }
}

/** What the file gives a process besides what its caller may do. */
function privilegeOf(path: string): string | undefined {
  if ((statSync(path).mode & 0o6000) !== 0) return 'is set-user-ID or set-group-ID';
  return loadNative().hasFileCapabilities(path) ? 'has file capabilities' : undefined;
}

/** Of the first line of a script, after `#!`; two when env(1) finds the second. */
function interpretersOf(line: string): string[] {
  const [interpreter = '', ...words] = line.trim().split(/[ \t]+/);
  if (basename(interpreter) !== 'env') return [interpreter];
  // Behind another option or an assignment the program is not looked for.
  const [first = ''] = words[0] === '-S' ? words.slice(1) : words;
  const found = first.startsWith('-S') ? first.slice(2) : first;
  return found === '' || /^-|=/.test(found) ? [interpreter] : [interpreter, found];
}

function whyNotElf(path: string, fd: number, head: Buffer): string | undefined {
  const isOurs = head[4] === 2 && head[5] === 1 && head.readUInt16LE(18) === EM_X86_64;
  if (!isOurs) return `${path} is not a program for 64-bit x86`;
  if (sectionNames(fd, head).includes('.go.buildinfo')) {
    return `${path} is a Go program, which makes system calls without the C library`;
  }
  const start = Number(head.readBigUInt64LE(32));
  const size = head.readUInt16LE(54);
  const headers = readAt(fd, start, size * head.readUInt16LE(56));
  for (let at = 0; at + size <= headers.length && size >= 56; at += size) {
    if (headers.readUInt32LE(at) !== PT_INTERP) continue;
    const offset = Number(headers.readBigUInt64LE(at + 8));
    const loader = readAt(fd, offset, HEAD_BYTES).toString('latin1').split('\0', 1)[0] ?? '';
    if (basename(loader) === LOADER) return undefined;
    return `${path} is run by ${loader}, not by the loader of the GNU C library`;
  }
  return `${path} is statically linked: no library can be loaded into it`;
}

function sectionNames(fd: number, head: Buffer): string[] {
  const start = Number(head.readBigUInt64LE(40));
  const [size, count, namesIndex] = [58, 60, 62].map((at) => head.readUInt16LE(at));
  if (size !== SH_ENTRY_BYTES || !count || count > SECTIONS_MAX || namesIndex === undefined) {
    return [];
  }
  const table = readAt(fd, start, size * count);
  const at = namesIndex * size;
  if (at + size > table.length) return [];
  const offset = Number(table.readBigUInt64LE(at + 24));
  const length = Math.min(Number(table.readBigUInt64LE(at + 32)), NAMES_BYTES_MAX);
  return readAt(fd, offset, length).toString('latin1').split('\0');
}

/** As much as there is. */
function readAt(fd: number, offset: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  return bytes.subarray(0, readSync(fd, bytes, 0, lengthBytes, offset));
}
