/** What the engine tells a simulated process to show, on its way; see mmu.ts. */
import type { Backing, Mapping, PageRange } from '../dax/mmu.js';
import { Signal } from '../dax/signal.js';
import { span } from './page_table.js';

export type CommandKind =
  | { readonly kind: 'install'; readonly backing: Backing; readonly isStorable: boolean }
  | { readonly kind: 'zap'; readonly range: PageRange; readonly dropOwn: boolean };

/** Ready when it is carried out. */
export class Command extends Signal {
  /** CPUs that have still to drop the pages from their TLBs; undefined before the page table is changed. */
  shootdowns: number[] | undefined;

  /**
   * @param looked somebody looks whether it is ready: what it does is up to the process
   * @param isOfServer the fault server's own, of which the engine does not know
   */
  constructor(
    readonly mapping: Mapping,
    readonly does: CommandKind,
    private readonly looked: () => void,
    readonly isOfServer: boolean,
  ) {
    super();
  }

  override get isReady(): boolean {
    this.looked();
    return super.isReady;
  }

  get range(): PageRange {
    return this.does.kind === 'zap' ? this.does.range : this.does.backing;
  }

  /** With how far it is. */
  get text(): string {
    return this.shootdowns === undefined ? this.what : `${this.what} ${this.shootdowns.join()}`;
  }

  get what(): string {
    const { id } = this.mapping;
    if (this.does.kind === 'zap') {
      const { range, dropOwn } = this.does;
      return `zap ${id} ${range.filePage}+${range.pageCount}${dropOwn ? ' own' : ''}`;
    }
    const { backing, isStorable } = this.does;
    const { filePage, pageCount, regionPage, isHuge } = backing;
    const who = this.isOfServer ? 'server ' : '';
    return `${who}install ${id} ${filePage}+${pageCount}=${regionPage}${isStorable ? 'w' : ''}${isHuge ? 'H' : ''}`;
  }
}

export function pagesText(range: PageRange): string {
  return `page${range.pageCount === 1 ? '' : 's'} ${span(range)}`;
}

export function installText(backing: Backing, isStorable: boolean): string {
  const { regionPage, pageCount, isHuge } = backing;
  const what =
    regionPage === 'zero' ? 'zeroes' : `region page ${span({ filePage: regionPage, pageCount })}`;
  return `${isHuge ? 'PMD' : 'PTE'} ${span(backing)} shows ${what}, ${isStorable ? 'storable' : 'protected'}`;
}
