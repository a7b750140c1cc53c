/** The persistence models by name, and which of them says something about a trace. */
import type { ModelName } from '../choice.js';
import { DAX } from './dax.js';
import { EADR } from './eadr.js';
import type { PersistenceModel } from './persistence.js';
import { POSIX } from './posix.js';
import { SECTOR } from './sector.js';

export const MODELS: Readonly<Record<ModelName, PersistenceModel>> = {
  dax: DAX,
  sector: SECTOR,
  posix: POSIX,
  eadr: EADR,
};

/**
 * Why a model says nothing about a trace; undefined where it does.
 * @param mountOptions of the recorded mount (TraceInfo)
 */
export function whyNotModel(model: ModelName, mountOptions: string): string | undefined {
  if (model !== 'eadr' || !mountOptions.split(',').includes('dax=always')) return undefined;
  return 'stores of a mapping are found by comparing, and eadr is about their order';
}
