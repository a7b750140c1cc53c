/**
 * The fix that the fourth seed asks for, as another way to serve faults: one that would have to wait for
 * the filesystem's lock does not. It fails (-EAGAIN of the mail, VM_FAULT_RETRY of the kernel) and the
 * thread faults again from the start, an arbitrary number of times.
 */
import type { DaxEngine } from '../dax/engine.js';
import type { FaultKind, FaultTask, Mapping } from '../dax/mmu.js';

export function* retry(
  engine: DaxEngine,
  mapping: Mapping,
  filePage: number,
  told: { kind: FaultKind; isWrite: boolean; thread: number },
): FaultTask {
  const gate = engine.inspect(mapping.ino)?.gate;
  if (gate !== undefined && (gate.isExclusive || gate.waitingCount > 0)) {
    yield { point: 'mm/memory: VM_FAULT_RETRY' };
    return undefined;
  }
  return yield* engine.fault(mapping, filePage, told.kind, told.isWrite, told.thread);
}
