/**
 * What a crash state did to the files, beside the state in which nothing was lost: names that are
 * missing or back again, sizes, the bytes that differ.
 */
import { isDirectory, isRegular, ROOT_INO } from '../../metadata/inode.js';
import { LINE_BYTES } from '../../units.js';
import { openState, type OpenState } from '../state/open_state.js';
import type { FileDifference } from '../result/result.js';
import type { CrashState } from '../state/state.js';

const FILES_MAX = 8;
const NAMES_MAX = 100_000;
/** Of a file; what lies behind is not compared. */
const COMPARED_BYTES_MAX = 64 * 1024 * 1024;
const SHOWN_BYTES_MAX = 256;
const LINES_MAX = 4096;
const LIST_COUNT = 1000;

/** The first files that differ, by path. */
export function differences(found: CrashState, wanted: CrashState): FileDifference[] {
  const foundOpen = openState(found);
  const wantedOpen = openState(wanted);
  try {
    const foundFiles = filesOf(foundOpen);
    const wantedFiles = filesOf(wantedOpen);
    const paths = [...new Set([...foundFiles.keys(), ...wantedFiles.keys()])].sort();
    const list: FileDifference[] = [];
    for (const path of paths) {
      const a = bytesOf(foundOpen, foundFiles.get(path));
      const b = bytesOf(wantedOpen, wantedFiles.get(path));
      const difference = compare(path, a, b);
      if (difference !== undefined) list.push(difference);
      if (list.length === FILES_MAX) break;
    }
    return list;
  } finally {
    foundOpen.close();
    wantedOpen.close();
  }
}

/** Inode numbers of everything that is no directory, by path. */
function filesOf({ image }: OpenState): Map<string, number> {
  const files = new Map<string, number>();
  const visit = (directoryIno: number, prefix: string): void => {
    for (let cookie = 0; ; ) {
      const entries = image.metadata.list(directoryIno, cookie, LIST_COUNT);
      for (const entry of entries) {
        if (files.size >= NAMES_MAX) return;
        const inode = image.metadata.inode(entry.ino);
        if (inode === undefined) continue;
        if (isDirectory(inode)) visit(entry.ino, `${prefix}${entry.name}/`);
        else files.set(`${prefix}${entry.name}`, entry.ino);
        cookie = entry.cookie;
      }
      if (entries.length < LIST_COUNT) return;
    }
  };
  visit(ROOT_INO, '');
  return files;
}

interface Content {
  sizeBytes: number;
  bytes: Buffer;
}

function bytesOf({ image }: OpenState, ino: number | undefined): Content | undefined {
  if (ino === undefined) return undefined;
  const inode = image.metadata.existingInode(ino);
  const { sizeBytes } = inode;
  if (!isRegular(inode)) return { sizeBytes, bytes: Buffer.from(inode.target ?? '') };
  const bytes = Buffer.alloc(Math.min(sizeBytes, COMPARED_BYTES_MAX));
  image.fileData.read(inode, 0, bytes);
  return { sizeBytes, bytes };
}

function compare(
  path: string,
  found: Content | undefined,
  wanted: Content | undefined,
): FileDifference | undefined {
  const a = found?.bytes ?? Buffer.alloc(0);
  const b = wanted?.bytes ?? Buffer.alloc(0);
  const isSameSize = found?.sizeBytes === wanted?.sizeBytes;
  if (isSameSize && a.equals(b)) return undefined;
  const lines: number[] = [];
  let isZero = true;
  const end = Math.max(a.length, b.length);
  for (let from = 0; from < end && lines.length < LINES_MAX; from += LINE_BYTES) {
    const piece = a.subarray(from, from + LINE_BYTES);
    if (piece.equals(b.subarray(from, from + LINE_BYTES))) continue;
    lines.push(from / LINE_BYTES);
    isZero &&= piece.every((byte) => byte === 0);
  }
  const offset = (lines[0] ?? 0) * LINE_BYTES;
  return {
    path,
    sizeWanted: wanted?.sizeBytes ?? null,
    sizeFound: found?.sizeBytes ?? null,
    offset,
    wantedHex: b.subarray(offset, offset + SHOWN_BYTES_MAX).toString('hex'),
    foundHex: a.subarray(offset, offset + SHOWN_BYTES_MAX).toString('hex'),
    lines,
    isZero,
  };
}
