/**
 * The other fix that the first seed discusses, as a second way to serve faults: no store is served at
 * once. Its fault does what a load's would, which shows zeroes or the page, protected; the store then
 * comes back as a fault of a protected page, finds an entry there, and allocates under its lock
 * (->page_mkwrite of the mail).
 */
import type { DaxEngine } from '../dax/engine.js';
import type { FaultKind, FaultTask, Mapping } from '../dax/mmu.js';

export function readFirst(
  engine: DaxEngine,
  mapping: Mapping,
  filePage: number,
  told: { kind: FaultKind; thread: number },
): FaultTask {
  const { kind, thread } = told;
  return engine.fault(mapping, filePage, kind, kind === 'protected', thread);
}
