/** All scenarios, in the order in which they are listed: the seeds', then the pairs they do not name. */
import type { Scenario } from './scenario.js';
import { forkPrivate, forkShared, forkTruncate } from './scenarios/fork.js';
import {
  holeFaultRace,
  holeFaultRacePmd,
  holeFaultThreads,
  punchAhead,
  storesInOrder,
  hugeEnd,
  hugeUnaligned,
  writeGrowth,
  zeroHugeStores,
} from './scenarios/hole_fault_race.js';
import {
  bailAndRetry,
  pmdAfterPunch,
  pmdPteCollision,
  privateCollapse,
  privatePunch,
  privateThreads,
  privateTruncate,
  pteUnderPmd,
} from './scenarios/pmd_pte_collision.js';
import {
  collapseFault,
  insertFault,
  punchFault,
  punchWithoutGate,
  retryFault,
  truncateFault,
  zeroFault,
} from './scenarios/punch.js';
import { readFirst, readFirstPmd } from './scenarios/read_first.js';
import {
  collapseCaught,
  collapseFails,
  collapseSync,
  insertSync,
  mapSync,
  mapSyncShared,
  mkcleanOneMapping,
  reuseBeforeCommit,
  hugeStoreSync,
  settledSync,
  settledSyncPages,
  settledSyncPunch,
  syncPunch,
  twoSyncs,
} from './scenarios/sync.js';
import { convertBeforeZero, faultNoCompletion, zeroErrorIgnored } from './scenarios/unwritten.js';
import { writeFault, writeUnwritten } from './scenarios/write_fault.js';

export const SCENARIOS: readonly Scenario[] = [
  holeFaultRace,
  holeFaultRacePmd,
  readFirst,
  readFirstPmd,
  faultNoCompletion,
  convertBeforeZero,
  zeroErrorIgnored,
  pteUnderPmd,
  pmdPteCollision,
  bailAndRetry,
  punchWithoutGate,
  retryFault,
  mkcleanOneMapping,
  holeFaultThreads,
  punchAhead,
  storesInOrder,
  zeroHugeStores,
  hugeEnd,
  hugeUnaligned,
  writeGrowth,
  punchFault,
  truncateFault,
  collapseFault,
  insertFault,
  zeroFault,
  writeFault,
  writeUnwritten,
  forkShared,
  forkPrivate,
  forkTruncate,
  mapSync,
  mapSyncShared,
  reuseBeforeCommit,
  twoSyncs,
  settledSync,
  settledSyncPages,
  syncPunch,
  settledSyncPunch,
  hugeStoreSync,
  collapseSync,
  collapseCaught,
  collapseFails,
  insertSync,
  pmdAfterPunch,
  privateThreads,
  privateTruncate,
  privatePunch,
  privateCollapse,
];

/** @throws {RangeError} there is none */
export function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new RangeError(`unknown scenario '${name}'`);
  return scenario;
}
