/**
 * What the engine keeps of one file while it is mapped, or was and has dirty entries: the gate, the
 * locks, the entries, and a view for each mapping. The order of locking is gate, then entries; the
 * turn of writeback is taken alone.
 */
import { Entries } from './entries.js';
import { Gate } from './gate.js';
import type { Mapping, Mmu, PageRange } from './mmu.js';
import { RangeLock } from './range_lock.js';
import { RunAhead } from './run_ahead.js';
import { allReady } from './signal.js';
import type { Task, Waitable } from './task.js';
import type { Shown, View } from './view.js';

export const WHOLE_FILE: PageRange = { filePage: 0, pageCount: Infinity };

export class DaxFile {
  /** Faults inside shared, changes of the map exclusive. */
  readonly gate = new Gate();
  /** Of entries; held by faults. */
  readonly locks = new RangeLock();
  readonly entries = new Entries();
  /** One writeback at a time: what one finds clean no other still has to flush. */
  readonly writebackTurn = new Gate();
  /** By number of the mapping. */
  readonly views = new Map<number, View>();
  readonly runAhead: RunAhead;

  /** @param aheadPagesMax see EngineParts */
  constructor(
    readonly ino: number,
    private readonly mmu: Mmu,
    aheadPagesMax: number,
  ) {
    this.runAhead = new RunAhead(aheadPagesMax);
  }

  viewOf(mapping: Mapping): View | undefined {
    return this.views.get(mapping.id);
  }

  /** Stores that were caught since the last time become dirt of entries. */
  takeDirtied(): void {
    for (const { filePage, pageCount } of this.mmu.takeDirtied(this.ino)) {
      for (let page = filePage; page < filePage + pageCount; page++) this.entries.markDirty(page);
    }
  }

  /**
   * Takes from all views what of the range they show as one of `kinds`; waits until it is gone. Until
   * then it counts as shown, so that writeback protects it: stores may still go through.
   */
  *zap(range: PageRange, kinds: readonly Shown[], dropOwn: boolean): Task<void> {
    const zapped: { view: View; run: PageRange; gone: Waitable }[] = [];
    for (const view of this.views.values()) {
      for (const run of view.runs(range, kinds)) {
        zapped.push({ view, run, gone: this.mmu.zap(view.mapping, run, dropOwn) });
        // At once: a fault beyond the end needs no lock, and may have it shown again meanwhile.
        for (const bus of view.runs(run, ['bus'])) view.mark(bus, 'none');
      }
    }
    yield* allReady(zapped.map(({ gone }) => gone));
    for (const { view, run } of zapped) {
      const hasOwn = !view.mapping.isShared && !dropOwn;
      for (const shown of view.runs(run, ['zero', 'region', 'own'])) {
        view.mark(shown, hasOwn ? 'own' : 'none');
      }
    }
  }

  /** No entry is dirty, as far as we know, and no task is about to make one so. */
  get isQuiet(): boolean {
    return (
      !this.entries.hasDirty && this.gate.isIdle && this.locks.isIdle && this.writebackTurn.isIdle
    );
  }

  /** Nobody maps it, waits for it, or has stored what is not written back. */
  get isIdle(): boolean {
    return this.views.size === 0 && this.isQuiet;
  }
}
