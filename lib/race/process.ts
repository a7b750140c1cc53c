/** A simulated process: its mappings' page tables, its CPUs, its queue of commands. */
import type { Mapping } from '../dax/mmu.js';
import type { Command } from './command.js';
import { processBit } from './footprint.js';
import type { PageTable } from './page_table.js';
import type { Tlb } from './tlb.js';

export class Process {
  readonly tables = new Map<Mapping, PageTable>();
  readonly tlbs = new Map<number, Tlb>();
  queue: Command[] = [];

  constructor(
    readonly index: number,
    readonly name: string,
  ) {}

  get bit(): number {
    return processBit(this.index);
  }
}
