/** All scenarios, in the order in which they are listed: the seeds', then the pairs they do not name. */
import type { Scenario } from './scenario.js';
import { holeFaultRace } from './scenarios/hole_fault_race.js';
import { pmdPteCollision } from './scenarios/pmd_pte_collision.js';

export const SCENARIOS: readonly Scenario[] = [holeFaultRace, pmdPteCollision];

/** @throws {RangeError} naming the known ones */
export function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario !== undefined) return scenario;
  const known = SCENARIOS.map((one) => one.name).join(', ');
  throw new RangeError(`unknown scenario '${name}': one of ${known}`);
}
