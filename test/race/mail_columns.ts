/**
 * The schedules of the mails, told in our words, and the step of the counterexample that each line is.
 * docs.test.ts looks them up in order, and prints both beside each other.
 */
export interface MailLine {
  /** Column of the mail. */
  column: number;
  text: string;
  /** Part of a step's label or notes; the next one from the last line's step on. */
  step: string;
  /** The lab's column, when it is not that of the mail's: page tables are changed beside who waits. */
  lane?: number;
}

export interface MailColumns {
  columns: readonly string[];
  /** The lab's column for each of the mail's. */
  lanes: readonly number[];
  lines: readonly MailLine[];
}

const two = (columns: readonly [string, string], lines: readonly MailLine[]): MailColumns => {
  return { columns, lanes: [0, 1], lines };
};
const at = (column: number, text: string, step: string): MailLine => ({ column, text, step });

export const MAILS: Readonly<Record<string, MailColumns>> = {
  'hole-fault-race': two(
    ['Process 1', 'Process 2'],
    [
      at(0, '`__dax_fault()`: a read of index 0', 'load a[0]'),
      at(0, '`get_block()` finds a hole', 'looks: page 0 is a hole'),
      at(1, '`__dax_fault()`: a write of index 0', 'store b[0]'),
      at(1, '`get_block()` allocates', 'is region page 1, unwritten'),
      at(1, '`dax_insert_mapping()`', 'b: PTE 0 shows region page 1'),
      at(0, '`dax_load_hole()`: corruption', 'a: PTE 0 shows zeroes'),
    ],
  ),
  'hole-fault-race-pmd': two(
    ['read fault', 'PMD fault'],
    [
      at(0, '`__dax_fault()` finds a hole', 'looks: page 0 is a hole'),
      at(1, '`__dax_pmd_fault()` allocates a PMD page', 'is region page 512-1023, unwritten'),
      at(1, 'it inserts it', 'b: PMD 0-511 shows region page 512-1023'),
      at(0, 'the hole is loaded: corruption', 'a: PTE 0 shows zeroes'),
    ],
  ),
  'fault-no-completion': {
    columns: ['write fault into an unwritten extent'],
    lanes: [0],
    lines: [
      at(0, '`get_block()`: the extent is there, and unwritten', 'is unwritten'),
      at(
        0,
        '`get_block()` to create: nothing to allocate, unwritten as before',
        'has region page 4',
      ),
      at(0, '`dax_clear_blocks()`', 'zero the new pages'),
      at(0, 'no I/O completion: the filesystem still has it as unwritten', 'allocate: convert'),
      at(0, 'writes through mmap do not work at all: the data is never seen again', 'fsync'),
    ],
  },
  'convert-before-zero': {
    columns: ['write fault into a hole'],
    lanes: [0],
    lines: [
      at(0, 'the block is allocated', 'is region page 1, written'),
      at(0, 'the transaction has hit the log', 'committed'),
      at(0, 'a crash before it is zeroed: stale data is exposed', 'has region page 1'),
    ],
  },
  'zero-error-ignored': {
    columns: ['write fault into an unwritten extent'],
    lanes: [0],
    lines: [
      at(0, '`dax_clear_blocks()`; how are its errors propagated?', 'zero the new pages'),
      at(0, '`b_end_io(&bh, 1)`: uptodate, whatever came of it', 'is region page 4, written'),
    ],
  },
  'pte-under-pmd': two(
    ['CPU 0: private write', 'CPU 1: private read'],
    [
      at(0, '`create_huge_pmd()` falls back', 'wishes a PTE'),
      at(0, '`handle_pte_fault()`: no PMD there yet', 'looks: page 0'),
      at(1, '`create_huge_pmd()`', 'wishes a PMD'),
      at(1, '`dax_iomap_pmd_fault()` inserts the PMD', 'PMD 0-511 shows'),
      at(0, '`dax_iomap_pte_fault()` where a PMD already is', 'PTE 0 shows'),
    ],
  ),
  'pmd-pte-collision': two(
    ['CPU 0: private write', 'CPU 1: private read'],
    [
      at(1, 'passes the check for `pmd_none()`', 'load a[5]'),
      at(1, '`create_huge_pmd()`', 'wishes a PMD'),
      at(0, '`create_huge_pmd()` falls back', 'wishes a PTE'),
      at(0, '`dax_iomap_pte_fault()` inserts a PTE', 'PTE 0 shows'),
      at(1, '`dax_iomap_pmd_fault()` inserts the PMD where a PTE already is', 'PMD 0-511 shows'),
    ],
  ),
  'punch-without-gate': {
    columns: ['TASK1', 'TASK2'],
    lanes: [0, 1],
    lines: [
      at(0, '`punch_hole(file, 0, 4096)`', 'punch f'),
      {
        ...at(0, '`truncate_pagecache_range()`', 'page 0 out of the page table'),
        lane: 1,
      },
      at(1, '`addr[0] = 1`: the page is faulted in, writable', 'handle_mm_fault'),
      at(0, 'the blocks are removed', 'page 0 is a hole'),
      at(1, 'what is stored and written out has no blocks under it', 'stores 1 in region page 1'),
    ],
  },
  'mkclean-one-mapping': two(
    ['Process A', 'Process B'],
    [
      at(0, '1) stores through a PMD: entry dirty, PMD writable', 'PMD 0-511 shows'),
      at(1, '2) maps 4K at offset 4K and stores: PTE writable', 'b: PTE 1 shows'),
      at(0, '3) fsync: flushes, cleans the entry, write-protects the PMD only', 'write-protected'),
      at(1, '4) stores to the PTE without a fault: the entry stays clean', 'stores 3'),
      at(1, '5) fsync flushes nothing', 'fsync f'),
      at(1, '6) crash: what 5) promised is lost', 'fence and commit'),
    ],
  ),
};
