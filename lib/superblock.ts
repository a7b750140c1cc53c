/**
 * The superblock: the first bytes of region page 0, little-endian, the only bytes of the region
 * that describe it. SPEC.md, Superblock. Pure encoding: who writes it when is image.ts's business.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import { PAGE_BYTES } from './units.js';

export const SUPERBLOCK_BYTES = 64;
const SUPERBLOCK_VERSION = 1;
const MAGIC = Buffer.from('FAUXDAX\0', 'latin1');

const AT = {
  magic: 0,
  version: 8,
  flags: 12,
  uuid: 16,
  pageCount: 32,
  state: 40,
  crc: 60,
} as const;

export const CLEAN = 0;
export const MOUNTED = 1;
export type SuperblockState = typeof CLEAN | typeof MOUNTED;

export interface Superblock {
  /** Canonical form, lower case. */
  uuid: string;
  /** Pages of the region, this one among them. */
  pageCount: number;
  /** MOUNTED after the process that served the image died without closing it. */
  state: SuperblockState;
}

/** The whole of page 0. */
export function encodeSuperblock(superblock: Superblock): Buffer {
  const bytes = Buffer.alloc(PAGE_BYTES);
  MAGIC.copy(bytes, AT.magic);
  bytes.writeUInt32LE(SUPERBLOCK_VERSION, AT.version);
  bytes.writeUInt32LE(0, AT.flags);
  const uuid = Buffer.from(superblock.uuid.replaceAll('-', ''), 'hex');
  assert(uuid.length === 16, `not a uuid: ${superblock.uuid}`);
  uuid.copy(bytes, AT.uuid);
  bytes.writeBigUInt64LE(BigInt(superblock.pageCount), AT.pageCount);
  bytes.writeUInt32LE(superblock.state, AT.state);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, AT.crc)), AT.crc);
  return bytes;
}

/**
 * Reads a superblock; a string says in a few words why the bytes are none.
 * @param bytes at least SUPERBLOCK_BYTES, else they are none
 */
export function decodeSuperblock(bytes: Buffer): Superblock | string {
  if (bytes.length < SUPERBLOCK_BYTES) return 'it is too short';
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return 'it does not start with FAUXDAX';
  if (bytes.readUInt32LE(AT.crc) !== crc32(bytes.subarray(0, AT.crc))) return 'checksum mismatch';
  const version = bytes.readUInt32LE(AT.version);
  if (version !== SUPERBLOCK_VERSION) {
    return `its version is ${version}, this program knows version ${SUPERBLOCK_VERSION}`;
  }
  const flags = bytes.readUInt32LE(AT.flags);
  if (flags !== 0) return `it needs unknown features (flags ${flags})`;
  const state = bytes.readUInt32LE(AT.state);
  if (state !== CLEAN && state !== MOUNTED) return `its state is ${state}`;
  const uuid = bytes.toString('hex', AT.uuid, AT.uuid + 16);
  const pageCount = Number(bytes.readBigUInt64LE(AT.pageCount));
  return { uuid: uuid.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'), pageCount, state };
}
