/** What the engine tells a simulated process to show, on its way; see mmu.ts. */
import type { Backing, Mapping, PageRange } from '../dax/mmu.js';
import { Signal } from '../dax/signal.js';

/** Ready when it is carried out. */
export class Command extends Signal {
  /** CPUs that have still to drop the pages from their TLBs; undefined before the page table is changed. */
  shootdowns: number[] | undefined;

  /** @param isOfServer the fault server's own, of which the engine does not know */
  constructor(
    readonly mapping: Mapping,
    readonly does:
      | { readonly kind: 'install'; readonly backing: Backing; readonly isStorable: boolean }
      | { readonly kind: 'zap'; readonly range: PageRange; readonly dropOwn: boolean },
    readonly isOfServer = false,
  ) {
    super();
  }

  get text(): string {
    const { id } = this.mapping;
    if (this.does.kind === 'zap') {
      const { range, dropOwn } = this.does;
      return `zap ${id} ${range.filePage}+${range.pageCount}${dropOwn ? ' own' : ''} ${this.shootdowns?.join() ?? ''}`;
    }
    const { backing, isStorable } = this.does;
    const { filePage, pageCount, regionPage, isHuge } = backing;
    const who = this.isOfServer ? 'server ' : '';
    return `${who}install ${id} ${filePage}+${pageCount}=${regionPage}${isStorable ? 'w' : ''}${isHuge ? 'H' : ''}`;
  }
}
