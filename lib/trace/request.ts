/**
 * The bytes of a FUSE request behind its fuse_in_header (linux/fuse.h), as a call record keeps
 * them, and the fields of a CallEvent that they stand for. Payloads are not among them. Decoding
 * follows native/decode.cc. Encoding is for traces that TypeScript makes: what no field of the
 * event says is zero.
 */
import { OP } from '../frame.js';
import { decodeName, encodeName } from '../name_codec.js';
import type { CallEvent } from './event.js';

/** What the arguments say; the rest is in the head of a record. */
export type CallFields = Omit<
  CallEvent,
  'type' | 'callId' | 'timeNs' | 'operation' | 'pid' | 'ino'
>;

const FATTR_SIZE = 1 << 3;
const WRITE_CACHE = 1;
const SETXATTR_BYTES = 16;
const SETXATTR_COMPAT_BYTES = 8;
const U32 = 2 ** 32;

/**
 * What programs do through DAX mappings, which is no request of FUSE; native/recorder.h has the same.
 * DAX_STORE is what a barrier found changed since the last one.
 */
export const MAPPING_OP = {
  DAX_STORE: 0x10001,
  DAX_FLUSH: 0x10002,
  DAX_DRAIN: 0x10003,
  DAX_MSYNC: 0x10004,
  DAX_FAULT: 0x10005,
  DAX_FALLOCATE: 0x10006,
} as const;
export type MappingOperation = keyof typeof MAPPING_OP;

const CODES: Readonly<Record<string, number>> = { ...OP, ...MAPPING_OP };
const OPERATIONS = new Map(Object.entries(CODES).map(([name, code]) => [code, name]));

function isMappingOperation(operation: string): operation is MappingOperation {
  return Object.hasOwn(MAPPING_OP, operation);
}

/** The word for an opcode, FUSE's where it has one; undefined when it is none of those a trace may have. */
export function operationName(opcode: number): string | undefined {
  return OPERATIONS.get(opcode);
}

export function opcodeOf(operation: string): number | undefined {
  return CODES[operation];
}

/** Reads on past the end as zeroes: the kernel's requests of older protocols are shorter. */
class ArgumentReader {
  constructor(private readonly bytes: Buffer) {}

  u32(at: number): number {
    return at + 4 <= this.bytes.length ? this.bytes.readUInt32LE(at) : 0;
  }

  u64(at: number): number {
    return this.u32(at) + this.u32(at + 4) * U32;
  }

  /** The names from `at` on, each with a zero byte behind it. */
  names(at: number): { name?: string; name2?: string } {
    const first = this.bytes.indexOf(0, at);
    if (first < 0) return {};
    const name = decodeName(this.bytes.subarray(at, first));
    const second = this.bytes.indexOf(0, first + 1);
    if (second < 0) return { name };
    return { name, name2: decodeName(this.bytes.subarray(first + 1, second)) };
  }

  name(at: number): { name?: string } {
    const { name } = this.names(at);
    return name === undefined ? {} : { name };
  }

  /**
   * The kernel sends the shorter structure unless the session asked for the other. A name of an
   * attribute has two bytes at least that are not zero; behind the longer one's flags are zeroes.
   */
  setxattrBytes(): number {
    const isLong = this.bytes.length > SETXATTR_BYTES && this.bytes[9] === 0;
    return isLong ? SETXATTR_BYTES : SETXATTR_COMPAT_BYTES;
  }
}

export function decodeArguments(operation: string, bytes: Buffer): CallFields {
  const read = new ArgumentReader(bytes);
  if (isMappingOperation(operation)) {
    const [offset, lengthBytes] = [read.u64(0), read.u64(8)];
    return { offset, lengthBytes, flags: read.u32(16), thread: read.u32(20) };
  }
  switch (operation) {
    case 'SETATTR': {
      const flags = read.u32(0);
      return (flags & FATTR_SIZE) === 0 ? { flags } : { flags, lengthBytes: read.u64(16) };
    }
    case 'SYMLINK':
      return read.names(0);
    case 'UNLINK':
    case 'RMDIR':
    case 'REMOVEXATTR':
      return read.name(0);
    case 'MKNOD':
      return read.name(16);
    case 'MKDIR':
      return read.name(8);
    case 'RENAME':
      return { ino2: read.u64(0), flags: 0, ...read.names(8) };
    case 'RENAME2':
      return { ino2: read.u64(0), flags: read.u32(8), ...read.names(16) };
    case 'LINK':
      return { ino2: read.u64(0), ...read.name(8) };
    case 'CREATE':
      return { flags: read.u32(0), ...read.name(16) };
    case 'OPEN':
    case 'TMPFILE':
      return { flags: read.u32(0) };
    case 'RELEASE':
    case 'FSYNC':
    case 'FSYNCDIR':
      return { flags: read.u32(8) };
    case 'READ':
      return { offset: read.u64(8), lengthBytes: read.u32(16), flags: read.u32(32) };
    case 'WRITE': {
      const isWriteback = (read.u32(20) & WRITE_CACHE) !== 0;
      const fields = { offset: read.u64(8), lengthBytes: read.u32(16), flags: read.u32(32) };
      return isWriteback ? { ...fields, isWriteback } : fields;
    }
    case 'SETXATTR': {
      const name = read.name(read.setxattrBytes());
      return { lengthBytes: read.u32(0), flags: read.u32(4), ...name };
    }
    case 'FALLOCATE':
      return { offset: read.u64(8), lengthBytes: read.u64(16), flags: read.u32(24) };
    case 'COPY_FILE_RANGE':
    case 'COPY_FILE_RANGE_64':
      return { ino2: read.u64(16), offset: read.u64(32), lengthBytes: read.u64(40) };
    case 'IOCTL':
      return { flags: read.u32(12) };
    default:
      return {};
  }
}

/** The inverse of decodeArguments(), with a structure of `structBytes` in front of the names. */
function encode(
  structBytes: number,
  fields: [at: number, bytes: 4 | 8, value: number | undefined][],
  ...names: (string | undefined)[]
): Buffer {
  const head = Buffer.alloc(structBytes);
  for (const [at, bytes, value = 0] of fields) {
    if (bytes === 4) head.writeUInt32LE(value, at);
    else head.writeBigUInt64LE(BigInt(value), at);
  }
  const tails = names.flatMap((name = '') => [encodeName(name), Buffer.alloc(1)]);
  return Buffer.concat([head, ...tails]);
}

export function encodeArguments(call: CallEvent): Buffer {
  const { flags, offset, lengthBytes, ino2, name, name2, thread } = call;
  if (isMappingOperation(call.operation)) {
    return encode(24, [
      [0, 8, offset],
      [8, 8, lengthBytes],
      [16, 4, flags],
      [20, 4, thread],
    ]);
  }
  switch (call.operation) {
    case 'SETATTR':
      return encode(88, [
        [0, 4, flags],
        [16, 8, lengthBytes],
      ]);
    case 'SYMLINK':
      return encode(0, [], name, name2);
    case 'UNLINK':
    case 'RMDIR':
    case 'REMOVEXATTR':
      return encode(0, [], name);
    case 'MKNOD':
      return encode(16, [], name);
    case 'MKDIR':
      return encode(8, [], name);
    case 'RENAME':
      return encode(8, [[0, 8, ino2]], name, name2);
    case 'RENAME2':
      return encode(
        16,
        [
          [0, 8, ino2],
          [8, 4, flags],
        ],
        name,
        name2,
      );
    case 'LINK':
      return encode(8, [[0, 8, ino2]], name);
    case 'CREATE':
      return encode(16, [[0, 4, flags]], name);
    case 'OPEN':
      return encode(8, [[0, 4, flags]]);
    case 'TMPFILE':
      return encode(16, [[0, 4, flags]]);
    case 'RELEASE':
      return encode(24, [[8, 4, flags]]);
    case 'FSYNC':
    case 'FSYNCDIR':
      return encode(16, [[8, 4, flags]]);
    case 'READ':
      return encode(40, [
        [8, 8, offset],
        [16, 4, lengthBytes],
        [32, 4, flags],
      ]);
    case 'WRITE': {
      const writeFlags = call.isWriteback === true ? WRITE_CACHE : 0;
      return encode(40, [
        [8, 8, offset],
        [16, 4, lengthBytes],
        [20, 4, writeFlags],
        [32, 4, flags],
      ]);
    }
    case 'SETXATTR':
      return encode(
        SETXATTR_BYTES,
        [
          [0, 4, lengthBytes],
          [4, 4, flags],
        ],
        name,
      );
    case 'FALLOCATE':
      return encode(32, [
        [8, 8, offset],
        [16, 8, lengthBytes],
        [24, 4, flags],
      ]);
    case 'COPY_FILE_RANGE':
    case 'COPY_FILE_RANGE_64':
      return encode(56, [
        [16, 8, ino2],
        [32, 8, offset],
        [40, 8, lengthBytes],
      ]);
    case 'IOCTL':
      return encode(32, [[12, 4, flags]]);
    default:
      return Buffer.alloc(0);
  }
}
