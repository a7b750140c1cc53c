/** The other fix of the first seed behind the same scenarios (../read_first.ts). */
import type { Scenario } from '../scenario.js';
import { holeFaultRace, holeFaultRacePmd } from './hole_fault_race.js';

export const readFirst: Scenario = {
  ...holeFaultRace,
  name: 'read-first',
  title: 'as hole-fault-race, with the fix of the mail: a store faults as a load first',
  faults: 'read-first',
};

export const readFirstPmd: Scenario = {
  ...holeFaultRacePmd,
  name: 'read-first-pmd',
  title: 'as hole-fault-race-pmd, with the fix of the mail: a store faults as a load first',
  faults: 'read-first',
};
