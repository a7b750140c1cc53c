/** The persistence models by name. */
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
