/**
 * What one step read and wrote of the state that tasks share, as two sets of bits. Steps of two actors
 * whose footprints do not meet can be made in either order and lead to the same state. Objects that
 * share a bit only make steps look more dependent than they are.
 */

import type { Task } from '../dax/task.js';

/** The allocator, the journal of metadata records, and what is durable: whole, one bit each. */
export const SPACE = 1 << 0;
export const JOURNAL = 1 << 1;
export const DURABLE = 1 << 2;
/** Which threads run, wait, and in what order they began to wait. */
export const THREADS = 1 << 3;

const FILE_BITS = { first: 4, count: 4 };
const PROCESS_BITS = { first: 8, count: 6 };
const PAGE_BITS = { first: 14, count: 16 };

/** The map, the size and everything that the engine keeps of a file. */
export const fileBit = (index: number) => 1 << (FILE_BITS.first + (index % FILE_BITS.count));
/** Page table, TLBs and commands of a process. */
export const processBit = (index: number) =>
  1 << (PROCESS_BITS.first + (index % PROCESS_BITS.count));
/** Bytes of a region page. */
export const pageBit = (page: number) => 1 << (PAGE_BITS.first + (page % PAGE_BITS.count));

export class Footprint {
  reads = 0;
  writes = 0;

  clear(): void {
    this.reads = 0;
    this.writes = 0;
  }
}

export interface Touched {
  readonly reads: number;
  readonly writes: number;
}

export function areIndependent(one: Touched, other: Touched): boolean {
  return (one.writes & (other.reads | other.writes)) === 0 && (one.reads & other.writes) === 0;
}

/** A task of the engine: each of its steps may look at and change all that it keeps of the file. */
export function* onFile<T>(footprint: Footprint, ino: number, task: Task<T>): Task<T> {
  for (;;) {
    footprint.writes |= fileBit(ino);
    const { done, value } = task.next();
    if (done === true) return value;
    yield value;
  }
}
